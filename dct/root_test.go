package dct

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// one publishes a repository with one tag.
func one(t *testing.T, s *notarytest.Server, name string) *notarytest.Repository {
	t.Helper()
	return published(t, s, name, nil, func(r *notarytest.Repository) { must(t, r.Sign("v1", sha("1"), 9)) })
}

func TestUnpinnedRootIsRefusedWithItsKeyIDs(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	_, err := read(t, &Reader{Source: server(s)}, app, Known{})
	if !errors.Is(err, ErrUnpinnedRoot) || !strings.Contains(err.Error(), r.RootKeyIDs()[0]) {
		t.Errorf("got %v, want %v that names %s", err, ErrUnpinnedRoot, r.RootKeyIDs()[0])
	}
	got, err := read(t, &Reader{Source: server(s), Pins: Pins{TOFU: true}}, app, Known{})
	must(t, err)
	if got.PinnedBy() != PinnedTOFU {
		t.Errorf("got pinned by %s, want %s", got.PinnedBy(), PinnedTOFU)
	}
}

func TestPins(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r, other := one(t, s, app), one(t, s, "registry.example.com/team/other")
	public := func(r *notarytest.Repository) string { return publicIDs(t, s.Raw(r.GUN(), "root"))[0] }
	for name, c := range map[string]struct {
		pins Pins
		ok   bool
	}{
		"by name":            {Pins{Certs: map[string][]string{app: r.RootKeyIDs()}}, true},
		"by prefix":          {Pins{Certs: map[string][]string{"registry.example.com/team/*": r.RootKeyIDs()}}, true},
		"the name wins":      {Pins{Certs: map[string][]string{"registry.example.com/*": other.RootKeyIDs(), app: r.RootKeyIDs()}}, true},
		"the longest prefix": {Pins{Certs: map[string][]string{"registry.example.com/*": r.RootKeyIDs(), "registry.example.com/team/*": other.RootKeyIDs()}}, false},
		"another root":       {Pins{Certs: map[string][]string{app: other.RootKeyIDs()}}, false},
		"wrong pin and tofu": {Pins{Certs: map[string][]string{app: other.RootKeyIDs()}, TOFU: true}, false},

		"by public key":                     {byPublicKey(public(r)), true},
		"by public key and prefix":          {Pins{RootKeys: map[string][]string{"registry.example.com/*": {public(r)}}}, true},
		"another public key":                {byPublicKey(public(other)), false},
		"another public key and tofu":       {Pins{RootKeys: map[string][]string{app: {public(other)}}, TOFU: true}, false},
		"a key's id as a certificate's":     {Pins{Certs: map[string][]string{app: {public(r)}}}, false},
		"a certificate's id as a key's":     {byPublicKey(r.RootKeyIDs()[0]), false},
		"the name wins over a key's prefix": {Pins{RootKeys: map[string][]string{"registry.example.com/team/*": {public(other)}}, Certs: map[string][]string{app: r.RootKeyIDs()}}, true},
		"the key's name wins over a prefix": {Pins{RootKeys: map[string][]string{app: {public(other)}}, Certs: map[string][]string{"registry.example.com/team/*": r.RootKeyIDs()}}, false},
		"the longest prefix, of a key":      {Pins{RootKeys: map[string][]string{"registry.example.com/team/*": {public(other)}}, Certs: map[string][]string{"registry.example.com/*": r.RootKeyIDs()}}, false},
	} {
		got, err := read(t, &Reader{Source: server(s), Pins: c.pins}, app, Known{})
		if c.ok && (err != nil || got.PinnedBy() != PinnedConfig) || !c.ok && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want success %v", name, err, c.ok)
		}
	}
}

