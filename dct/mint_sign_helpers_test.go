package dct

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	canonical "github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
)

// sign encodes a role's document with the signatures of all its keys.
func (m *mint) sign(role string) []byte {
	m.t.Helper()
	return m.signAs(m.docs[role], m.keys[role]...)
}

func (m *mint) signAs(doc map[string]any, keys ...mintKey) []byte {
	m.t.Helper()
	// The canonical form cannot serve for both: it leaves control characters as they are, which is not
	// JSON.
	message, err := canonical.MarshalCanonical(doc)
	m.must(err)
	raw, err := json.Marshal(doc)
	m.must(err)
	return m.seal(raw, message, keys...)
}

// seal puts the signatures of a message around other bytes, whose canonical form should be the
// message.
func (m *mint) seal(raw, message []byte, keys ...mintKey) []byte {
	m.t.Helper()
	list := []data.Signature{}
	for _, k := range keys {
		var random io.Reader
		var options crypto.SignerOpts = crypto.SHA256 // without randomness ECDSA signatures are always the same
		if k.private.Algorithm() == data.RSAKey {
			random, options = rand.Reader, nil // notary then chooses PSS
		}
		sig, err := k.private.Sign(random, message, options)
		m.must(err)
		list = append(list, data.Signature{KeyID: k.id, Method: k.private.SignatureAlgorithm(), Signature: sig})
	}
	signatures, err := json.Marshal(list)
	m.must(err)
	return slices.Concat([]byte(`{"signatures":`), signatures, []byte(`,"signed":`), raw, []byte("}"))
}

// publish makes the next version of roles, signs it, and updates snapshot and timestamp.
func (m *mint) publish(roles ...string) {
	m.t.Helper()
	for _, role := range roles {
		m.bump(role)
		m.put(role, m.sign(role))
	}
	m.vouch(roles...)
}

// bump raises a document's version by one, unless its version is not a number.
func (m *mint) bump(role string) {
	switch m.docs[role]["version"].(type) {
	case int, float64:
		m.docs[role]["version"] = m.version(role) + 1
	}
}

func (m *mint) version(role string) int {
	switch v := m.docs[role]["version"].(type) {
	case int:
		return v
	case float64: // as decoded
		return int(v)
	}
	return 0
}

// put serves bytes as the file of a role, and changes nothing else.
func (m *mint) put(role string, raw []byte) {
	m.files[role] = raw
	if role == "root" {
		m.files[fmt.Sprintf("%d.root", m.version("root"))] = raw
	}
}

// vouch makes a new snapshot that lists the files of roles as they are served now, and a new
// timestamp. The server, which has those two keys, does the same.
func (m *mint) vouch(roles ...string) {
	m.t.Helper()
	for _, role := range roles {
		m.meta("snapshot")[role] = m.fileMeta(role)
	}
	m.bump("snapshot")
	m.put("snapshot", m.sign("snapshot"))
	m.vouchForSnapshot()
}

func (m *mint) vouchForSnapshot() {
	m.t.Helper()
	m.meta("timestamp")["snapshot"] = m.fileMeta("snapshot")
	m.bump("timestamp")
	m.put("timestamp", m.sign("timestamp"))
}

func (m *mint) meta(role string) map[string]any { return m.docs[role]["meta"].(map[string]any) }

func (m *mint) fileMeta(role string) any {
	m.t.Helper()
	f, err := data.NewFileMeta(bytes.NewReader(m.files[role]), data.NotaryDefaultHashes...)
	m.must(err)
	return plainJSON(m, f)
}
