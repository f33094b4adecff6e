package notarytest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

// Tamper edits the signed part of a role's latest file, as decoded JSON: numbers are float64, and edit may set
// integers of any kind. With resign (needs the role's keys) the file gets the next version number before the edit,
// which may set another, and is signed again. Without it, the old signatures stay and are wrong if the edit changed
// anything (needs only the server's keys). Snapshot and timestamp follow either way.
func (r *Repository) Tamper(role string, edit func(signed map[string]any), resign bool) error {
	return r.tamper("tampering with", role, resign, func(d *document) error {
		edit(d.signed)
		return nil
	})
}

// Expire signs a role again with an expiry of yesterday. It needs the role's keys; real expiry needs none.
func (r *Repository) Expire(role string) error {
	return r.tamper("expiring", role, true, func(d *document) error {
		d.signed["expires"] = time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
		return nil
	})
}

// BadSignature makes a role's signatures wrong and leaves the rest of the file. It needs the server's keys.
func (r *Repository) BadSignature(role string) error {
	return r.tamper("spoiling", role, false, func(d *document) error {
		if len(d.signatures) == 0 {
			return errors.New("there are no signatures")
		}
		d.spoil()
		return nil
	})
}

// Threshold requires n signatures on a role, in the file that defines it: root, or the parent of a delegation. It
// needs the keys of that file. The role itself stays as it is, with one signature per key that it has.
func (r *Repository) Threshold(role string, n int) error {
	parent := "root"
	if data.IsDelegation(data.RoleName(role)) {
		parent = data.RoleName(role).Parent().String()
	}
	return r.tamper("setting threshold of "+role+" in", parent, true, func(d *document) error {
		entry, ok := d.roleEntry(role)
		if !ok {
			return fmt.Errorf("it does not know %s", role)
		}
		entry["threshold"] = n
		return nil
	})
}

// roleEntry returns what a root or a targets file says about a role.
func (d *document) roleEntry(role string) (map[string]any, bool) {
	if roles, ok := d.signed["roles"].(map[string]any); ok {
		entry, ok := roles[role].(map[string]any)
		return entry, ok
	}
	delegations, _ := d.signed["delegations"].(map[string]any)
	roles, _ := delegations["roles"].([]any)
	for _, candidate := range roles {
		if entry, ok := candidate.(map[string]any); ok && entry["name"] == role {
			return entry, true
		}
	}
	return nil, false
}

// Replace replaces a role's file by any bytes, and makes snapshot and timestamp vouch for them, as a malicious server
// that holds those two keys could. Bytes without a version get the one after the latest.
func (r *Repository) Replace(role string, raw []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := file{role: role, raw: bytes.Clone(raw)}
	if d, err := parseDocument(raw); err == nil {
		f.version = d.version()
	}
	if latest, ok := r.server.store.latest(r.gun, role); ok && f.version == 0 {
		f.version = latest.Number + 1
	}
	if err := r.settle(f); err != nil {
		return fmt.Errorf("replacing %s of %s: %w", role, r.gun, err)
	}
	return nil
}

// DropFromSnapshot withholds a role: the snapshot no longer lists it, though its parent still declares it and the
// file can still be fetched by its name.
func (r *Repository) DropFromSnapshot(role string) error {
	return r.tamper("dropping "+role+" from", "snapshot", true, func(d *document) error {
		meta, _ := d.signed["meta"].(map[string]any)
		if _, ok := meta[role]; !ok {
			return fmt.Errorf("%s is not listed", role)
		}
		delete(meta, role)
		return nil
	})
}

// forge edits the latest file of a role. With resign, the file gets its next version before the edit, and is signed
// by all keys of its role after it; otherwise version and signatures stay as they are. coming is a file that will be
// stored with it. The caller holds mu.
func (r *Repository) forge(role string, resign bool, coming file, edit func(*document) error) (file, error) {
	latest, ok := r.server.store.latest(r.gun, role)
	if !ok {
		return file{}, fmt.Errorf("%s has no file", role)
	}
	d, err := parseDocument(latest.Raw)
	if err != nil {
		return file{}, fmt.Errorf("reading %s: %w", role, err)
	}
	if resign {
		d.bump()
	}
	if err := edit(&d); err != nil {
		return file{}, err
	}
	if resign {
		keys, err := r.server.store.keysOf(r.gun, data.RoleName(role), coming)
		if err != nil {
			return file{}, fmt.Errorf("finding keys of %s: %w", role, err)
		}
		if err := d.sign(keys, r.server.signerKeys, r.server.ownKeys); err != nil {
			return file{}, fmt.Errorf("signing %s: %w", role, err)
		}
	}
	raw, err := d.encode()
	if err != nil {
		return file{}, fmt.Errorf("encoding %s: %w", role, err)
	}
	return file{role: role, version: d.version(), raw: raw}, nil
}

// settle stores a file and the snapshot and timestamp that follow from it, at once. The caller holds mu.
func (r *Repository) settle(f file) error {
	files := []file{f}
	for files[0].role != "timestamp" {
		inner := files[0]
		outer := "snapshot"
		if inner.role == "snapshot" {
			outer = "timestamp"
		}
		next, err := r.forge(outer, true, f, func(d *document) error { return d.vouchFor(inner) })
		if err != nil {
			return err
		}
		files = append([]file{next}, files...)
	}
	return r.server.store.add(r.gun, false, files...)
}

