package state

import "slices"

// Unfinished lists the GUNs, each once, with an item that is neither confirmed nor skipped, or that is skipped for
// one of the given classes.
func (l *Ledger) Unfinished(classes ...string) ([]string, error) {
	var guns []string
	seen := map[string]bool{}
	for after := (Key{}); ; {
		page, err := l.Items(after, MaxPage)
		if err != nil || len(page) == 0 {
			return guns, err
		}
		for _, it := range page {
			ended := it.Stage == Confirmed || it.Stage == Skipped && !slices.Contains(classes, it.Class)
			if !ended && !seen[it.GUN] {
				seen[it.GUN] = true
				guns = append(guns, it.GUN)
			}
		}
		after = page[len(page)-1].Key
	}
}
