package verify

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/dct2notation/dct2notation/dct"
)

// tags are the tags to compare in one repository.
type tags struct {
	targets  []dct.Target
	findings []dct.Finding
	strays   []dct.Finding   // as findings: DCT does not name them
	lists    []dct.Finding   // strays named like lists of signatures; they count only if they are not such lists
	listed   map[string]bool // by the registry
}

func (t *tags) len() int { return len(t.targets) + len(t.findings) + len(t.strays) }

// keep removes the tags that are not wanted.
func (t *tags) keep(wanted func(tag string) bool) {
	t.targets = slices.DeleteFunc(t.targets, func(target dct.Target) bool { return !wanted(target.Tag()) })
	t.findings = slices.DeleteFunc(t.findings, func(f dct.Finding) bool { return !wanted(f.Tag) })
	t.strays = slices.DeleteFunc(t.strays, func(f dct.Finding) bool { return !wanted(f.Tag) })
}

// draw reduces the tags to a sample. The same seed draws the same tags, and nobody who does not know the seed can
// predict which.
func (t *tags) draw(v *Verification, gun dct.GUN) {
	if v.Sample <= 0 || t.len() <= v.Sample {
		return
	}
	type lot struct {
		sum [sha256.Size]byte
		tag string
	}
	var lots []lot
	add := func(tag string) {
		lots = append(lots, lot{sha256.Sum256([]byte(v.Seed + "\x00" + gun.String() + "\x00" + tag)), tag})
	}
	for _, target := range t.targets {
		add(target.Tag())
	}
	for _, f := range slices.Concat(t.findings, t.strays) {
		add(f.Tag)
	}
	slices.SortFunc(lots, func(a, b lot) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	drawn := make(map[string]bool, v.Sample)
	for _, l := range lots[:v.Sample] {
		drawn[l.tag] = true
	}
	t.keep(func(tag string) bool { return drawn[tag] })
}
