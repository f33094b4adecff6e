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

// A signature is over a digest. Its signed metadata says which tags it is for, as of the time of signing: DCT may
// give the digest another tag later, or the tag another role.

// Binds reports whether a signature with that metadata binds a target's tag to the role that DCT has now.
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

// unbound returns the work's targets that none of the signatures binds.
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

// boundBy returns, for the ledger, the role that the signatures bind to each tag. Where they differ, it takes the
// role that DCT has now, if one of them binds it. It never returns nil.
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

// unboundNotes reports tags that were added to a digest after it was signed.
func unboundNotes(lacking []dct.Target) []string {
	var notes []string
	for _, t := range lacking {
		notes = append(notes, fmt.Sprintf("unbound: tag %s of %s came after the signature, which does not bind it; --rebind signs again", t.Tag(), t.Role()))
	}
	return notes
}

// resignedNote says why an item that is done is signed again.
func resignedNote(s Signature) string {
	return "resigned: it has a signature by certificate " + s.By.Leaf
}

// reboundNotes says why a digest that has a signature is signed again.
func reboundNotes(lacking []dct.Target) []string {
	var notes []string
	for _, t := range lacking {
		notes = append(notes, fmt.Sprintf("rebound: no signature bound tag %s of %s", t.Tag(), t.Role()))
	}
	return notes
}

// recordedNotes returns the notes on an item that is done, from the ledger alone. They only inform a report; they
// never decide whether to sign.
func (w Work) recordedNotes(it state.Item) []string {
	if it.Bound == nil { // made by a version that did not record it
		return nil
	}
	return unboundNotes(w.lacking(func(t dct.Target) bool { return it.Bound[t.Tag()] == t.Role() }))
}

// best returns the signature that the item is counted by. It prefers one as the key makes them now, then one of its
// present identity, then one of an accepted identity. Among equals it prefers the one that the ledger knows, else the
// first.
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
