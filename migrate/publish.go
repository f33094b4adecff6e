package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/state"
)

// This file publishes an envelope that is in the ledger, made by this run or an earlier one.

// publish pushes the envelope from the ledger until the registry lists it, whether this run signed
// it or an earlier one did: recovery uses the same path as every push. It returns how many
// signatures the registry then lists. If another machine has signed in the meantime, it discards
// the envelope and says so in the outcome. looked is what was found before this attempt signed;
// nil if this attempt has not signed.
func (i *item) publish(ctx context.Context, image Image, looked *Found) (all int, err error) {
	envelope, ok, err := i.Ledger.Envelope(i.Key)
	if err == nil && !ok {
		err = fmt.Errorf("ledger has no envelope of %s, which it says is %s", i.Key, i.stage)
	}
	if err != nil {
		return 0, failure.Fatally(err)
	}
	// Others may have changed the ledger since, or the key's certificate may have changed. An envelope signed a
	// moment ago was checked then.
	if looked == nil {
		err = i.key.Signer.Check(ctx, image.Descriptor, envelope)
	}
	if err != nil && failure.Of(err) == failure.Transient {
		return 0, fmt.Errorf("checking the envelope of %s@%s: %w", i.Key.Repository, i.Key.Digest, err)
	}
	if errors.Is(err, ErrEnded) { // it expired just now: the next attempt makes another
		return 0, failure.New(failure.Transient, fmt.Errorf("envelope of %s@%s in the ledger: %w", i.Key.Repository, i.Key.Digest, err))
	}
	if err != nil {
		return 0, failure.New(failure.Security, fmt.Errorf("envelope of %s@%s in the ledger: %w\nhint: somebody has changed the ledger, or its file is damaged: begin a new one with --state, and name the certificates of earlier signatures with --accept-certificate", i.Key.Repository, i.Key.Digest, err))
	}
	if i.stage == state.Pushed {
		// Pushed before, but not seen in the list. On a registry without the referrers API another writer may have
		// overwritten the list; pushing the same bytes again repairs that.
		listed, err := i.Registry.Listed(ctx, image)
		if err != nil {
			return 0, fmt.Errorf("confirming the signature: %w", err)
		}
		if slices.Contains(listed, envelope.ManifestDigest) {
			return len(listed), failure.Fatally(i.Ledger.Confirm(i.Key, envelope.ManifestDigest, ""))
		}
	}
	var last Found
	fresh := i.stage == state.Signed
	if fresh {
		var done bool
		last, done, err = i.meanwhile(ctx, image, envelope, looked)
		if done || err != nil {
			return last.all(), err
		}
	}
	told, err := i.Registry.Push(ctx, image, envelope, last.InTag)
	if err != nil {
		return 0, &pushError{err}
	}
	if fresh {
		// Record it even if ctx has ended meanwhile: the signature exists.
		if err := i.Ledger.Push(i.Key, envelope.ManifestDigest); err != nil {
			return 0, failure.Fatally(err)
		}
		i.stage = state.Pushed
	}
	if fresh && told {
		return last.all() + 1, failure.Fatally(i.Ledger.Confirm(i.Key, envelope.ManifestDigest, byPush))
	}
	return i.confirm(ctx, image, envelope.ManifestDigest)
}

// meanwhile looks for a signature that makes this envelope unnecessary, if others may sign the same images with the
// same key, or an earlier attempt left the envelope. Then the envelope is not pushed: it would be one signature too
// many. It returns what the last look found.
func (i *item) meanwhile(ctx context.Context, image Image, envelope state.Envelope, looked *Found) (_ Found, done bool, err error) {
	if looked != nil && !i.Shared && !i.Registry.ListsInTag(image.Repository) {
		return *looked, false, nil
	}
	found, err := i.Registry.Find(ctx, image, i.Key.KeyName)
	if err != nil {
		return Found{}, false, fmt.Errorf("looking again before the push: %w", err)
	}
	others, needless := i.inspector.superseded(i.Work, envelope, found.Ours)
	if !needless {
		return found, false, nil
	}
	if err := i.keyTold(i.prove(ctx)); err != nil {
		return Found{}, false, err
	}
	if err := i.Ledger.Discard(i.Key, "another run has signed it meanwhile"); err != nil {
		return Found{}, false, failure.Fatally(err)
	}
	if err := i.adopt(others); err != nil {
		return Found{}, false, failure.Fatally(err)
	}
	i.out.Result, i.out.Reason, i.out.Wasted = ResultAlready, "another run has signed it meanwhile", true
	i.out.Notes = append(i.out.Notes, "wasted: one key operation, whose signature was not pushed")
	return found, true, nil
}

