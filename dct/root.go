package dct

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// maxRotations bounds how many root versions one read follows.
const maxRotations = 1000

// root fetches the newest root and verifies it: always against the configuration's pins, and along the chain of
// versions from the root trusted before, if there is one. Without either, it refuses the root unless trust on first
// use was requested.
func (l *loader) root(ctx context.Context) error {
	raw, err := l.fetch(ctx, "root", "root", maxRoot)
	if err != nil {
		return err
	}
	newest, err := decodeRoot(raw)
	if err != nil {
		return l.refuse("root", err)
	}
	anchor, err := l.anchor()
	if err != nil {
		return err
	}
	switch {
	case anchor != nil:
	case l.pins.Covers(l.gun):
		l.pinnedBy = PinnedConfig
	case l.pins.TOFU:
		l.pinnedBy = PinnedTOFU
	default:
		return l.unpinned(newest)
	}
	trusted, err := l.follow(ctx, anchor, newest.Signed.Version, raw)
	if err != nil && anchor != nil && errors.Is(err, ErrRefused) {
		trusted, err = l.otherRoot(anchor, newest, raw, err)
	}
	if err != nil {
		return err
	}
	l.trust(trusted)
	l.age("root", trusted.Signed.Expires)
	l.repo = tuf.NewRepo(nil)
	l.repo.Root = trusted
	l.builder = tuf.NewBuilderFromRepo(data.GUN(l.gun.String()), l.repo, trustpinning.TrustPinConfig{})
	l.rootRaw = raw
	return l.remember("root", trusted.Signed.Version, raw)
}

// anchor returns the root trusted before, or nil. The configuration's pins apply in addition, not instead.
func (l *loader) anchor() (*data.SignedRoot, error) {
	raw, by := l.known.Root, PinnedEarlier
	if len(raw) == 0 && !l.pins.Covers(l.gun) {
		var err error
		if raw, err = l.pins.dockerRoot(l.gun); err != nil {
			return nil, &Error{GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: err}
		}
		by = PinnedDockerTrust
	}
	if len(raw) == 0 {
		return nil, nil
	}
	// An unreadable pin must fail: an attacker would like us to go on as if there were none.
	err := gate(raw)
	var root *data.SignedRoot
	if err == nil {
		root, err = decodeRoot(raw)
	}
	if err == nil {
		err = selfSigned(root, raw)
	}
	if err != nil {
		return nil, l.refuse("root", fmt.Errorf("the root known from %s: %w", by, err))
	}
	l.trust(root)
	if s, err := decodeSigned(raw); err == nil {
		for _, sig := range s.Signatures {
			l.trusted[sig.KeyID] = true // the previous root had that key
		}
	}
	l.pinnedBy = by
	if l.pins.Covers(l.gun) {
		l.pinnedBy = PinnedConfig
	}
	return root, nil
}

// follow accepts the newest root, along the chain of versions from the anchor if there is one. Enough keys of each
// version must sign the next. A version that the server does not have is skipped, since the first rotation may be
// published together with the first version; the next one is then checked against the last accepted one.
func (l *loader) follow(ctx context.Context, anchor *data.SignedRoot, to int, raw []byte) (*data.SignedRoot, error) {
	if anchor == nil {
		return l.accept(nil, raw, to, true)
	}
	from := anchor.Signed.Version
	if to < from {
		return nil, l.refuse("root", fmt.Errorf("%w: version %d, and version %d was trusted before", errRolledBack, to, from))
	}
	if to-from > maxRotations {
		return nil, l.refuse("root", fmt.Errorf("version %d is %d versions after the trusted one", to, to-from))
	}
	last := anchor
	for v := from + 1; v < to; v++ {
		between, err := l.spend(ctx, fmt.Sprintf("%d.root", v), maxRoot)
		if lookup.IsAbsent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := gate(between); err != nil {
			return nil, l.refuse("root", fmt.Errorf("version %d: %w", v, err))
		}
		if last, err = l.accept(last, between, v, false); err != nil {
			return nil, err
		}
		l.trust(last)
	}
	return l.accept(last, raw, to, true)
}

// accept verifies one root: against the previous one, against itself, and against the configuration's pins if they
// cover the repository. Only the newest root's age counts: earlier ones merely pass trust on.
func (l *loader) accept(prev *data.SignedRoot, raw []byte, version int, newest bool) (*data.SignedRoot, error) {
	var pinned *pin
	if newest {
		pinned = l.pins.of(l.gun)
	}
	return l.acceptPinned(prev, raw, version, newest, pinned)
}

