package dct

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"slices"
	"testing"

	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// someKeys makes some keys.
func (m *mint) someKeys(n int) []mintKey {
	m.t.Helper()
	var keys []mintKey
	for range n {
		keys = append(keys, m.key())
	}
	return keys
}

// resigned changes the list of signatures of a file that is served.
func (m *mint) resigned(role string, edit func(list []any) []any) []byte {
	m.t.Helper()
	var file map[string]any
	m.must(json.Unmarshal(m.files[role], &file))
	file["signatures"] = edit(file["signatures"].([]any))
	raw, err := json.Marshal(file)
	m.must(err)
	return raw
}

func TestConformanceKeys(t *testing.T) {
	t.Parallel()
	cases := map[string]conformanceCase{
		"test_snapshot_does_not_meet_threshold": func(_ *testing.T, c *tufClient) {
			keys := c.m.someKeys(3)
			c.m.assign("snapshot", 3, keys...)
			c.m.publish("root", "targets")
			c.accepts()
			c.m.keys["snapshot"] = keys[:2]
			c.m.publish("targets")
			c.refuses(ErrRefused, "snapshot")
		},
		"test_deprecated_keyid_hash_algorithms": func(t *testing.T, c *tufClient) {
			id := c.m.keys["snapshot"][0].id
			c.m.docs["root"]["keys"].(map[string]any)[id].(map[string]any)["keyid_hash_algorithms"] = []any{"md5"}
			c.m.publish("root")
			wantVersions(t, c.accepts(), map[string]int{"root": 2})
		},
		"test_snapshot_has_too_few_keys": func(_ *testing.T, c *tufClient) {
			c.m.assign("snapshot", 6, c.m.someKeys(5)...)
			c.m.publish("root")
			c.refuses(ErrRefused, "snapshot")
		},
		"test_duplicate_keys": func(_ *testing.T, c *tufClient) {
			k := c.m.key()
			c.m.assign("snapshot", 6, slices.Repeat([]mintKey{k}, 9)...)
			c.m.publish("root")
			c.refuses(ErrRefused, "snapshot")
		},
		// Spec: a key id must be unique among the signatures. Here: accepted as Notary
		// does, which counts each id once, so that nothing is gained by it; the case above shows that.
		"test_duplicate_sig_keyids": func(_ *testing.T, c *tufClient) {
			c.m.files["snapshot"] = c.m.resigned("snapshot", func(l []any) []any { return append(l, l[0]) })
			c.m.vouchForSnapshot()
			c.accepts()
		},
		"test_invalid_sig_in_valid_metadata": func(_ *testing.T, c *tufClient) {
			c.m.assign("timestamp", 1, c.m.someKeys(2)...)
			c.m.publish("root")
			for _, sig := range []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", ""} {
				c.m.files["timestamp"] = c.m.resigned("timestamp", func(l []any) []any {
					l[0].(map[string]any)["sig"] = sig
					return l
				})
				c.accepts()
				c.m.publish()
			}
		},
		// Notary adds: the id of a key is the hash of its content, so another's id is no use.
		"key id is not the key's": func(_ *testing.T, c *tufClient) {
			k := c.m.key()
			k.id = sha("1")
			c.m.assign("targets", 1, k)
			c.m.publish("root", "targets")
			c.refuses(ErrRefused, "targets")
		},
		"two ids of one key in the list are one": func(_ *testing.T, c *tufClient) {
			k := c.m.key()
			c.m.assign("targets", 2, k, k)
			c.m.publish("root", "targets")
			c.refuses(ErrRefused, "targets")
		},
	}
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		cases["test_keytype_and_scheme["+kind+"]"] = func(t *testing.T, c *tufClient) { keytype(t, c, kind) }
	}
	conform(t, cases)
}

// keytype has targets signed with one more key, which is of another kind. The original does
// it with root, whose keys are certificates in Notary.
func keytype(t *testing.T, c *tufClient, kind string) {
	k := c.m.keyOf(kind)
	c.m.assign("targets", 2, c.m.key(), k)
	c.m.publish("root", "targets")
	wantVersions(t, c.accepts(), map[string]int{"targets": 2})
	other := c.m.keyOf(kind)
	other.id = k.id // a signature that looks right
	c.m.keys["targets"][1] = other
	c.m.publish("targets")
	c.refuses(ErrRefused, "targets")
}

func (m *mint) keyOf(kind string) mintKey {
	m.t.Helper()
	if kind != "rsa" {
		private, err := utils.GenerateKey(kind)
		m.must(err)
		return newMintKey(private, data.PublicKeyFromPrivate(private))
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	m.must(err)
	private, err := utils.RSAToPrivateKey(key)
	m.must(err)
	return newMintKey(private, data.PublicKeyFromPrivate(private))
}

// The original wants such roles to be asked for with their names escaped. Notary's names
// have a grammar, and none of these is in it: the file that declares them is refused.
func TestConformanceQuoting(t *testing.T) {
	t.Parallel()
	cases := map[string]conformanceCase{}
	for _, name := range []string{"targets/?", "targets/#", "targets//delegatedrole", "targets/../delegatedrole", "targets/a%2fb", "targets/a\x1b[0m", "targets/\u202e"} {
		cases["test_unusual_role_name["+name+"]"] = func(t *testing.T, c *tufClient) {
			c.m.declare("targets", name)
			c.m.publish("targets")
			c.refuses(ErrRefused, "targets")
			wantAsked(t, c.m, topLevel...)
		}
	}
	for _, name := range []string{"targets/-", "targets/_a", "targets/0", "targets/targets"} {
		cases["a role may be called "+name] = func(t *testing.T, c *tufClient) {
			c.m.assign(name, 1, c.m.key())
			c.m.list(name, "v1", "a")
			c.m.publish("targets", name)
			c.accepts()
			wantAsked(t, c.m, append(slices.Clone(topLevel), name)...)
		}
	}
	conform(t, cases)
}

// declare adds a delegation as written, with a new key.
func (m *mint) declare(parent, name string) {
	d, k := m.delegations(parent), m.key()
	d["keys"].(map[string]any)[k.id] = plainJSON(m, k.public)
	d["roles"] = append(d["roles"].([]any), map[string]any{"name": name, "paths": []any{""}, "keyids": []any{k.id}, "threshold": 1})
}
