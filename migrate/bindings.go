package migrate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/state"
)

// A signature is over a digest. Which tags it is for is in its signed metadata, and is as old
// as the signature: DCT may give the digest another tag later, or the tag another role.

// Binds reports whether a signature with that metadata binds a target's tag, as DCT does now.
func Binds(metadata map[string]string, t dct.Target) bool {
	return metadata[MetadataGUN] == t.GUN().String() && metadata[MetadataTag+t.Tag()] == t.Role()
}

// Bound returns the tags that signed metadata binds, with the role of each.
func Bound(metadata map[string]string) map[string]string {
	bound := map[string]string{}
	for name, role := range metadata {
		if tag, ok := strings.CutPrefix(name, MetadataTag); ok {
			bound[tag] = role
		}
	}
	return bound
}

// unbound are the work's targets that none of the signatures binds.
func (w Work) unbound(ours []Signature) []dct.Target {
	return w.lacking(func(t dct.Target) bool {
		for _, s := range ours {
			if Binds(s.Metadata, t) {
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
		if s.Metadata[MetadataGUN] == w.Targets[0].GUN().String() {
			maps.Copy(bound, Bound(s.Metadata))
		}
	}
	for _, s := range ours {
		for _, t := range w.named() {
			if Binds(s.Metadata, t) {
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

// resignedNote says why an item that is done gets another signature.
func resignedNote(s Signature) string {
	return "resigned: it has a signature by certificate " + s.By.Leaf
}

// reboundNotes say why a digest that has a signature gets another.
func reboundNotes(lacking []dct.Target) []string {
	var notes []string
	for _, t := range lacking {
		notes = append(notes, fmt.Sprintf("rebound: no signature bound tag %s of %s", t.Tag(), t.Role()))
	}
	return notes
}

// recordedNotes are those on an item that is done, by the ledger's word alone: it is asked for a
// report, and never whether to sign.
func (w Work) recordedNotes(it state.Item) []string {
	if it.Bound == nil { // made by a version that did not record it
		return nil
	}
	return unboundNotes(w.lacking(func(t dct.Target) bool { return it.Bound[t.Tag()] == t.Role() }))
}

// best is the signature that the item is counted by: one as the key makes them now before others
// of its present identity, and those before accepted ones. Among equals it is the one that the
// ledger knows, if it is there, else the first.
func (w Work) best(ours []Signature, known string) Signature {
	rank := func(s Signature) int {
		n := 0
		for i, yes := range []bool{s.Digest == known, s.By.Identity == w.key.identity(), w.key.current(s.By)} {
			if yes {
				n += 1 << i
			}
		}
		return n
	}
	return slices.MaxFunc(ours, func(a, b Signature) int { return cmp.Compare(rank(a), rank(b)) })
}
