package draft

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/dct"
)

// A root known only from the server becomes a comment, whatever is known of other roots. Names and
// subjects cannot leave their string or comment.
func TestOnlyTrustedRootsBecomePins(t *testing.T) {
	t.Parallel()
	gun := func(name string) dct.GUN {
		g, err := dct.ParseGUN("registry.example.com/team/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	key := func(id string) []dct.RootKey {
		return []dct.RootKey{{ID: id, Subject: "CN=a\ntrust-pinning: {}", Expires: time.Unix(2e9, 0)}}
	}
	d := &Draft{
		Key: "a\"\nstate: elsewhere", hosts: []string{"registry.example.com"}, servers: map[string]string{"registry.example.com": "https://notary.example.com"}, unread: 1,
		roots: []aRoot{
			{gun: gun("docker"), docker: key("d1"), server: key("d1")},
			{gun: gun("server"), server: key("s1")},
			{gun: gun("turned"), docker: key("t1"), server: key("t2")},
			{gun: gun("unread")},
			{gun: gun("given"), given: true, docker: key("g1"), server: key("g2")},
		},
		pins: dct.Pins{Certs: map[string][]string{"registry.example.com/team/given": {"g0"}}},
	}
	file := filepath.Join(t.TempDir(), "migration.yaml")
	if err := d.Write(file, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	text := d.text(time.Unix(1e9, 0))
	var got struct {
		Key          string
		State        string
		Repositories []string
		Pins         struct{ Certs map[string][]string } `json:"trust-pinning"`
	}
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("got %v, want YAML\n%s", err, text)
	}
	pins := got.Pins.Certs
	if len(pins) != 2 || strings.Join(pins["registry.example.com/team/docker"], "") != "d1" || strings.Join(pins["registry.example.com/team/given"], "") != "g0" {
		t.Errorf("got the pins %v, want that of docker and the one given", pins)
	}
	if len(got.Repositories) != 5 || got.Key != d.Key || got.State != "" {
		t.Errorf("got %+v, want 5 repositories, the key %q and no ledger", got, d.Key)
	}
	if !strings.Contains(text, `# "registry.example.com/team/server": ["s1"]`) {
		t.Errorf("got\n%s\nwant the root of server as a comment", text)
	}
	if all, pinned, comments, unread := d.Counts(); all != 5 || pinned != 2 || comments != 1 || unread != 1 {
		t.Errorf("got %d repositories, %d pins, %d comments, %d unread, want 5, 2, 1, 1", all, pinned, comments, unread)
	}
	if err := d.Write(file, time.Now()); err == nil {
		t.Error("got the file written over, want it refused")
	}
}
