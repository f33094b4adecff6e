package dct

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// A mint makes one repository of which the test holds every key, down to thresholds and single
// signatures. It does what no publisher would do; notarytest makes the repositories that real ones
// make.
type mint struct {
	t     testing.TB
	gun   string
	docs  map[string]map[string]any // signed parts, by role, as decoded JSON
	keys  map[string][]mintKey      // who signs the next file of a role
	files map[string][]byte         // what is served: by role, and N.root
	pin   []string                  // ids of the first root keys
	made  int                       // keys and certificates

	served served
}

// mintKey is a key as metadata lists it. The id is computed when the key is made: the library
// would compute it on first use, which races.
type mintKey struct {
	id      string
	private data.PrivateKey
	public  data.PublicKey
}

// newMint publishes a repository with v1 in targets and in each delegation, each time with another
// digest. Every role has one key.
func newMint(t testing.TB, delegations ...string) *mint {
	t.Helper()
	m := &mint{t: t, gun: app, docs: map[string]map[string]any{}, keys: map[string][]mintKey{}, files: map[string][]byte{}}
	for role, more := range map[string]map[string]any{
		"root":      {"keys": map[string]any{}, "roles": map[string]any{}, "consistent_snapshot": false},
		"timestamp": {"meta": map[string]any{}},
		"snapshot":  {"meta": map[string]any{}},
	} {
		m.docs[role] = mintDocument(strings.ToUpper(role[:1])+role[1:], more)
	}
	root := m.cert()
	m.pin = []string{root.id}
	m.assign("root", 1, root)
	for i, role := range append([]string{"timestamp", "snapshot", "targets"}, delegations...) {
		m.assign(role, 1, m.key())
		if i >= 2 {
			m.list(role, "v1", fmt.Sprint("d", i-2))
		}
	}
	m.publish(append([]string{"root", "targets"}, delegations...)...)
	return m
}

// mintDocument begins a signed part. Values added later may have any JSON type.
func mintDocument(kind string, more map[string]any) map[string]any {
	d := map[string]any{"_type": kind, "version": 0, "expires": farAway.Format(time.RFC3339)}
	maps.Copy(d, more)
	return d
}

// clone returns an equal repository for another test.
func (m *mint) clone(t testing.TB) *mint {
	c := &mint{t: t, gun: m.gun, docs: map[string]map[string]any{}, keys: maps.Clone(m.keys), files: maps.Clone(m.files), pin: m.pin, made: m.made}
	for role, d := range m.docs {
		c.docs[role] = copied(d).(map[string]any)
	}
	return c
}

// copied returns a deep copy of decoded JSON.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for key, member := range v {
			c[key] = copied(member)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, member := range v {
			c[i] = copied(member)
		}
		return c
	}
	return v
}

// plainJSON turns anything into what decoding its JSON gives, so that edits find maps.
func plainJSON(m *mint, v any) any {
	raw, err := json.MarshalCanonical(v)
	m.must(err)
	var out any
	m.must(json.Unmarshal(raw, &out))
	return out
}

func (m *mint) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("minting %s: %v", m.gun, err)
	}
}

// key makes a key of the kind that docker's users have. A number always gives the same key, so a
// fuzz finding is reproduced in every process.
func (m *mint) key() mintKey {
	m.t.Helper()
	m.made++
	scalar := sha256.Sum256(fmt.Append(nil, "key ", m.made))
	raw, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	m.must(err)
	private, err := utils.ECDSAToPrivateKey(raw)
	m.must(err)
	return newMintKey(private, data.PublicKeyFromPrivate(private))
}

// cert makes a root key: a certificate for the repository.
func (m *mint) cert() mintKey { return m.certFor(m.gun, m.key().private) }

// certFor makes a certificate for a key, which may have others.
func (m *mint) certFor(name string, private data.PrivateKey) mintKey {
	m.t.Helper()
	return m.certUntil(farAway, name, private)
}

func (m *mint) certUntil(end time.Time, name string, private data.PrivateKey) mintKey {
	m.t.Helper()
	m.made++
	id, err := pki.SelfSigned(name, private.CryptoSigner(), pki.Bare, pki.Valid(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), end),
		func(c *x509.Certificate) { c.SerialNumber = big.NewInt(int64(m.made)) })
	m.must(err)
	return newMintKey(private, utils.CertToKey(id.Certificate()))
}

// farAway is when things expire.
var farAway = time.Date(2119, 1, 1, 0, 0, 0, 0, time.UTC)

func newMintKey(private data.PrivateKey, public data.PublicKey) mintKey {
	private.ID()
	return mintKey{public.ID(), private, public}
}

// assign sets who may sign a role and how many must, in the file that names the role's keys. All
// of them sign its next file.
func (m *mint) assign(role string, threshold int, keys ...mintKey) {
	m.t.Helper()
	var ids []any
	listed := m.parentKeys(role)
	for _, k := range keys {
		ids = append(ids, k.id)
		listed[k.id] = plainJSON(m, k.public)
	}
	entry := m.entry(role)
	entry["keyids"], entry["threshold"] = ids, threshold
	m.keys[role] = keys
}

// parentRole returns the role whose file names the keys of another.
func parentRole(role string) string {
	if strings.Contains(role, "/") {
		return path.Dir(role)
	}
	return "root"
}

func (m *mint) parentKeys(role string) map[string]any {
	if parentRole(role) == "root" {
		return m.docs["root"]["keys"].(map[string]any)
	}
	return m.delegations(parentRole(role))["keys"].(map[string]any)
}

// delegations returns that member of a targets file, which it creates if needed.
func (m *mint) delegations(role string) map[string]any {
	m.begin(role)
	return m.docs[role]["delegations"].(map[string]any)
}

func (m *mint) begin(role string) {
	if m.docs[role] == nil {
		m.docs[role] = mintDocument("Targets", map[string]any{
			"targets": map[string]any{}, "delegations": map[string]any{"keys": map[string]any{}, "roles": []any{}},
		})
	}
}

// entry returns what the parent says of a role; a new delegation may name any tag.
func (m *mint) entry(role string) map[string]any {
	if parentRole(role) == "root" {
		roles := m.docs["root"]["roles"].(map[string]any)
		if roles[role] == nil {
			roles[role] = map[string]any{}
		}
		return roles[role].(map[string]any)
	}
	d := m.delegations(parentRole(role))
	for _, r := range d["roles"].([]any) {
		if e := r.(map[string]any); e["name"] == role {
			return e
		}
	}
	e := map[string]any{"name": role, "paths": []any{""}}
	d["roles"] = append(d["roles"].([]any), e)
	return e
}

// list puts a tag into a role, with a digest made from the mark.
func (m *mint) list(role, tag, mark string) {
	m.t.Helper()
	m.begin(role)
	sum, err := hex.DecodeString(sha(mark))
	m.must(err)
	m.docs[role]["targets"].(map[string]any)[tag] = plainJSON(m, data.FileMeta{Length: 9, Hashes: data.Hashes{"sha256": sum}})
}