// A public key's id is the one that notary gives the private key, whatever certificate it has.
func TestPublicKeyIDIsNotarys(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	rsaKey, err := utils.RSAToPrivateKey(key)
	must(t, err)
	for _, private := range []data.PrivateKey{m.keys["root"][0].private, rsaKey} {
		for range 2 {
			if ids := idsOf(m.certFor(app, private).public); len(ids) != 2 || ids[1] != private.ID() {
				t.Errorf("%s: got ids %v, want two, the second %s", private.Algorithm(), ids, private.ID())
			}
		}
	}
	pins := Pins{RootKeys: map[string][]string{app: {m.keys["root"][0].private.ID()}}}
	for range 2 {
		_, err := read(t, &Reader{Source: m.reader().Source, Pins: pins}, app, Known{})
		must(t, err)
		m.assign("root", 1, m.certFor(app, m.keys["root"][0].private)) // renewed
		m.publish("root")
	}
}

// The error for a refused pin fits its kind: an id under the other name, or an authority that did
// not issue the certificate.
func TestRefusedPinTellsWhatHelps(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	public := publicIDs(t, s.Raw(app, "root"))[0]
	tls, err := notarytest.Start(notarytest.Options{TLS: true}) // for its authority
	must(t, err)
	t.Cleanup(tls.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, tls.CAPEM(), 0o600))
	for name, c := range map[string]struct {
		pins Pins
		want string
		not  string
	}{
		"certs":                      {byName(sha("5")), "its certificate is not the pinned one: it has key ids " + r.RootKeyIDs()[0], ""},
		"certs with a key's id":      {byName(public), "under root-keys", ""},
		"root-keys":                  {byPublicKey(sha("5")), "its key is not the pinned one: it has public keys " + public, "under certs"},
		"root-keys with a cert's id": {byPublicKey(r.RootKeyIDs()[0]), "under certs", ""},
		"ca":                         {Pins{CA: map[string]string{"registry.example.com/": file}}, "authorities in " + file, "key ids"},
	} {
		for _, aged := range []string{"", RootCert} {
			reader := &Reader{Source: server(s), Pins: c.pins}
			if aged != "" {
				reader.AllowExpired = []string{aged}
			}
			_, err := read(t, reader, app, Known{})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) || c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%s %s: got %v, want %v with %q and without %q", name, aged, err, ErrRefused, c.want, c.not)
			}
		}
	}
}

