package state_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

// Some promises are about processes that die or hold a lock. For those the
// test binary runs itself again, with the part to play in this variable.
const partVar = "DCT2NOTATION_STATE_TEST_PART"

// parts are what a child process can play, except for those that only some systems have. Arguments
// come from the environment.
var parts = map[string]func() error{
	"hold":   playHolder,
	"moves":  playMover,
	"open":   playOpener,
	"damage": playDamage,
}

func TestMain(m *testing.M) {
	part := os.Getenv(partVar)
	if part == "" {
		os.Exit(m.Run())
	}
	if err := parts[part](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child prepares, but does not start, a process that plays part.
func child(t *testing.T, part string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(append(os.Environ(), partVar+"="+part), env...)
	c.Stderr = os.Stderr
	return c
}

// newLedger opens a ledger in the test's own directory, and checks the file when the test ends.
func newLedger(t testing.TB) (*state.Ledger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path)
	return l, path
}

func openLedger(t testing.TB, path string) *state.Ledger {
	t.Helper()
	l, err := state.Open(path, state.Options{Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.Close() != nil {
			return // the test made sure that it stopped
		}
		// Opening checks the file.
		l, err := state.Open(path, state.Options{Tool: "test"})
		if err != nil {
			t.Errorf("afterwards: got %v, want no error", err)
			return
		}
		if err := errors.Join(l.VerifyEvents(), l.Close()); err != nil {
			t.Errorf("afterwards: got %v, want no error", err)
		}
	})
	return l
}

// reload closes l and opens the file again, so that what is asserted afterwards is on the disk.
func reload(t testing.TB, l *state.Ledger, path string) *state.Ledger {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return openLedger(t, path)
}

func key(n int) state.Key {
	return state.Key{
		Repository: fmt.Sprintf("registry.example.com/team%d/app", n%3),
		Digest:     fmt.Sprintf("sha256:%x", sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})),
		KeyName:    "release",
	}
}

func item(n int) state.Item {
	return state.Item{
		Key: key(n), GUN: key(n).Repository, MediaType: "application/vnd.oci.image.manifest.v1+json", Size: int64(500 + n),
		Tags: []state.Tag{{Name: fmt.Sprintf("v%d", n), Role: "targets/releases", TargetsVersion: 7}},
	}
}

func envelope(n int) state.Envelope {
	return state.Envelope{
		MediaType: "application/jose+json", Blob: fmt.Appendf(nil, "envelope %d %0*d", n, 300+n%900, n),
		Manifest: fmt.Appendf(nil, `{"n":%d}`, n), ManifestDigest: signature(n), LeafThumbprint: "ab12",
		Metadata: map[string]string{"io.dct2notation.tag.v1": "targets/releases"}, SignedBy: by,
	}
}

// by is what made the signatures that tests adopt.
var by = state.SignedBy{
	Identity: "certificate:sha256:ab12", Leaf: "ab12", Expires: time.Date(2027, 5, 1, 12, 0, 0, 0, time.UTC), Expiry: 3600,
	ChainEnds: time.Date(2028, 5, 1, 12, 0, 0, 0, time.UTC), Timestamped: true, Format: "application/jose+json", Authority: "https://tsa.example.com",
}

func signature(n int) string { return fmt.Sprintf("sha256:%064d", n) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plan(t testing.TB, l *state.Ledger, items ...state.Item) []state.Stage {
	t.Helper()
	planned, err := l.Plan(items)
	must(t, err)
	stages := make([]state.Stage, len(planned))
	for i, item := range planned {
		stages[i] = item.Stage
	}
	return stages
}

// all reads every item in pages of the given size.
func all(l *state.Ledger, page int) ([]state.Item, error) {
	var list []state.Item
	var after state.Key
	for {
		items, err := l.Items(after, page)
		if err != nil || len(items) == 0 {
			return list, err
		}
		list, after = append(list, items...), items[len(items)-1].Key
	}
}
