package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// This file decides what counts as already signed. The registry shows candidates; a candidate is ours only by the
// key's identity, which comes from the configuration or from the key itself. The ledger alone only saves lookups, and
// only for an item that it has as done by an accepted identity and a signature that may still verify.

// stands reports whether the ledger's word that an item is done is enough: it says by which identity, that identity
// is accepted, the signature has not expired, and it has the requested options.
func (in inspector) stands(w Work, by state.SignedBy) bool {
	return in.acceptable(w, by) && w.key.lacks(by) == "" && (!in.resign || by.Identity == w.key.identity())
}

// acceptable reports whether an item that the ledger has as done by a signature is done: the identity is or was
// accepted, and the signature has not expired.
func (in inspector) acceptable(w Work, by state.SignedBy) bool {
	return by.Verifies(in.now()) && (w.key.accepts(by.Identity) || w.key.formerly(by.Identity))
}

// A look returns the signature that the ledger names, if the registry lists it and it counts for the key.
type look func(ctx context.Context, w Work, image Image, signature string) (Signature, bool, error)

// ours returns the signatures by which the item is done: those that the inspection found, or else the one that the
// ledger names, if its identity counts and the registry still shows it. This includes items taken back since, as by
// an undo that failed. A signature that the registry has and does not list is ErrUnlisted, unless its envelope is to
// be pushed anyway. The key is proven before the first signature counts as made by it.
func (in inspector) ours(ctx context.Context, w Work, x Inspected, known state.Item, recorded look) ([]Signature, error) {
	if len(x.Found.Ours) > 0 {
		return x.Found.Ours, w.proven(ctx, x.Found.Ours)
	}
	if known.Signature == "" {
		return nil, nil
	}
	s, found, err := recorded(ctx, w, x.Image, known.Signature)
	if errors.Is(err, ErrUnlisted) && (known.Stage == state.Signed || known.Stage == state.Pushed) {
		return nil, nil
	}
	if err != nil || !found {
		return nil, err
	}
	return []Signature{s}, w.proven(ctx, []Signature{s})
}

// recorded is a look that changes nothing.
func (in inspector) recorded(ctx context.Context, w Work, image Image, signature string) (Signature, bool, error) {
	s, found, err := in.registry.Recorded(ctx, image, w.Key.KeyName, signature)
	unlisted := errors.Is(err, ErrUnlisted)
	if err != nil && !unlisted {
		return Signature{}, false, fmt.Errorf("looking for the signature that the ledger names: %w", err)
	}
	if !in.acceptable(w, s.By) {
		return Signature{}, false, nil
	}
	if unlisted {
		return Signature{}, false, failure.New(failure.Transient, fmt.Errorf("signature %s of %s@%s: %w\nhint: the list of signatures may be late; nothing is signed again meanwhile. If it stays so, delete that signature, or push it again", signature, image.Repository, image.Descriptor.Digest, err))
	}
	return s, found, nil
}

// proven returns an error unless the key is known to have the identity that made the signatures. Signatures of other
// identities that the configuration names need no proof.
func (w Work) proven(ctx context.Context, ours []Signature) error {
	for _, s := range ours {
		if s.By.Identity == w.key.identity() {
			return w.prove(ctx)
		}
	}
	return nil
}

// prove returns an error unless the key is known to have its identity. It may spend one key operation per process.
func (w Work) prove(ctx context.Context) error {
	if w.key.Prove == nil {
		return nil
	}
	if err := w.key.Prove(ctx); err != nil {
		return &keyError{err}
	}
	return nil
}

// otherNotes reports a signature that is kept though the key would make it differently now.
func (w Work) otherNotes(s Signature) []string {
	if lacks := w.key.lacks(s.By); lacks != "" {
		return []string{"other-options: " + lacks + ", and one is asked for now; --resign signs again"}
	}
	return nil
}

// renews reports whether an item is to be signed again although it has this signature of ours.
func (in inspector) renews(w Work, best Signature) bool { return in.resign && !w.key.current(best.By) }

// enough reports whether these signatures of ours, at least one, make another unnecessary.
func (in inspector) enough(w Work, ours []Signature, known string) bool {
	return !in.renews(w, w.best(ours, known)) && (!in.rebind || len(w.unbound(ours)) == 0)
}

// superseded reports whether found signatures make an envelope unnecessary that was not pushed yet. If the image had
// no signature when the envelope was made, any suffice that would have prevented it. An envelope made on purpose
// beside another is superseded only by signatures of the key's present identity that bind all that it binds and lack
// nothing that it has.
func (in inspector) superseded(w Work, envelope state.Envelope, found []Signature) ([]Signature, bool) {
	if slices.ContainsFunc(found, func(s Signature) bool { return s.Digest == envelope.ManifestDigest }) {
		return nil, false // it was pushed
	}
	if !envelope.Beside {
		return found, len(found) > 0 && in.enough(w, found, "")
	}
	others := slices.DeleteFunc(slices.Clone(found), func(s Signature) bool {
		return s.By.Identity != w.key.identity() || w.key.lacks(s.By) != "" && w.key.lacks(envelope.SignedBy) == ""
	})
	for name, role := range envelope.Metadata {
		if isBinding(name) && !slices.ContainsFunc(others, func(s Signature) bool {
			return s.Metadata[name] == role && s.Metadata[MetadataGUN] == envelope.Metadata[MetadataGUN]
		}) {
			return nil, false
		}
	}
	return others, len(others) > 0
}