// The notary client ignores a pin once it knows a root; our pins still hold.
func TestPinHoldsForAKnownRoot(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r, other := one(t, s, app), one(t, s, "registry.example.com/team/other")
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	wrong := &Reader{Source: server(s), Pins: Pins{Certs: map[string][]string{app: other.RootKeyIDs()}}}
	if _, err := read(t, wrong, app, first.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

func TestRootRotationIsFollowed(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	for range 3 {
		must(t, r.RotateRoot())
	}
	unpinned := &Reader{Source: server(s)}
	got, err := read(t, unpinned, app, first.Known())
	must(t, err)
	if got.PinnedBy() != PinnedEarlier || got.Version("root") <= first.Version("root") {
		t.Errorf("got pinned by %s, version %d, want %s, above %d", got.PinnedBy(), got.Version("root"), PinnedEarlier, first.Version("root"))
	}
	// The next read starts from the new root.
	if _, err := read(t, unpinned, app, got.Known()); err != nil {
		t.Error(err)
	}
	// The old one again is a rollback.
	s.Put(app, "root", 99, first.Known().Root)
	if _, err := read(t, unpinned, app, got.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("old root again: got %v, want %v", err, ErrRefused)
	}
}

func TestReplacedRootIsRefused(t *testing.T) {
	t.Parallel()
	s, attacker := notary(t), notary(t)
	r := one(t, s, app)
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	one(t, attacker, app)
	for _, known := range []Known{{}, first.Known()} {
		reader := &Reader{Source: server(attacker), Pins: Pins{Certs: map[string][]string{app: r.RootKeyIDs()}}}
		if known.Root != nil {
			reader.Pins = Pins{TOFU: true} // the known root alone must hold
		}
		if _, err := read(t, reader, app, known); !errors.Is(err, ErrRefused) {
			t.Errorf("known %d floors: got %v, want %v", len(known.Floors), err, ErrRefused)
		}
	}
}

// The copy of the known root may be damaged; that must not look like knowing no root.
func TestDamagedKnownRootIsRefused(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	for name, root := range map[string]string{"no JSON": "x", "empty object": "{}", "unsigned": strings.Replace(string(s.Raw(app, "root")), `"sig":"`, `"sig":"AA`, 1)} {
		reader := pinned(s, r)
		reader.Pins.TOFU = true
		if _, err := read(t, reader, app, Known{Root: []byte(root)}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want %v", name, err, ErrRefused)
		}
	}
}

func TestDockersRootsArePins(t *testing.T) {
	t.Parallel()
	s := notary(t)
	one(t, s, app)
	trust := t.TempDir()
	folder := filepath.Join(trust, "tuf", filepath.FromSlash(app), "metadata")
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "root.json"), s.Raw(app, "root"), 0o600))
	got, err := read(t, &Reader{Source: server(s), Pins: Pins{DockerTrust: trust}}, app, Known{})
	must(t, err)
	if got.PinnedBy() != PinnedDockerTrust {
		t.Errorf("got pinned by %s, want %s", got.PinnedBy(), PinnedDockerTrust)
	}
	attacker := notary(t)
	one(t, attacker, app)
	if _, err := read(t, &Reader{Source: server(attacker), Pins: Pins{DockerTrust: trust, TOFU: true}}, app, Known{}); !errors.Is(err, ErrRefused) {
		t.Errorf("another root than docker's: got %v, want %v", err, ErrRefused)
	}
}

// The most frequent failure in the field is an expired root certificate.
func TestRootCertificateIsDiagnosed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cn   string
		from time.Duration
		to   time.Duration
		kind error
		text string
	}{
		"expired":       {"", -2 * time.Hour, -time.Hour, ErrExpired, "certificate expired"},
		"another's":     {"registry.example.com/else", -time.Hour, time.Hour, ErrRefused, "certificate is for registry.example.com/else"},
		"wildcard fits": {"registry.example.com/team/*", -time.Hour, time.Hour, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := one(t, s, app)
			must(t, r.Recertify(c.cn, time.Now().Add(c.from), time.Now().Add(c.to)))
			_, err := read(t, pinned(s, r), app, Known{})
			if c.kind == nil && err != nil || c.kind != nil && (!errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.text)
			}
		})
	}
}

