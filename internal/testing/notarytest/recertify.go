package notarytest

import (
	"errors"
	"fmt"
	"time"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

// Recertify gives the root keys certificates with another common name or validity, as if the
// latest root had always had them: its version stays and the file takes its place. It is
// for the most frequent failure of all, a root certificate that has expired, and for one that
// is for another GUN (commonName "" is the GUN itself). RootKeyIDs change with it.
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
	roots := r.server.shelf.readableRoots(r.gun)
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

// certify makes a certificate for a key that is in the ring.
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
