package dct

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// rootOf keeps of what is known the root alone, as after docker's own trust directory: no
// floor stands beside it that would refuse for another reason.
func rootOf(s *notarytest.Server) Known { return Known{Root: s.Raw(app, "root")} }

// instead lets the server answer for one file with other bytes.
func instead(s *notarytest.Server, file string, raw []byte) {
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/"+file) {
			return false
		}
		_, _ = w.Write(raw)
		return true
	})
}

// Each version of the root has to be signed by the one before it, also where the newest
// is signed by the one in between.
func TestRootChainHoldsAtEveryVersion(t *testing.T) {
	t.Parallel()
	s, attacker := notary(t), notary(t)
	one(t, s, app)
	theirs := one(t, attacker, app)
	must(t, theirs.RotateRoot())
	must(t, theirs.RotateRoot())
	if _, err := read(t, &Reader{Source: server(attacker)}, app, rootOf(s)); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
	}
}

// So many rotations are followed in one read, and not one more.
func TestRotationsHaveALimit(t *testing.T) {
	t.Parallel()
	for rotations, want := range map[int]error{maxRotations: nil, maxRotations + 1: ErrRefused} {
		m := newMint(t)
		m.publish("root")
		known := Known{Root: slices.Clone(m.files["root"])}
		m.docs["root"]["version"] = m.version("root") + rotations - 1 // what is in between was never published
		m.publish("root")
		m.requests()
		_, err := read(t, m.reader(), app, known)
		if !errors.Is(err, want) {
			t.Errorf("%d rotations: error %v, want %v", rotations, err, want)
		}
		if n := len(m.requests()); want != nil && n > 4 {
			t.Errorf("%d rotations: got %d requests, want none for what is in between", rotations, n)
		}
	}
}

// What stands between the known root and the newest passes the gate, is the version that
// was asked for, and must be there or be known not to be.
func TestRootsInBetweenAreChecked(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	known := rootOf(s)
	for range 2 { // with the same keys, so that no signature is what is wrong
		must(t, r.Tamper("root", func(map[string]any) {}, true))
	}
	second := ""
	for _, v := range s.History(app, "root") {
		if v.Number == 2 {
			second = string(v.Raw)
		}
	}
	reader := &Reader{Source: server(s)}
	_, err := read(t, reader, app, known)
	must(t, err)
	for name, c := range map[string]struct{ raw, text string }{
		"a key twice":     {strings.Replace(second, `"signed":{`, `"signed":{"version":2,`, 1), "ambiguous JSON"},
		"another version": {string(s.Raw(app, "root")), "says that it is 3"},
	} {
		instead(s, "2.root.json", []byte(c.raw))
		if _, err := read(t, reader, app, known); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/2.root.json") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	if _, err := read(t, reader, app, known); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no answer: %v", err)
	}
}

// A pin is of the newest root's key: those before it had other keys.
func TestPinOfTheNewestRootFollowsTheChain(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	known := rootOf(s)
	for range 3 {
		must(t, r.RotateRoot())
	}
	if _, err := read(t, pinned(s, r), app, known); err != nil {
		t.Error(err)
	}
}

// An older root is refused also where the same keys signed it and all else vouches for it.
func TestOlderRootOfTheSameKeysIsRefused(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	old := s.Raw(app, "root")
	must(t, r.Tamper("root", func(map[string]any) {}, true))
	known := rootOf(s)
	must(t, r.Replace("root", old))
	s.Put(app, "root", 99, old)
	if _, err := read(t, &Reader{Source: server(s)}, app, known); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("error %v", err)
	}
}

