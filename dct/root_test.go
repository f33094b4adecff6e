package dct

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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
		t.Errorf("error %v", err)
	}
	got, err := read(t, &Reader{Source: server(s), Pins: Pins{TOFU: true}}, app, Known{})
	must(t, err)
	if got.PinnedBy() != PinnedTOFU {
		t.Errorf("pinned by %s", got.PinnedBy())
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
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The id of a public key is the one that notary gives the private key, whatever certificate it has.
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
				t.Errorf("%s: ids %v, want the second to be %s", private.Algorithm(), ids, private.ID())
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

// What does not fit a pin is answered for its kind: an id that is under the other name, an
// authority that has not issued the certificate.
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
				t.Errorf("%s %s: error %v", name, aged, err)
			}
		}
	}
}

// The notary client ignores a pin once it knows a root; ours hold.
func TestPinHoldsForAKnownRoot(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r, other := one(t, s, app), one(t, s, "registry.example.com/team/other")
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	wrong := &Reader{Source: server(s), Pins: Pins{Certs: map[string][]string{app: other.RootKeyIDs()}}}
	if _, err := read(t, wrong, app, first.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
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
		t.Errorf("pinned by %s, version %d after %d", got.PinnedBy(), got.Version("root"), first.Version("root"))
	}
	// And the new root is what the next read starts from.
	if _, err := read(t, unpinned, app, got.Known()); err != nil {
		t.Error(err)
	}
	// The old one again is a rollback.
	s.Put(app, "root", 99, first.Known().Root)
	if _, err := read(t, unpinned, app, got.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("old root again: %v", err)
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
			t.Errorf("known %d floors: error %v", len(known.Floors), err)
		}
	}
}

// What remembered the root may be damaged; that must not look like knowing none.
func TestDamagedKnownRootIsRefused(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	for name, root := range map[string]string{"no JSON": "x", "empty object": "{}", "unsigned": strings.Replace(string(s.Raw(app, "root")), `"sig":"`, `"sig":"AA`, 1)} {
		reader := pinned(s, r)
		reader.Pins.TOFU = true
		if _, err := read(t, reader, app, Known{Root: []byte(root)}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
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
		t.Errorf("pinned by %s", got.PinnedBy())
	}
	attacker := notary(t)
	one(t, attacker, app)
	if _, err := read(t, &Reader{Source: server(attacker), Pins: Pins{DockerTrust: trust, TOFU: true}}, app, Known{}); !errors.Is(err, ErrRefused) {
		t.Errorf("another root than docker's: %v", err)
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
				t.Errorf("error %v", err)
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
			t.Errorf("%s: %v", name, err)
		}
		if want := strings.Contains(c.in, `:true`) || strings.Contains(c.in, `"true"`) || strings.Contains(c.in, `"t"`); c.ok && pins.NoTOFU != want {
			t.Errorf("%s: disable_tofu %v", name, pins.NoTOFU)
		}
		if f := pins.CA["a/"]; f != "" && f != filepath.Join(dir, "ca.pem") {
			t.Errorf("%s: CA file %s", name, f)
		}
	}
	if _, err := json.Marshal(Pins{TOFU: true}); err != nil {
		t.Error(err)
	}
	good, bad := filepath.Join(dir, "good.json"), filepath.Join(dir, "none.pem")
	must(t, os.WriteFile(good, []byte(`{"ca":{"a/":"ca.pem"}}`), 0o600))
	if pins, err := LoadPins(good); err != nil || pins.CA["a/"] != filepath.Join(dir, "ca.pem") {
		t.Errorf("a file: %v, %v", pins, err)
	}
	for _, path := range []string{bad, filepath.Join(dir, "missing.json")} {
		if _, err := LoadPins(path); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: got %v, want an error that names it", path, err)
		}
	}
}

// Promise 7: the key ids of an unpinned root are shown to be pasted into a file, and nothing
// in it is verified. One that is none is not shown as one.
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
		t.Errorf("error %v", err)
	}
}