func TestParsePins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := notarytest.Start(notarytest.Options{TLS: true}) // for its authority
	must(t, err)
	t.Cleanup(s.Close)
	must(t, os.WriteFile(filepath.Join(dir, "ca.pem"), s.CAPEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "none.pem"), []byte("none"), 0o600))
	id := sha("1")
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"by public keys":               {`{"root-keys":{"a":["` + id + `"],"b/*":["` + id + `"]}}`, true},
		"public keys in one string":    {`{"root-keys":{"a":"` + id + `"}}`, false},
		"no public keys":               {`{"root-keys":{"a":[]}}`, false},
		"no id of a public key":        {`{"root-keys":{"a":["x"]}}`, false},
		"by both for one name":         {`{"certs":{"a":["` + id + `"]},"root-keys":{"a":["` + id + `"]}}`, false},
		"ids in one string":            {`{"certs":{"a":"` + id + `"}}`, false},
		"a number for an id":           {`{"certs":{"a":[1]}}`, false},
		"a list for all names":         {`{"certs":["` + id + `"]}`, false},
		"a misspelt member":            {`{"trust_pinning":{"certs":{"a":["` + id + `"]},"root_keys":{"b":["` + id + `"]}}}`, false},
		"a misspelt member alone":      {`{"disable_tofu":true,"cert":{"a":["` + id + `"]}}`, false},
		"a byte-order mark":            {"\ufeff" + `{"trust_pinning":{"certs":{"a":["` + id + `"]}}}`, true},
		"disable_tofu in quotes":       {`{"disable_tofu":"true"}`, true},
		"disable_tofu as a letter":     {`{"disable_tofu":"t"}`, true},
		"disable_tofu, no":             {`{"disable_tofu":"false"}`, true},
		"disable_tofu, anything":       {`{"disable_tofu":"yes"}`, false},
		"disable_tofu as a number":     {`{"disable_tofu":1}`, false},
		"as in notary's configuration": {`{"trust_dir":"x","trust_pinning":{"certs":{"a":["` + id + `"]},"disable_tofu":true}}`, true},
		"alone":                        {`{"ca":{"a/":"ca.pem"}}`, true},
		"only disable_tofu":            {`{"trust_pinning":{"disable_tofu":true}}`, true},
		"nothing":                      {`{}`, false},
		"misspelt":                     {`{"trustpinning":{"certs":{"a":["` + id + `"]}}}`, false},
		"no ids":                       {`{"certs":{"a":[]}}`, false},
		"a placeholder for an id":      {`{"certs":{"a":["<root key id>"]}}`, false},
		"a * in ca pins nothing":       {`{"ca":{"a/*":"ca.pem"}}`, false},
		"no such file":                 {`{"ca":{"a/":"other.pem"}}`, false},
		"no certificates in it":        {`{"ca":{"a/":"none.pem"}}`, false},
		"no JSON":                      {`certs: {}`, false},
	} {
		pins, err := ParsePins([]byte(c.in), dir)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v, want success %v", name, err, c.ok)
		}
		if want := strings.Contains(c.in, `:true`) || strings.Contains(c.in, `"true"`) || strings.Contains(c.in, `"t"`); c.ok && pins.NoTOFU != want {
			t.Errorf("%s: got disable_tofu %v, want %v", name, pins.NoTOFU, want)
		}
		if f := pins.CA["a/"]; f != "" && f != filepath.Join(dir, "ca.pem") {
			t.Errorf("%s: got CA file %s, want %s", name, f, filepath.Join(dir, "ca.pem"))
		}
	}
	if _, err := json.Marshal(Pins{TOFU: true}); err != nil {
		t.Error(err)
	}
	good, bad := filepath.Join(dir, "good.json"), filepath.Join(dir, "none.pem")
	must(t, os.WriteFile(good, []byte(`{"ca":{"a/":"ca.pem"}}`), 0o600))
	if pins, err := LoadPins(good); err != nil || pins.CA["a/"] != filepath.Join(dir, "ca.pem") {
		t.Errorf("a file: got %v, %v, want the CA file %s", pins, err, filepath.Join(dir, "ca.pem"))
	}
	for _, path := range []string{bad, filepath.Join(dir, "missing.json")} {
		if _, err := LoadPins(path); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: got %v, want an error that names it", path, err)
		}
	}
}

// Promise 7: the key ids of an unpinned root are shown to be pasted into a file, and nothing in
// that root is verified. Text that is not a key id is not shown as one.
func TestUnpinnedRootShowsOnlyKeyIDs(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	evil := r.RootKeyIDs()[0] + "\"],\"*\":[\"" + sha("e") + "\nhint: all is well\x1b[2J"
	var doc map[string]any
	must(t, json.Unmarshal(s.Raw(app, "root"), &doc))
	signed := doc["signed"].(map[string]any)
	keys := signed["keys"].(map[string]any)
	keys[evil] = keys[r.RootKeyIDs()[0]]
	signed["roles"].(map[string]any)["root"].(map[string]any)["keyids"] = []any{evil}
	raw, err := json.Marshal(doc)
	must(t, err)
	s.Put(app, "root", 99, raw)
	_, err = read(t, &Reader{Source: server(s)}, app, Known{})
	if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "\x1b") || strings.Contains(err.Error(), "all is well") {
		t.Errorf("got %v, want %v without the server's text", err, ErrRefused)
	}
}

