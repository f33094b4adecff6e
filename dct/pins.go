package dct

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"

	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// Pins say which roots are trusted before anything is read.
type Pins struct {
	// Certs maps a GUN, or a prefix ending in *, to key ids of roots.
	Certs map[string][]string `json:"certs,omitempty"`
	// RootKeys maps a GUN, or a prefix ending in *, to ids of the public keys of roots, as shown by notary key list.
	// This is our extension: notary has no such pins.
	RootKeys map[string][]string `json:"root-keys,omitempty"`
	// CA maps a GUN prefix to a PEM file of certificate authorities for root
	// certificates.
	CA map[string]string `json:"ca,omitempty"`
	// TOFU trusts the first root seen of a repository that has no pin. It is the opposite of notary's disable_tofu,
	// because here the user must ask for it.
	TOFU bool `json:"-"`
	// NoTOFU is notary's disable_tofu. It contradicts TOFU.
	NoTOFU bool `json:"-"`
	// DockerTrust is docker's trust directory (~/.docker/trust): the roots that docker trusted on this machine are
	// pins. Empty for none. We only read it.
	DockerTrust string `json:"-"`
}

// LoadPins reads a file of notary's own JSON: either its client configuration with a member trust_pinning, or that
// member alone. Besides notary's certs, ca and disable_tofu it may have root-keys, our extension. Relative paths of
// CA files are relative to the file.
func LoadPins(path string) (Pins, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Pins{}, fmt.Errorf("reading trust pinning: %w", err)
	}
	pins, err := ParsePins(raw, filepath.Dir(path))
	if err != nil {
		return Pins{}, fmt.Errorf("%s: %w", path, err)
	}
	return pins, nil
}

// ParsePins is [LoadPins] for bytes. Relative paths are relative to dir.
func ParsePins(raw []byte, dir string) (Pins, error) {
	raw = bytes.TrimPrefix(raw, []byte(byteOrderMark)) // written by editors on Windows
	var outer map[string]json.RawMessage
	if err := json.Unmarshal(raw, &outer); err != nil {
		return Pins{}, fmt.Errorf("reading trust pinning: %w", strictjson.Plain(err))
	}
	for name, member := range outer {
		if strings.EqualFold(name, "trust_pinning") {
			raw = member
		}
	}
	var p pinning
	// An absent pin and a misspelt one look alike, so neither may pass silently.
	if err := strictjson.UnmarshalKnown(raw, &p); err != nil && !isUnknownField(err) {
		return Pins{}, fmt.Errorf("reading trust pinning: %w", err)
	} else if err != nil || len(p.Certs)+len(p.RootKeys)+len(p.CA) == 0 && p.DisableTOFU == nil {
		return Pins{}, errors.New("trust pinning names no pins, or has a member that is none: it takes notary's JSON, with certs, ca and disable_tofu under trust_pinning, and root-keys beside them")
	}
	return p.pins(dir)
}

func isUnknownField(err error) bool { return strings.Contains(err.Error(), "unknown field") }

// pinning is the JSON form of pins.
type pinning struct {
	Certs       map[string]keyIDs `json:"certs"`
	RootKeys    map[string]keyIDs `json:"root-keys"`
	CA          map[string]string `json:"ca"`
	DisableTOFU *notaryBool       `json:"disable_tofu"`
}

// keyIDs is a list of key ids. Like notary, we refuse a single one without brackets.
type keyIDs []string

func (k *keyIDs) UnmarshalJSON(raw []byte) error {
	var ids []string
	if err := json.Unmarshal(raw, &ids); err != nil {
		return errors.New(`key ids are a list of strings, as in {"certs":{"registry.example.com/app":["<key id>"]}}`)
	}
	*k = ids
	return nil
}

// notaryBool is true or false, in quotes or not, as notary reads it. Nonsense, which notary takes for false, is an
// error.
type notaryBool bool

func (b *notaryBool) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
	} else if text != "true" && text != "false" {
		text = "" // notary reads numbers as false
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("disable_tofu is true or false")
	}
	*b = notaryBool(v)
	return nil
}

