package session

import "testing"

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