// rootOf knows only the root, as after docker's own trust directory. No floor could refuse for
// another reason.
func rootOf(s *notarytest.Server) Known { return Known{Root: s.Raw(app, "root")} }

// instead makes the server answer for one file with other bytes.
func instead(s *notarytest.Server, file string, raw []byte) {
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/"+file) {
			return false
		}
		_, _ = w.Write(raw)
		return true
	})
}

// Each root version must be signed by the one before it, even if the newest is signed by the one
// in between.
func TestRootChainHoldsAtEveryVersion(t *testing.T) {
	t.Parallel()
	s, attacker := notary(t), notary(t)
	one(t, s, app)
	theirs := one(t, attacker, app)
	must(t, theirs.RotateRoot())
	must(t, theirs.RotateRoot())
	if _, err := read(t, &Reader{Source: server(attacker)}, app, rootOf(s)); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

// One read follows maxRotations rotations, and not one more.
func TestRotationsHaveALimit(t *testing.T) {
	t.Parallel()
	for rotations, want := range map[int]error{maxRotations: nil, maxRotations + 1: ErrRefused} {
		m := newMint(t)
		m.publish("root")
		known := Known{Root: slices.Clone(m.files["root"])}
		m.docs["root"]["version"] = m.version("root") + rotations - 1 // the versions in between were never published
		m.publish("root")
		m.requests()
		_, err := read(t, m.reader(), app, known)
		if !errors.Is(err, want) {
			t.Errorf("%d rotations: got %v, want %v", rotations, err, want)
		}
		if n := len(m.requests()); want != nil && n > 4 {
			t.Errorf("%d rotations: got %d requests, want none for what is in between", rotations, n)
		}
	}
}

// Each root between the known and the newest must pass the gate and have the requested version. It
// must be there, or be known not to exist.
func TestRootsInBetweenAreChecked(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	known := rootOf(s)
	for range 2 { // with the same keys, so that the signatures are not at fault
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
			t.Errorf("%s: got %v, want %v with %q", name, err, ErrRefused, c.text)
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
		t.Errorf("no answer: got %v, want %v", err, ErrUnavailable)
	}
}

// A pin names the newest root's key: earlier roots had other keys.
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

// An older root is refused even if the same keys signed it and all else vouches for it.
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
		t.Errorf("got %v, want %v that says rolled back", err, ErrRefused)
	}
}

// A known root counts only with its own signatures, in bytes that every decoder reads alike.
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
			t.Fatalf("%s: got the same root, want a changed one", name)
		}
		_, err := read(t, &Reader{Source: server(s)}, app, Known{Root: []byte(known)})
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the root known from") {
			t.Errorf("%s: got %v, want %v that tells of the known root", name, err, ErrRefused)
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
			t.Errorf("%s: got %v, want %v", name, err, ErrRefused)
		}
	}
}

// A configured authority blocks all roots but its own, also if a certificate has expired, and with
// trust on first use.
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
			t.Errorf("%s: got %v, want %v", name, err, ErrRefused)
		}
	}
}

// rootCertificate returns the certificate in the root of a new repository on s.
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

// An expired certificate exempts a root neither from the previous root's signature nor from the
// required number of signatures.
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
		t.Errorf("unlike the known root: got %v, want %v", err, ErrRefused)
	}
	second := notary(t)
	r := one(t, second, app)
	must(t, r.Threshold("root", 2))
	past(r)
	reader = &Reader{Source: server(second), Pins: Pins{TOFU: true}, AllowExpired: []string{RootCert}}
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) {
		t.Errorf("one signature of two: got %v, want %v", err, ErrRefused)
	}
}

// docker's directory is not used if the configuration has a pin.
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