// A known root is one only with its own signatures, in bytes that all read alike.
func TestKnownRootMustBeSignedAndPlain(t *testing.T) {
	t.Parallel()
	s := notary(t)
	one(t, s, app)
	raw := string(s.Raw(app, "root"))
	for name, known := range map[string]string{
		"a key twice": strings.Replace(raw, `"signed":{`, `"signed":{"version":1,`, 1),
		"unsigned":    strings.Replace(raw, `"consistent_snapshot":false`, `"consistent_snapshot":true`, 1),
	} {
		if known == raw {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, err := read(t, &Reader{Source: server(s)}, app, Known{Root: []byte(known)})
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the root known from") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The snapshot says which root belongs to it.
func TestSnapshotOfAnotherRootIsRefused(t *testing.T) {
	t.Parallel()
	const other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
	for name, edit := range map[string]func(hashes map[string]any){
		"another hash": func(h map[string]any) { h["sha256"] = other },
		"no SHA-256":   func(h map[string]any) { delete(h, "sha256") },
	} {
		s := notary(t)
		r := one(t, s, app)
		must(t, r.Tamper("snapshot", func(signed map[string]any) {
			edit(signed["meta"].(map[string]any)["root"].(map[string]any)["hashes"].(map[string]any))
		}, true))
		if _, err := read(t, pinned(s, r), app, Known{}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An authority of the configuration stands in the way of all roots but its own, for a
// certificate past its date as well, and of trust on first use.
func TestPinnedAuthorityRefusesOtherRoots(t *testing.T) {
	t.Parallel()
	for name, expired := range map[string]bool{"valid": false, "past its date": true} {
		s := notary(t)
		r := one(t, s, app)
		if expired {
			must(t, r.Recertify("", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
		}
		authority := filepath.Join(t.TempDir(), "ca.pem")
		must(t, os.WriteFile(authority, rootCertificate(t, notary(t)), 0o600))
		reader := &Reader{Source: server(s), Pins: Pins{CA: map[string]string{"registry.example.com/": authority}, TOFU: true}, AllowExpired: []string{RootCert}}
		if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rootCertificate gives the certificate in the root of a repository of its own on s.
func rootCertificate(t *testing.T, s *notarytest.Server) []byte {
	t.Helper()
	r := one(t, s, app)
	var root struct {
		Signed struct {
			Keys map[string]struct {
				Value struct {
					Public []byte `json:"public"`
				} `json:"keyval"`
			} `json:"keys"`
		} `json:"signed"`
	}
	must(t, json.Unmarshal(s.Raw(app, "root"), &root))
	return root.Signed.Keys[r.RootKeyIDs()[0]].Value.Public
}

// An old certificate does not spare a root the signature of the root before, nor the
// number of signatures that it asks for.
func TestAgedRootNeedsAllSignatures(t *testing.T) {
	t.Parallel()
	past := func(r *notarytest.Repository) {
		must(t, r.Recertify("", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
	}
	s, attacker := notary(t), notary(t)
	one(t, s, app)
	past(one(t, attacker, app))
	reader := &Reader{Source: server(attacker), AllowExpired: []string{RootCert}}
	if _, err := read(t, reader, app, rootOf(s)); !errors.Is(err, ErrRefused) {
		t.Errorf("unlike the known root: %v", err)
	}
	second := notary(t)
	r := one(t, second, app)
	must(t, r.Threshold("root", 2))
	past(r)
	reader = &Reader{Source: server(second), Pins: Pins{TOFU: true}, AllowExpired: []string{RootCert}}
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) {
		t.Errorf("one signature of two: %v", err)
	}
}

// docker's directory is not asked where the configuration has a pin.
func TestPinComesBeforeDockersRoot(t *testing.T) {
	t.Parallel()
	s, other := notary(t), notary(t)
	r := one(t, s, app)
	one(t, other, app)
	trust := t.TempDir()
	folder := filepath.Join(trust, "tuf", filepath.FromSlash(app), "metadata")
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "root.json"), other.Raw(app, "root"), 0o600))
	reader := pinned(s, r)
	reader.Pins.DockerTrust = trust
	if _, err := read(t, reader, app, Known{}); err != nil {
		t.Error(err)
	}
}