// pins checks and converts the parsed values.
func (p pinning) pins(dir string) (Pins, error) {
	for prefix, f := range p.CA {
		// The notary client takes the keys of ca literally as prefixes. A * in one would match no repository, so the
		// pin would pin nothing.
		if strings.Contains(prefix, "*") {
			return Pins{}, fmt.Errorf("trust pinning by ca of %s: it takes a prefix without *, such as registry.example.com/team/", safetext.Safe(prefix, 256))
		}
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, f)
			p.CA[prefix] = f
		}
		if err := checkAuthorities(f); err != nil {
			return Pins{}, fmt.Errorf("trust pinning by ca of %s: reading its certificates: %w", safetext.Safe(prefix, 256), err)
		}
	}
	pins := Pins{CA: p.CA, NoTOFU: p.DisableTOFU != nil && bool(*p.DisableTOFU)}
	var err error
	if pins.Certs, err = checkKeyIDs(p.Certs); err != nil {
		return Pins{}, err
	}
	if pins.RootKeys, err = checkKeyIDs(p.RootKeys); err != nil {
		return Pins{}, err
	}
	for name := range pins.RootKeys {
		if _, both := pins.Certs[name]; both {
			return Pins{}, fmt.Errorf("trust pinning of %s is under both certs and root-keys: use only one of them", safetext.Safe(name, 256))
		}
	}
	return pins, nil
}

func checkKeyIDs(pinned map[string]keyIDs) (map[string][]string, error) {
	if pinned == nil {
		return nil, nil
	}
	checked := map[string][]string{}
	for name, ids := range pinned {
		if len(ids) == 0 {
			return nil, fmt.Errorf("trust pinning of %s names no key id", safetext.Safe(name, 256))
		}
		for _, id := range ids {
			if !IsKeyID(id) {
				return nil, fmt.Errorf("trust pinning of %s: %s is not a key id (64 hexadecimal digits)", safetext.Safe(name, 256), safetext.Safe(id, 80))
			}
		}
		checked[name] = ids
	}
	return checked, nil
}

// checkAuthorities returns an error unless the notary library, which opens the file itself, reads the same
// certificates in it as we do. The library knows only PEM and skips a block that it cannot read: that authority would
// silently pin nothing.
func checkAuthorities(file string) error {
	ours, err := certfile.Read(file)
	if err != nil {
		return err
	}
	theirs, err := utils.LoadCertBundleFromFile(file)
	if err != nil || !slices.EqualFunc(ours, theirs, (*x509.Certificate).Equal) {
		f := safetext.Safe(file, 512)
		return fmt.Errorf("%s: notary's client reads PEM without a byte-order mark only, and not every certificate here; convert it, for one certificate in DER with: openssl x509 -inform DER -in %s -out ca.pem", f, f)
	}
	return nil
}

