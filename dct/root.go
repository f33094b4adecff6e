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
)

// maxRotations bounds how many root versions are followed in one read.
const maxRotations = 1000

// root fetches the newest root and verifies it: against the pins of the configuration
// always, and along the chain of versions from the root that was trusted before, if one
// was. Without either it is refused, unless trust on first use was asked for.
func (l *loader) root(ctx context.Context) error {
	raw, err := l.fetch(ctx, "root", "root", maxRoot)
	if err != nil {
		return err
	}
	newest, err := decodeRoot(raw)
	if err != nil {
		return l.refuse("root", err)
	}
	l.rootCandidate = newest
	anchor, err := l.anchor()
	if err != nil {
		return err
	}
	switch {
	case anchor != nil:
		err = l.rotate(ctx, anchor, newest, raw)
	case l.pins.covers(l.gun):
		l.pinnedBy = PinnedConfig
		l.builder = tuf.NewRepoBuilder(data.GUN(l.gun.String()), nil, l.pins.library())
		err = l.explain("root", l.builder.Load(data.CanonicalRootRole, raw, 1, false))
	case l.pins.TOFU:
		l.pinnedBy = PinnedTOFU
		l.builder = tuf.NewRepoBuilder(data.GUN(l.gun.String()), nil, trustpinning.TrustPinConfig{})
		err = l.explain("root", l.builder.Load(data.CanonicalRootRole, raw, 1, false))
	default:
		return l.unpinned(newest)
	}
	if err != nil {
		return err
	}
	l.rootRaw = raw
	return l.remember("root", newest.Signed.Version, raw)
}

// anchor gives the root that is trusted from before, or nil. The configuration's pins
// come on top of it, not instead.
func (l *loader) anchor() (*data.SignedRoot, error) {
	raw, by := l.known.Root, PinnedEarlier
	if len(raw) == 0 && !l.pins.covers(l.gun) {
		var err error
		if raw, err = l.pins.dockerRoot(l.gun); err != nil {
			return nil, &Error{GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: err}
		}
		by = PinnedDockerTrust
	}
	if len(raw) == 0 {
		return nil, nil
	}
	// A pin that cannot be read must fail: to go on as if there were none is what an
	// attacker would wish for.
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
	l.pinnedBy = by
	if l.pins.covers(l.gun) {
		l.pinnedBy = PinnedConfig
	}
	return root, nil
}

// rotate follows the versions of the root from the anchor to the newest. Each must be
// signed by enough keys of the one before. A version that the server does not have is
// passed over, as the first rotation may be published together with the first version;
// the next one is then checked against the last that was accepted.
func (l *loader) rotate(ctx context.Context, anchor, newest *data.SignedRoot, raw []byte) error {
	pins := trustpinning.TrustPinConfig{}
	if l.pins.covers(l.gun) {
		pins = l.pins.library()
	}
	from, to := anchor.Signed.Version, newest.Signed.Version
	if to < from {
		return l.refuse("root", fmt.Errorf("rolled back: version %d, and version %d was trusted before", to, from))
	}
	if to-from > maxRotations {
		return l.refuse("root", fmt.Errorf("version %d is %d versions after the trusted one", to, to-from))
	}
	repo := tuf.NewRepo(nil)
	repo.Root = anchor
	gun := data.GUN(l.gun.String())
	l.builder = tuf.NewBuilderFromRepo(gun, repo, pins).BootstrapNewBuilder()
	for v := from + 1; v < to; v++ {
		between, err := l.source.File(ctx, l.gun, fmt.Sprintf("%d.root", v), maxRoot)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := gate(between); err != nil {
			return l.refuse("root", fmt.Errorf("version %d: %w", v, err))
		}
		if root, err := decodeRoot(between); err != nil || root.Signed.Version != v {
			return l.refuse("root", fmt.Errorf("what the source has as version %d is another version, or no root (%v)", v, err))
		}
		if err := l.builder.LoadRootForUpdate(between, v, false); err != nil {
			return l.explain("root", err)
		}
	}
	return l.explain("root", l.builder.LoadRootForUpdate(raw, to, true))
}

// unpinned says which keys a root has that nothing vouches for.
func (l *loader) unpinned(root *data.SignedRoot) error {
	ids := strings.Join(rootKeyIDs(root), `", "`)
	return &Error{
		GUN: l.gun.String(), Role: "root", Kind: ErrUnpinnedRoot,
		Err: fmt.Errorf("version %d with key ids %s", root.Signed.Version, strings.Join(rootKeyIDs(root), ", ")),
		Hint: fmt.Sprintf(`compare the ids with those the owner of the repository gives you, then pin them with --trust-pinning: {"trust_pinning":{"certs":{"%s":["%s"]}}}; --tofu accepts and records them unseen`,
			l.gun, ids),
	}
}

// decodeRoot decodes bytes that passed the gate, and checks that the notary library
// finds the form of a root in them. It verifies no signature.
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

// selfSigned checks that a remembered root carries its own keys' signatures. Damage to
// what remembered it would show here.
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

func rootKeyIDs(root *data.SignedRoot) []string {
	role, ok := root.Signed.Roles[data.CanonicalRootRole]
	if !ok || role == nil {
		return nil
	}
	ids := slices.Clone(role.KeyIDs)
	slices.Sort(ids)
	return ids
}

// rootCerts are the leaf certificates of the root role's keys that can be parsed.
func rootCerts(root *data.SignedRoot) []*x509.Certificate {
	var leafs []*x509.Certificate
	for _, id := range rootKeyIDs(root) {
		key, ok := root.Signed.Keys[id]
		if !ok || key == nil {
			continue
		}
		chain, err := utils.LoadCertBundleFromPEM(key.Public())
		if err != nil || len(chain) == 0 {
			continue
		}
		leafs = append(leafs, chain[0])
	}
	return leafs
}

// diagnoseRoot finds out what the notary library folds into "unable to retrieve valid
// leaf certificates".
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
