package migrate

import (
	"fmt"
	"maps"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/state"
)

// A signature is over a digest. Which tags it is for is in its signed metadata, and is as old
// as the signature: DCT may give the digest another tag later, or the tag another role.

// binds tells whether a signature with that metadata binds a target's tag, as DCT does now.
func binds(metadata map[string]string, t dct.Target) bool {
	return metadata[MetadataGUN] == t.GUN().String() && metadata[MetadataTag+t.Tag()] == t.Role()
}

// unbound are the work's targets that none of the signatures binds.
func (w Work) unbound(ours []Signature) []dct.Target {
	return w.lacking(func(t dct.Target) bool {
		for _, s := range ours {
			if binds(s.Metadata, t) {
				return true
			}
		}
		return false
	})
}

func (w Work) lacking(bound func(dct.Target) bool) []dct.Target {
	var lacking []dct.Target
	for _, t := range w.named() {
		if !bound(t) {
			lacking = append(lacking, t)
		}
	}
	return lacking
}

// boundBy gives the ledger what the signatures bind, by tag; where they differ, what DCT says
// now, if one of them does. It is never nil.
func (w Work) boundBy(ours []Signature) map[string]string {
	bound := map[string]string{}
	for _, s := range ours {
		for name, role := range s.Metadata {
			if tag, ok := strings.CutPrefix(name, MetadataTag); ok && s.Metadata[MetadataGUN] == w.Targets[0].GUN().String() {
				bound[tag] = role
			}
		}
	}
	for _, s := range ours {
		for _, t := range w.named() {
			if binds(s.Metadata, t) {
				bound[t.Tag()] = t.Role()
			}
		}
	}
	return bound
}

// unboundNotes report tags that joined a digest after it was signed.
func unboundNotes(lacking []dct.Target) []string {
	var notes []string
	for _, t := range lacking {
		notes = append(notes, fmt.Sprintf("unbound: tag %s of %s came after the signature, which does not bind it; --rebind signs again", t.Tag(), t.Role()))
	}
	return notes
}

// reboundNotes say why a digest that has a signature gets another.
func reboundNotes(lacking []dct.Target) []string {
	var notes []string
	for _, t := range lacking {
		notes = append(notes, fmt.Sprintf("rebound: no signature bound tag %s of %s", t.Tag(), t.Role()))
	}
	return notes
}

// recorded are the notes on an item that is done, by the ledger's word alone: it is asked for
// a report, and never whether to sign.
func (r *run) recorded(w Work) ([]string, error) {
	it, _, err := r.Ledger.Item(w.Key)
	if err != nil || it.Bound == nil { // made by a version that did not record it
		return nil, err
	}
	return unboundNotes(w.lacking(func(t dct.Target) bool { return it.Bound[t.Tag()] == t.Role() })), nil
}

// adopt records that the registry has signatures of ours, which were found and not made now.
// What the ledger knows already costs no write.
func (r *run) adopt(w Work, ours []Signature) error {
	it, _, err := r.Ledger.Item(w.Key)
	if err != nil {
		return err
	}
	one, bound := ours[0], w.boundBy(ours)
	for _, s := range ours {
		if s.Digest == it.Signature {
			one = s                                  // the one that we pushed
			one.By.Authority = it.SignedBy.Authority // which the envelope does not say
		}
	}
	if it.Stage == state.Confirmed && it.Signature == one.Digest && it.SignedBy.Equal(one.By) && it.Bound != nil && maps.Equal(it.Bound, bound) {
		return nil
	}
	return r.Ledger.Adopt(w.Key, one.Digest, one.By, bound)
}