// acceptPinned is accept with a given pin, or none.
func (l *loader) acceptPinned(prev *data.SignedRoot, raw []byte, version int, newest bool, pinned *pin) (*data.SignedRoot, error) {
	s, err := decodeSigned(raw)
	if err != nil {
		return nil, l.refuse("root", err)
	}
	pins := trustpinning.TrustPinConfig{}
	if pinned != nil {
		unverified, err := data.RootFromSigned(s)
		if err != nil {
			return nil, l.refuse("root", err)
		}
		pins = pinned.library(l.gun, unverified)
	}
	gun := data.GUN(l.gun.String())
	root, err := trustpinning.ValidateRoot(prev, s, gun, pins)
	var invalid *trustpinning.ErrValidationFail
	if errors.As(err, &invalid) && (!newest || l.newestMayBeAged(raw)) {
		// The age of certificates may be all that is wrong. Check the rest again.
		if root, err = agedRoot(prev, s, gun, pins); err != nil {
			return nil, l.explainRoot(raw, pinned, err)
		}
	}
	var astray *trustpinning.ErrRootRotationFail
	if errors.As(err, &astray) {
		return nil, l.refuse("root", fmt.Errorf("%w: %w", errUnfollowed, err))
	}
	if err != nil {
		return nil, l.explainRoot(raw, pinned, err)
	}
	if err := enoughForRoot(prev, root, s, raw, gun); err != nil {
		return nil, l.refuse("root", err)
	}
	if root.Signed.Version != version {
		return nil, l.refuse("root", fmt.Errorf("what the source has as version %d says that it is %d", version, root.Signed.Version))
	}
	return root, nil
}

// unpinned returns an error with the keys of a root that nothing vouches for.
func (l *loader) unpinned(root *data.SignedRoot) error {
	// Nothing in this root is verified, and people will compare and paste its ids.
	for _, id := range rootKeyIDs(root) {
		if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
			return l.refuse("root", errors.New("it is not pinned, and one of its key ids is none"))
		}
	}
	return &Error{
		GUN: l.gun.String(), Role: "root", Kind: ErrUnpinnedRoot,
		Err:  fmt.Errorf("version %d with key ids %s", root.Signed.Version, strings.Join(rootKeyIDs(root), ", ")),
		Hint: "compare the ids with those the owner of the repository gives you, then pin them: dct2notation pins -o json writes a file for --trust-pinning; --tofu accepts and records them unseen",
	}
}

// decodeRoot decodes bytes that passed the gate, and checks that the notary library reads them as a root. It verifies
// no signature.
func decodeRoot(raw []byte) (*data.SignedRoot, error) {
	s, err := decodeSigned(raw)
	if err != nil {
		return nil, err
	}
	return data.RootFromSigned(s)
}

func decodeSigned(raw []byte) (*data.Signed, error) {
	var s data.Signed
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	if s.Signed == nil {
		return nil, errors.New("it has no signed part")
	}
	return &s, nil
}

// selfSigned checks that a remembered root is signed by its own keys. This detects damage where it was stored.
func selfSigned(root *data.SignedRoot, raw []byte) error {
	s, err := decodeSigned(raw)
	if err != nil {
		return err
	}
	role, err := root.BuildBaseRole(data.CanonicalRootRole)
	if err != nil {
		return err
	}
	return signed.VerifySignatures(s, role)
}

// rootKeys returns the keys of the root role, ordered by id.
func rootKeys(root *data.SignedRoot) []data.PublicKey {
	var keys []data.PublicKey
	for _, id := range rootKeyIDs(root) {
		if key, ok := root.Signed.Keys[id]; ok && key != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// rootKeyIDs returns the key ids of the root role, without which the notary library accepts no root.
func rootKeyIDs(root *data.SignedRoot) []string {
	return slices.Sorted(slices.Values(root.Signed.Roles[data.CanonicalRootRole].KeyIDs))
}

// rootCerts returns the leaf certificates of the root role's keys that can be parsed.
func rootCerts(root *data.SignedRoot) []*x509.Certificate {
	var leafs []*x509.Certificate
	for _, key := range rootKeys(root) {
		chain, err := utils.LoadCertBundleFromPEM(key.Public())
		if err != nil || len(chain) == 0 {
			continue
		}
		leafs = append(leafs, chain[0])
	}
	return leafs
}

// diagnoseRoot finds out what is behind the notary library's "unable to retrieve valid leaf certificates".
func diagnoseRoot(root *data.SignedRoot, gun GUN) (kind, err error) {
	certs := rootCerts(root)
	if len(certs) == 0 {
		return ErrRefused, errors.New("its keys hold no certificate")
	}
	var problems []string
	expired := true
	for _, c := range certs {
		switch {
		case !trustpinning.MatchCNToGun(c.Subject.CommonName, data.GUN(gun.String())):
			expired = false
			problems = append(problems, fmt.Sprintf("certificate is for %s", c.Subject.CommonName))
		case time.Now().After(c.NotAfter):
			problems = append(problems, "certificate expired "+c.NotAfter.UTC().Format(time.DateOnly))
		default:
			expired = false
			if e := utils.ValidateCertificate(c, true); e != nil {
				problems = append(problems, e.Error())
			}
		}
	}
	if expired {
		return ErrExpired, errors.New("root " + strings.Join(problems, "; "))
	}
	return ErrRefused, errors.New(strings.Join(problems, "; "))
}
