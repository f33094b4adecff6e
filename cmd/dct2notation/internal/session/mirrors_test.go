package session

import (
	"testing"

	"github.com/dct2notation/dct2notation/migrate"
)

func TestCanonicalPlace(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"reg.example.com/a/b":          "reg.example.com/a/b",
		"Reg.Example.COM/a/b":          "reg.example.com/a/b",
		"reg.example.com:443/a":        "reg.example.com/a",
		"reg.example.com:4430/a":       "reg.example.com:4430/a",
		"REG.example.com:5000/a":       "reg.example.com:5000/a",
		"docker.io/library/alpine":     "docker.io/library/alpine",
		"registry-1.docker.io/user/a":  "docker.io/user/a",
		"index.docker.io/user/a":       "docker.io/user/a",
		"registry.hub.docker.com/u/a":  "docker.io/u/a",
		"[2001:DB8::1]:443/a":          "[2001:db8::1]/a",
		"[2001:db8::1]:5000/a":         "[2001:db8::1]:5000/a",
		"notregistry-1.docker.io/user": "notregistry-1.docker.io/user",
	} {
		if got := canonicalLocation(name, false); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := canonicalLocation("reg.example.com:80/a", true) + " " + canonicalLocation("reg.example.com:443/a", true); got != "reg.example.com/a reg.example.com:443/a" {
		t.Errorf("without TLS: got %s, want reg.example.com/a reg.example.com:443/a", got)
	}
}

// Of what runs, every image of a known registry is looked up, however the reference spells its host.
func TestRunningImagesOfARegistryInAnySpelling(t *testing.T) {
	t.Parallel()
	asks := (&Session{Servers: &Servers{}, Hosts: []string{"docker.io", "reg.example.com", "reg.example.com:5000"}}).Running().Asks
	for name, want := range map[string]bool{
		"reg.example.com/a": true, "REG.example.com/a": true, "reg.example.com:443/a": true, "Reg.Example.com:5000/a": true, "registry-1.docker.io/library/a": true,
		"reg.example.com:80/a": false, "other.example.com/a": false, "reg.example.com.evil.example/a": false,
	} {
		if got := asks(migrate.HostOf(name)); got != want {
			t.Errorf("%s: got asked %t, want %t", name, got, want)
		}
	}
}
