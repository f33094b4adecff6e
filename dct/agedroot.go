package dct

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

// agedRoot validates a root as trustpinning.ValidateRoot does, except for the age of its certificates, which that
// function cannot accept. Everything else holds: the signatures and thresholds of the previous root and of the root
// itself, the certificates' names and strength, and the pins.
func agedRoot(prev *data.SignedRoot, s *data.Signed, gun data.GUN, pins trustpinning.TrustPinConfig) (*data.SignedRoot, error) {
	root, err := data.RootFromSigned(s)
	if err != nil {
		return nil, err
	}
	role, err := root.BuildBaseRole(data.CanonicalRootRole)
	if err != nil {
		return nil, err
	}
	usable, err := certifiedKeys(root, gun)
	if err != nil {
		return nil, err
	}
	if prev != nil {
		if err := signedByPrevious(prev, s, gun); err != nil {
			return nil, err
		}
	}
	keys := map[string]data.PublicKey{}
	for id, chain := range usable {
		pinned, err := isPinned(id, chain, gun, pins, prev == nil)
		if err != nil {
			return nil, err
		}
		if pinned {
			keys[id] = role.Keys[id]
		}
	}
	if len(keys) == 0 {
		return nil, errNotPinned
	}
	if err := signed.VerifySignatures(s, data.BaseRole{Name: role.Name, Keys: keys, Threshold: role.Threshold}); err != nil {
		return nil, err
	}
	return data.RootFromSigned(s)
}

// signedByPrevious checks that enough keys of the previous root signed this one.
func signedByPrevious(prev *data.SignedRoot, s *data.Signed, gun data.GUN) error {
	role, err := certifiedRole(prev, gun)
	if err == nil {
		err = signed.VerifySignatures(s, role)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnfollowed, err)
	}
	for i := range s.Signatures {
		s.Signatures[i].IsValid = false // only the root's own keys are to be marked
	}
	return nil
}

// certifiedRole returns the root role with only the keys that certifiedKeys returns.
func certifiedRole(root *data.SignedRoot, gun data.GUN) (data.BaseRole, error) {
	role, err := root.BuildBaseRole(data.CanonicalRootRole)
	if err != nil {
		return role, err
	}
	usable, err := certifiedKeys(root, gun)
	keys := data.Keys{}
	for id := range usable {
		keys[id] = role.Keys[id]
	}
	return data.BaseRole{Name: role.Name, Keys: keys, Threshold: role.Threshold}, err
}

// certifiedKeys returns, by key id, the certificate chains of the root role's keys that are for the repository and
// strong enough. It does not check their age.
func certifiedKeys(root *data.SignedRoot, gun data.GUN) (map[string][]*x509.Certificate, error) {
	usable := map[string][]*x509.Certificate{}
	for _, id := range rootKeyIDs(root) {
		key, ok := root.Signed.Keys[id]
		if !ok || key == nil {
			continue
		}
		chain, err := utils.LoadCertBundleFromPEM(key.Public())
		if err != nil || len(utils.GetLeafCerts(chain)) != 1 || chain[0].IsCA {
			continue
		}
		if trustpinning.MatchCNToGun(chain[0].Subject.CommonName, gun) && utils.ValidateCertificate(chain[0], false) == nil {
			usable[id] = chain
		}
	}
	if len(usable) == 0 {
		return nil, errors.New("it has no certificate for the repository")
	}
	return usable, nil
}

// isPinned reports whether the pins vouch for a key, as notary's checker does: by the repository's name, the longest
// prefix, or an authority. Without a pin it suffices that there is a previous root.
func isPinned(id string, chain []*x509.Certificate, gun data.GUN, pins trustpinning.TrustPinConfig, first bool) (bool, error) {
	if ids, ok := certPins(gun, pins); ok {
		return slices.Contains(ids, id), nil
	}
	if file, ok := caPin(gun, pins); ok {
		return byAuthority(chain, file)
	}
	return !first || !pins.DisableTOFU, nil
}

func certPins(gun data.GUN, pins trustpinning.TrustPinConfig) ([]string, bool) {
	if ids, ok := pins.Certs[gun.String()]; ok {
		return ids, true
	}
	longest, ids := "", []string(nil)
	for name, some := range pins.Certs {
		if strings.HasSuffix(name, "*") && strings.HasPrefix(gun.String(), strings.TrimSuffix(name, "*")) && len(name) > len(longest) {
			longest, ids = name, some
		}
	}
	return ids, ids != nil
}

func caPin(gun data.GUN, pins trustpinning.TrustPinConfig) (file string, ok bool) {
	longest := -1
	for prefix, f := range pins.CA {
		if strings.HasPrefix(gun.String(), prefix) && len(prefix) > longest {
			longest, file, ok = len(prefix), f, true
		}
	}
	return file, ok
}

// byAuthority reports whether a chain led to one of a file's authorities while the chain was valid.
func byAuthority(chain []*x509.Certificate, file string) (bool, error) {
	authorities, err := utils.LoadCertBundleFromFile(file)
	if err != nil {
		return false, fmt.Errorf("loading the pinned authority %s: %w", file, err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range authorities {
		roots.AddCert(a)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: lastMoment(chain), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err == nil, nil
}

// lastMoment returns the last time at which all certificates were valid.
func lastMoment(chain []*x509.Certificate) time.Time {
	at := chain[0].NotAfter
	for _, c := range chain {
		if c.NotAfter.Before(at) {
			at = c.NotAfter
		}
	}
	return at.Add(-time.Second)
}