// image describes an item's image again, for an item that was signed earlier.
func (i *item) image(ctx context.Context) (Image, error) {
	desc, err := i.Registry.Resolve(ctx, i.Key.Repository, i.digest())
	if err != nil {
		return Image{}, err
	}
	return Image{i.Key.Repository, desc}, nil
}

// byPush says in an event how an item was confirmed.
const byPush = "by OCI-Subject"

// confirm waits until the registry lists the signature: if the answer to the push does not say that it is listed,
// others may not find it yet.
func (i *item) confirm(ctx context.Context, image Image, signature string) (all int, err error) {
	for try := 1; ; try++ {
		listed, err := i.Registry.Listed(ctx, image)
		if err != nil {
			return 0, fmt.Errorf("confirming the signature: %w", err)
		}
		if slices.Contains(listed, signature) {
			return len(listed), failure.Fatally(i.Ledger.Confirm(i.Key, signature, ""))
		}
		if try < retry.MaxTries && !i.pause(ctx, try) {
			return 0, errDrained // it is pushed, and the next run looks again
		}
		if try == retry.MaxTries {
			return 0, failure.New(failure.Transient, fmt.Errorf("the signature of %s@%s was pushed, and the registry does not list it", i.Key.Repository, i.Key.Digest))
		}
	}
}

// outdated drops the envelope of an earlier run that must not be pushed any more: it has expired, is by another
// certificate than the key's, binds a tag or an index that DCT has moved since or the plan leaves out, or, with
// --rebind, lacks a tag. If the registry lists it already, it is published: one by the key's certificate is then left
// alone, and verify reports it; one by a formerly accepted certificate counts as what the item is done by. Otherwise
// the item is planned again.
func (i *item) outdated(ctx context.Context, image Image) (bool, error) {
	envelope, ok, err := i.Ledger.Envelope(i.Key)
	if err != nil || !ok {
		return false, failure.Fatally(err)
	}
	switch err := i.key.Signer.Check(ctx, image.Descriptor, envelope); {
	case err != nil && failure.Of(err) == failure.Transient:
		return false, err
	case errors.Is(err, ErrOtherCertificate):
		return true, i.replaced(ctx, image, envelope)
	case errors.Is(err, ErrEnded): // pushed or not, nobody accepts it
		return true, i.drop("it does not verify any more")
	}
	if i.stage != state.Signed {
		return false, nil
	}
	stale := i.staleBinding(envelope.Metadata)
	if stale == "" {
		return false, nil
	}
	listed, err := i.Registry.Listed(ctx, image)
	if err != nil || slices.Contains(listed, envelope.ManifestDigest) {
		return false, err
	}
	return true, i.discard("what it says of " + stale + " is so no longer")
}

// staleBinding returns a name of signed metadata that no longer holds; empty: none.
func (i *item) staleBinding(signed map[string]string) string {
	now := i.metadata(i.Tool)
	stale := ""
	for name, role := range signed {
		if strings.HasPrefix(name, MetadataTag) && now[name] != role {
			stale = name
		}
	}
	for name, role := range now {
		if i.Rebind && strings.HasPrefix(name, MetadataTag) && signed[name] != role {
			stale = name
		}
	}
	// No index vouches for an image that by now has a tag of its own.
	if signed[MetadataIndex] != "" && !subset(signed[MetadataIndex], now[MetadataIndex]) {
		stale = MetadataIndex
	}
	return stale
}

// replaced handles an envelope by a certificate that the key had before it was renewed.
func (i *item) replaced(ctx context.Context, image Image, envelope state.Envelope) error {
	s, listed, err := i.relisted(ctx, i.Work, image, envelope.ManifestDigest)
	if err != nil {
		return err
	}
	if err := i.drop("it is by another certificate than the key's"); err != nil || !listed {
		return err
	}
	i.stage = state.Confirmed // the next attempt finds out whether that is enough
	return failure.Fatally(i.adopt([]Signature{s}))
}

// drop discards an envelope, whether it was pushed or not.
func (i *item) drop(why string) (err error) {
	if i.stage == state.Pushed {
		if i.stage, err = i.Ledger.Reopen(i.Key); err != nil {
			return failure.Fatally(err)
		}
	}
	return i.discard(why)
}

func (i *item) discard(why string) error {
	if err := i.Ledger.Discard(i.Key, why); err != nil {
		return failure.Fatally(err)
	}
	i.stage = state.Planned
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