// vouchFor writes the size and hashes of a file into a snapshot or timestamp.
func (d *document) vouchFor(f file) error {
	meta, ok := d.signed["meta"].(map[string]any)
	if !ok {
		return fmt.Errorf("vouching for %s: no meta", f.role)
	}
	entry, err := data.NewFileMeta(bytes.NewReader(f.raw), data.NotaryDefaultHashes...)
	if err != nil {
		return fmt.Errorf("vouching for %s: %w", f.role, err)
	}
	meta[f.role] = entry
	return nil
}

// tamper forges and settles, and returns an error that says what failed.
func (r *Repository) tamper(doing, role string, resign bool, edit func(*document) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.forge(role, resign, file{}, edit)
	if err == nil {
		err = r.settle(f)
	}
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", doing, role, r.gun, err)
	}
	return nil
}

// A document is a file taken apart for forging: its signed part is plain JSON values, so that an edit may also make
// what notary's types could not hold.
type document struct {
	signed     map[string]any
	signatures []data.Signature
}

func parseDocument(raw []byte) (document, error) {
	var outer data.Signed
	if err := json.Unmarshal(raw, &outer); err != nil {
		return document{}, err
	}
	if outer.Signed == nil {
		return document{}, errors.New("no signed part")
	}
	d := document{signatures: outer.Signatures}
	err := json.Unmarshal(*outer.Signed, &d.signed)
	return d, err
}

// version returns the version number; 0 if there is none.
func (d document) version() int {
	switch v := d.signed["version"].(type) {
	case float64: // as decoded
		return int(v)
	case int: // as edited
		return v
	}
	return 0
}

// bump increments the document's version.
func (d document) bump() { d.signed["version"] = d.version() + 1 }

// sign replaces the signatures by those of all keys whose private halves are in the rings, whatever the threshold.
func (d *document) sign(keys []data.PublicKey, rings ...signed.CryptoService) error {
	message, err := json.MarshalCanonical(d.signed)
	if err != nil {
		return err
	}
	d.signatures = nil
	for _, key := range keys {
		private, err := privateKey(key, rings)
		if err != nil {
			return err
		}
		signature, err := private.Sign(rand.Reader, message, nil)
		if err != nil {
			return err
		}
		d.signatures = append(d.signatures, data.Signature{
			KeyID: key.ID(), Method: private.SignatureAlgorithm(), Signature: signature,
		})
	}
	return nil
}

// privateKey finds the private half of a key, which may be a certificate.
func privateKey(key data.PublicKey, rings []signed.CryptoService) (data.PrivateKey, error) {
	id, err := utils.CanonicalKeyID(key)
	if err != nil {
		return nil, err
	}
	for _, ring := range rings {
		if private, _, err := ring.GetPrivateKey(id); err == nil {
			return private, nil
		}
	}
	return nil, fmt.Errorf("private key %s is not here", id)
}

// spoil makes every signature wrong. They keep their length and their key ID.
func (d *document) spoil() {
	spoilt := make([]data.Signature, len(d.signatures))
	for i, s := range d.signatures {
		s.Signature = bytes.Clone(s.Signature)
		if len(s.Signature) > 0 {
			s.Signature[len(s.Signature)-1] ^= 0x01
		}
		spoilt[i] = s
	}
	d.signatures = spoilt
}

// encode writes the file in notary's own form.
func (d document) encode() ([]byte, error) {
	message, err := json.MarshalCanonical(d.signed)
	if err != nil {
		return nil, err
	}
	part := json.RawMessage(message)
	return json.Marshal(data.Signed{Signed: &part, Signatures: d.signatures})
}

// Recertify gives the root keys certificates with another common name or validity, as if the latest root had always
// had them: it keeps its version and replaces the file. It is for the most frequent failure of all, an expired root
// certificate, and for a certificate for another GUN (commonName "" is the GUN itself). RootKeyIDs change with it.
func (r *Repository) Recertify(commonName string, notBefore, notAfter time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if commonName == "" {
		commonName = r.gun
	}
	f, err := r.recertified(commonName, notBefore, notAfter)
	if err == nil {
		err = r.settle(f)
	}
	if err != nil {
		return fmt.Errorf("renewing root certificates of %s: %w", r.gun, err)
	}
	return nil
}

// recertified makes the new root; the caller holds mu.
func (r *Repository) recertified(commonName string, notBefore, notAfter time.Time) (file, error) {
	roots := r.server.store.readableRoots(r.gun)
	if len(roots) == 0 {
		return file{}, errors.New("no readable root")
	}
	root := roots[0]
	role := root.Signed.Roles[data.CanonicalRootRole]
	for i, id := range role.KeyIDs {
		key, err := r.certify(root.Signed.Keys[id], commonName, notBefore, notAfter)
		if err != nil {
			return file{}, err
		}
		delete(root.Signed.Keys, id)
		root.Signed.Keys[key.ID()] = key
		role.KeyIDs[i] = key.ID()
	}
	outer, err := root.ToSigned()
	if err != nil {
		return file{}, err
	}
	d := document{}
	if err := json.Unmarshal(*outer.Signed, &d.signed); err != nil {
		return file{}, err
	}
	if err := d.sign(rootSigners(roots), r.server.signerKeys); err != nil {
		return file{}, err
	}
	raw, err := d.encode()
	return file{role: "root", version: root.Signed.Version, raw: raw, replaces: true}, err
}

// certify makes a certificate for a key in the ring.
func (r *Repository) certify(key data.PublicKey, commonName string, notBefore, notAfter time.Time) (data.PublicKey, error) {
	private, err := privateKey(key, []signed.CryptoService{r.server.signerKeys})
	if err != nil {
		return nil, err
	}
	certificate, err := cryptoservice.GenerateCertificate(private, data.GUN(commonName), notBefore, notAfter)
	if err != nil {
		return nil, err
	}
	return utils.CertToKey(certificate), nil
}
