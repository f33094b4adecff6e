package migrate

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/dct2notation/dct2notation/dct"
)

// draw chooses which of a repository's tags are compared: the returned function tells of
// each. The same seed draws the same tags, and nobody who does not know it can tell
// beforehand which.
func (v *Verification) draw(gun dct.GUN, all int, tags func(each func(string))) func(tag string) bool {
	if v.Sample <= 0 || all <= v.Sample {
		return func(string) bool { return true }
	}
	type lot struct {
		sum [sha256.Size]byte
		tag string
	}
	lots := make([]lot, 0, all)
	tags(func(tag string) {
		lots = append(lots, lot{sha256.Sum256([]byte(v.Seed + "\x00" + gun.String() + "\x00" + tag)), tag})
	})
	slices.SortFunc(lots, func(a, b lot) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	drawn := make(map[string]bool, v.Sample)
	for _, l := range lots[:v.Sample] {
		drawn[l.tag] = true
	}
	return func(tag string) bool { return drawn[tag] }
}