// IsKeyID reports whether a string has the form of notary's key ids.
func IsKeyID(id string) bool { return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" }

// A pin is what the configuration says about the root of one repository.
type pin struct {
	name  string   // the repository's name, or its matching prefix
	certs []string // ids of root keys
	keys  []string // ids of their public keys
	ca    string   // file of authorities; empty: use the ids
}

// of returns the pin of a repository, or nil. As in the notary client, its own name comes first, then the longest
// prefix*, then the longest prefix of a certificate authority.
func (p Pins) of(gun GUN) *pin {
	name := gun.String()
	var found *pin
	for _, ids := range []map[string][]string{p.Certs, p.RootKeys} {
		for key := range ids {
			prefix, wild := strings.CutSuffix(key, "*")
			fits := key == name || wild && strings.HasPrefix(name, prefix)
			if fits && (found == nil || found.name != name && (key == name || len(key) > len(found.name))) {
				found = &pin{name: key, certs: p.Certs[key], keys: p.RootKeys[key]}
			}
		}
	}
	if found != nil {
		return found
	}
	for prefix, file := range p.CA {
		if strings.HasPrefix(name, prefix) && (found == nil || len(prefix) > len(found.name)) {
			found = &pin{name: prefix, ca: file}
		}
	}
	return found
}

// Covers reports whether the configuration pins the repository.
func (p Pins) Covers(gun GUN) bool { return p.of(gun) != nil }

// Anchors reports whether something anchors a repository's root: a pin of the configuration, docker's trust
// directory, or trust on first use.
func (p Pins) Anchors(gun GUN) bool {
	if p.TOFU || p.Covers(gun) {
		return true
	}
	root, err := p.dockerRoot(gun)
	return err == nil && root != nil
}

// names reports whether the repository's pin, from the configuration or else from docker's trust directory, vouches
// for a key of a root.
func (p Pins) names(gun GUN, root *data.SignedRoot, id string) bool {
	if found := p.of(gun); found != nil {
		usable, err := certifiedKeys(root, data.GUN(gun.String()))
		if err != nil || usable[id] == nil {
			return false
		}
		ok, err := isPinned(id, usable[id], data.GUN(gun.String()), found.library(gun, root), true)
		return err == nil && ok
	}
	raw, err := p.dockerRoot(gun)
	if err != nil || raw == nil || gate(raw) != nil {
		return false
	}
	docker, err := decodeRoot(raw)
	return err == nil && slices.Contains(rootKeyIDs(docker), id)
}

// Exactly reports whether a repository is pinned under its own name to a key, by either of its ids.
func (p Pins) Exactly(gun GUN, id string) bool {
	found := p.of(gun)
	return found != nil && found.only(gun, id) != nil
}

// only returns the pin reduced to one of its ids. It returns nil if the pin lacks this id, or is not for the
// repository's own name.
func (p *pin) only(gun GUN, id string) *pin {
	one := &pin{name: p.name}
	if slices.Contains(p.certs, id) {
		one.certs = []string{id}
	}
	if slices.Contains(p.keys, id) {
		one.keys = []string{id}
	}
	if p.name != gun.String() || len(one.certs)+len(one.keys) == 0 {
		return nil
	}
	return one
}

// String says what is pinned, for use in a sentence.
func (p *pin) String() string {
	of := ""
	if strings.HasSuffix(p.name, "*") {
		of = " for " + p.name
	}
	if p.ca != "" {
		return fmt.Sprintf("your pin for %s says an authority of %s", p.name, p.ca)
	}
	return fmt.Sprintf("your pin%s says %s", of, strings.Join(slices.Concat(p.certs, p.keys), ", "))
}

// library converts the pin to notary's type, for one root: notary's pins are ids that the root contains. Trust on
// first use is always off there: it is decided before the library is called.
func (p *pin) library(gun GUN, root *data.SignedRoot) trustpinning.TrustPinConfig {
	if p.ca != "" {
		return trustpinning.TrustPinConfig{CA: map[string]string{p.name: p.ca}, DisableTOFU: true}
	}
	ids := slices.Clone(p.certs)
	for _, key := range rootKeys(root) {
		chain, err := utils.LoadCertBundleFromPEM(key.Public())
		if err == nil && len(chain) > 0 && slices.Contains(p.keys, publicKeyID(chain[0].PublicKey)) {
			ids = append(ids, key.ID())
		}
	}
	return trustpinning.TrustPinConfig{Certs: map[string][]string{gun.String(): ids}, DisableTOFU: true}
}

// fits reports whether the pin vouches for one of the keys of a root. It does not check that this key signed the
// root.
func (p *pin) fits(gun GUN, root *data.SignedRoot) bool {
	usable, err := certifiedKeys(root, data.GUN(gun.String()))
	if err != nil {
		return false
	}
	for id, chain := range usable {
		if ok, err := isPinned(id, chain, data.GUN(gun.String()), p.library(gun, root), true); err == nil && ok {
			return true
		}
	}
	return false
}

// publicKeyID returns the id that notary gives a public key and its private key. It is empty for a kind of key that
// notary does not support.
func publicKeyID(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	switch public.(type) {
	case *ecdsa.PublicKey:
		return data.NewECDSAPublicKey(der).ID()
	case *rsa.PublicKey:
		return data.NewRSAPublicKey(der).ID()
	}
	return ""
}

// dockerRoot returns the root.json that docker keeps for the repository, if any.
func (p Pins) dockerRoot(gun GUN) ([]byte, error) {
	if p.DockerTrust == "" {
		return nil, nil
	}
	// os.Root, because the path holds a name that may come from a server.
	root, err := os.OpenRoot(p.DockerTrust)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening docker's trust directory: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	raw, err := root.ReadFile(filepath.FromSlash("tuf/" + gun.String() + "/metadata/root.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading docker's pinned root: %w", err)
	}
	return raw, nil
}
