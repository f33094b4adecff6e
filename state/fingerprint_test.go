package state_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

// fixture is a ledger written by a release: 96569c8 made it for schema 1. It has an item of every
// stage and way: see wantSchema1.
func fixture(t *testing.T, name string) string {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", name+".db.gz"))
	must(t, err)
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	must(t, err)
	raw, err := io.ReadAll(z)
	must(t, err)
	path := filepath.Join(t.TempDir(), name+".db")
	must(t, os.WriteFile(path, raw, 0o600))
	return path
}

// wantSchema1 returns the items of the schema 1 fixture. None records what signed it.
func wantSchema1() map[int]state.Item {
	confirmed := func(n int) state.Item { return state.Item{Stage: state.Confirmed, Signature: signature(n)} }
	want := map[int]state.Item{
		0: {Stage: state.Planned}, 1: {Stage: state.Signed, Signature: signature(1)}, 2: {Stage: state.Pushed, Signature: signature(2)},
		3: confirmed(3), 4: {Stage: state.Skipped, Class: "missing", Reason: "the registry has no such digest"},
		5: {Stage: state.Failed, Signature: signature(5), Class: "transient", Reason: "the registry is down", Attempts: 1},
		6: confirmed(106), 7: {Stage: state.Skipped, Class: state.ClassUndone, Reason: "removed by undo"}, 8: confirmed(108),
		9: confirmed(9), 10: confirmed(10), 11: {Stage: state.Planned},
	}
	for n, i := range want {
		full := item(n)
		full.Stage, full.Signature, full.Class, full.Reason, full.Attempts = i.Stage, i.Signature, i.Class, i.Reason, i.Attempts
		if n == 9 { // the image of an index
			full.Tags, full.Indexes, full.Notes, full.Bound = nil, []string{key(1).Digest}, []string{"allowed-expired: timestamp"}, map[string]string{}
		} else if i.Signature != "" {
			full.Bound = map[string]string{fmt.Sprintf("v%d", n): "targets/releases"}
		}
		want[n] = full
	}
	return want
}

// TestLedgersOfEarlierReleasesAreRead opens a ledger of each released schema, to read it and to
// write: every later release must.
func TestLedgersOfEarlierReleasesAreRead(t *testing.T) {
	t.Parallel()
	path := fixture(t, "schema1")
	before, err := os.ReadFile(path)
	must(t, err)
	r, err := state.Open(path, state.Options{ReadOnly: true})
	must(t, err)
	readsSchema1(t, r)
	must(t, r.Close())
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("reading: got %d bytes, %v, want the file unchanged with %d", len(after), err, len(before))
	}
	l := openLedger(t, path)
	readsSchema1(t, l)
	l = reload(t, l, path) // in the present schema now
	readsSchema1(t, l)
	// Records of both versions lie side by side.
	must(t, l.Confirm(key(2), signature(2), ""))
	must(t, l.Sign(key(0), envelope(0)))
	l = reload(t, l, path)
	if i, _, err := l.Item(key(0)); err != nil || !i.SignedBy.Equal(by) {
		t.Errorf("signed by: got %+v, %v, want %+v", i.SignedBy, err, by)
	}
	if i, _, err := l.Item(key(3)); err != nil || i.SignedBy.Known() {
		t.Errorf("signed by: got %+v, %v, want nothing known", i.SignedBy, err)
	}
}

func readsSchema1(t *testing.T, l *state.Ledger) {
	t.Helper()
	items, err := all(l, 0)
	must(t, err)
	want := wantSchema1()
	if len(items) != len(want) {
		t.Errorf("got %d items, want %d", len(items), len(want))
	}
	for n, w := range want {
		got, _, err := l.Item(key(n))
		must(t, err)
		if w.Updated = got.Updated; !reflect.DeepEqual(got, w) {
			t.Errorf("item %d: got\n%+v, want\n%+v", n, got, w)
		}
		e, has, err := l.Envelope(key(n))
		must(t, err)
		if want := n == 1 || n == 2 || n == 5; has != want {
			t.Errorf("item %d: got envelope %t, want %t", n, has, want)
		}
		if we := envelope(n); has && (!bytes.Equal(e.Blob, we.Blob) || !bytes.Equal(e.Manifest, we.Manifest) || e.ManifestDigest != we.ManifestDigest || !maps.Equal(e.Metadata, we.Metadata) || e.SignedBy.Known()) {
			t.Errorf("item %d: got envelope %+v, want %+v, signed by nobody known", n, e, we)
		}
	}
	readsRest1(t, l)
}

