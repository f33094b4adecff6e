package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// outdated drops the envelope of an earlier run that must not be pushed any more: it has expired, is by
// another certificate than the key's, or binds a tag or an index which DCT has moved since or the plan
// leaves out, or, with --rebind, lacks a tag. Where the registry lists it already, it is out: one
// of the key's is left alone then, and verify tells; one by a certificate that was accepted before
// is taken for what the item is done by. Else the item is planned again.
func (r *run) outdated(ctx context.Context, w Work, image Image, stage *state.Stage) (bool, error) {
	envelope, ok, err := r.Ledger.Envelope(w.Key)
	if err != nil || !ok {
		return false, failure.Fatally(err)
	}
	switch err := w.key.Signer.Check(image.Descriptor, envelope); {
	case errors.Is(err, ErrOtherCertificate):
		return true, r.replaced(ctx, w, image, envelope, stage)
	case errors.Is(err, ErrEnded): // out or not, nobody accepts it
		return true, r.drop(w, "it does not verify any more", stage)
	}
	if *stage != state.Signed {
		return false, nil
	}
	stale := r.staleBinding(w, envelope.Metadata)
	if stale == "" {
		return false, nil
	}
	listed, err := r.Registry.Listed(ctx, image)
	if err != nil || slices.Contains(listed, envelope.ManifestDigest) {
		return false, err
	}
	return true, r.discard(w, "what it says of "+stale+" is so no longer", stage)
}

// staleBinding returns a name of signed metadata that is not so any more; empty: there is none.
func (r *run) staleBinding(w Work, signed map[string]string) string {
	now := w.metadata(r.Tool)
	stale := ""
	for name, role := range signed {
		if strings.HasPrefix(name, MetadataTag) && now[name] != role {
			stale = name
		}
	}
	for name, role := range now {
		if r.Rebind && strings.HasPrefix(name, MetadataTag) && signed[name] != role {
			stale = name
		}
	}
	// An image that has a tag of its own by now is vouched for by no index.
	if signed[MetadataIndex] != "" && !subset(signed[MetadataIndex], now[MetadataIndex]) {
		stale = MetadataIndex
	}
	return stale
}

// replaced sees to an envelope by another certificate than the key's present one, made before that
// was renewed.
func (r *run) replaced(ctx context.Context, w Work, image Image, envelope state.Envelope, stage *state.Stage) error {
	s, listed, err := r.relisted(ctx, w, image, envelope.ManifestDigest)
	if err != nil {
		return err
	}
	if err := r.drop(w, "it is by another certificate than the key's", stage); err != nil || !listed {
		return err
	}
	*stage = state.Confirmed // the next attempt finds out whether that is enough
	return failure.Fatally(r.adopt(w, []Signature{s}))
}

// drop discards an envelope, whether it was pushed or not.
func (r *run) drop(w Work, why string, stage *state.Stage) (err error) {
	if *stage == state.Pushed {
		if *stage, err = r.Ledger.Reopen(w.Key); err != nil {
			return failure.Fatally(err)
		}
	}
	return r.discard(w, why, stage)
}

func (r *run) discard(w Work, why string, stage *state.Stage) error {
	if err := r.Ledger.Discard(w.Key, why); err != nil {
		return failure.Fatally(err)
	}
	*stage = state.Planned
	return nil
}

// subset reports whether all parts of one list are in another.
func subset(part, whole string) bool {
	all := strings.Split(whole, ",")
	for p := range strings.SplitSeq(part, ",") {
		if p != "" && !slices.Contains(all, p) {
			return false
		}
	}
	return true
}
