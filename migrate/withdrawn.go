package migrate

import (
	"fmt"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Withdrawn is the class of a tag that the ledger has as signed and DCT no longer names: Notation still trusts its
// image.
const Withdrawn = "withdrawn"

// withdrawn returns the tags that, by the ledger, DCT has withdrawn together with their digest since they were
// signed; none without a ledger.
func (r *reader) withdrawn(trusted *dct.Repository) (all []dct.Finding, err error) {
	if r.Ledger == nil {
		return nil, nil
	}
	gun, place := trusted.GUN().String(), r.Scope.PlaceOf(trusted.GUN())
	tags, digests := map[string]bool{}, map[string]bool{}
	for _, t := range trusted.Targets() {
		tags[t.Tag()], digests[t.Digest().String()] = true, true
	}
	for _, f := range trusted.Findings() {
		tags[f.Tag] = true
	}
	items, err := r.Ledger.Beside(place, func(digest string) bool { return digests[digest] })
	if err != nil {
		return nil, failure.Fatally(fmt.Errorf("reading what was signed of %s: %w", gun, err))
	}
	for _, it := range items {
		if it.GUN != gun || it.Stage != state.Confirmed && it.Stage != state.Pushed {
			continue
		}
		for _, tag := range it.Tags {
			if tags[tag.Name] || !r.Scope.Wants(tag.Name) {
				continue
			}
			tags[tag.Name] = true // only once for several keys
			what := fmt.Sprintf("it was signed, and DCT has withdrawn it since: Notation trusts its image until its signature is deleted: dct2notation undo --yes %s@%s", place, it.Digest)
			all = append(all, dct.Finding{Tag: tag.Name, Role: tag.Role, Class: Withdrawn, Detail: what})
		}
	}
	return all, nil
}