func readsRest1(t *testing.T, l *state.Ledger) {
	t.Helper()
	for n, pin := range []string{state.PinConfig, state.PinTOFU, state.PinDockerTrust} {
		r, found, err := l.Repository(key(n).Repository)
		if err != nil || !found || r.Pin != pin || r.Roles["targets"].Version != 7+n || len(r.Root) == 0 || len(r.RootKeyIDs) != 2 {
			t.Errorf("repository %d: got %+v, %t, %v, want pin %s, targets version %d", n, r, found, err, pin, 7+n)
		}
	}
	f, err := l.Fingerprint()
	must(t, err)
	const name = "release azure-kv https://vault.example.net/keys/release/1"
	want := state.Signer{
		Identity: fmt.Sprintf("certificate:sha256:%064x", 0xb2), Earlier: []string{fmt.Sprintf("certificate:sha256:%064x", 0xa1)},
		Chain: [][]byte{{0x30, 0x82, 0x01}}, TSA: "https://tsa.example.net",
	}
	if got := f.Named("release"); f.Keys != name || len(got) != 1 || !reflect.DeepEqual(got[0], want) || len(f.Signers) != 1 {
		t.Errorf("keys: got %q, %v, want %q, %v", f.Keys, f.Signers, name, want)
	}
	pins, servers := map[string][]string{"registry.example.com/team0/app": {"k1", "k2"}}, map[string]string{"registry.example.com": "https://notary.example.com"}
	if !reflect.DeepEqual(f.Pins, pins) || !maps.Equal(f.NotaryServers, servers) || len(f.RootKeys)+len(f.Authorities) > 0 {
		t.Errorf("got %+v, want pins %v, Notary servers %v and no more", f, pins, servers)
	}
	counts, err := l.Counts()
	if err != nil || counts[state.Confirmed] != 5 || counts[state.Planned] != 2 {
		t.Errorf("counts: got %v, %v, want 5 confirmed, 2 planned", counts, err)
	}
	events, err := l.Events(0, 0)
	if err != nil || len(events) != 31 || events[0].Kind != state.EventTOFU {
		t.Errorf("got %d events, %v, want 31", len(events), err)
	}
	must(t, l.VerifyEvents())
}

func TestWhatASignatureIsWorthEndsExactly(t *testing.T) {
	t.Parallel()
	expires, ends := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	s := state.SignedBy{Identity: "certificate:sha256:aa", Expires: expires, ChainEnds: ends}
	unlimited, stamped := s, s
	unlimited.Expires = time.Time{}
	stamped.Expires, stamped.Timestamped = time.Time{}, true
	both := s
	both.Timestamped = true
	for name, c := range map[string]struct {
		by   state.SignedBy
		at   time.Time
		want bool
	}{
		"the moment before its expiry":          {s, expires.Add(-1), true},
		"at its expiry":                         {s, expires, false},
		"at the end of its chain":               {unlimited, ends, true},
		"after the end of its chain":            {unlimited, ends.Add(1), false},
		"with a timestamp, after its chain":     {stamped, ends.AddDate(9, 0, 0), true},
		"with a timestamp, at its own expiry":   {both, expires, false},
		"not known of a signature, at any time": {state.SignedBy{ChainEnds: ends}, expires, false},
	} {
		if got := c.by.Verifies(c.at); got != c.want {
			t.Errorf("%s: verifies %t, want %t", name, got, c.want)
		}
	}
	later := s
	later.Expires = ends.AddDate(1, 0, 0)
	for name, c := range map[string]struct {
		by   state.SignedBy
		want time.Time
	}{
		"its expiry comes before its chain's end": {s, expires},
		"it comes after":                 {later, ends},
		"it has none":                    {unlimited, ends},
		"a timestamp outlives the chain": {stamped, time.Time{}},
		"a timestamp and an expiry":      {both, expires},
	} {
		if got := c.by.VerifiesUntil(); !got.Equal(c.want) {
			t.Errorf("%s: got until %s, want %s", name, got, c.want)
		}
	}
}

// TestReplacedIdentityIsKeptAsAnEarlierOne: what was accepted once is progress, which a renewal
// does not undo.
func TestReplacedIdentityIsKeptAsAnEarlierOne(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	id := state.KeyID("release", "file")
	of := func(identity string) *state.Fingerprint {
		f := server("of " + identity) // other fields keep nothing
		f.Signers = map[string]state.Signer{id: {Identity: identity}}
		return f
	}
	bind := func(identity string, accept bool, want ...string) {
		t.Helper()
		must(t, l.Bind(of(identity), accept))
		l = reload(t, l, path)
		f, err := l.Fingerprint()
		must(t, err)
		all := map[string]state.Signer{id: {Identity: identity, Earlier: want}}
		if !reflect.DeepEqual(f.Signers, all) || !maps.Equal(f.NotaryServers, of(identity).NotaryServers) {
			t.Errorf("after %s: got %+v, want %v", identity, f, all)
		}
	}
	bind("a", false)
	bind("a", true)
	plan(t, l, item(1))
	another := &state.Fingerprint{Signers: map[string]state.Signer{id: {Identity: "b"}}}
	if err := l.Bind(another, false); !errors.Is(err, state.ErrFingerprint) {
		t.Errorf("another identity: got %v, want it refused", err)
	}
	bind("b", true, "a")
	bind("c", true, "a", "b")
	bind("a", true, "b", "c") // the old certificate again
}

// server is a configuration of one Notary server.
func server(url string) *state.Fingerprint {
	return &state.Fingerprint{NotaryServers: map[string]string{"registry.example.com": url}}
}
