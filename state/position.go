package state

import "slices"

// positionRecord is how far something that is read bit by bit was read.
type positionRecord struct {
	stamp
	Position string `json:"position"`
}

func positionKey(name string) []byte { return []byte("position " + name) }

// Position returns how far a feed of that name, such as a server's URL, was read and all
// of it acted on; empty if it never was.
func (l *Ledger) Position(name string) (string, error) {
	var r positionRecord
	err := l.view(func(t *table) error {
		_, err := t.get(bucketMeta, positionKey(name), &r)
		return err
	})
	return r.Position, err
}

// SetPosition records how far a feed was read. It must come after what the feed led to is
// in the ledger: a position that runs ahead loses what lies between.
func (l *Ledger) SetPosition(name, position string) error {
	return l.do(func(b *batch) error {
		return b.put(bucketMeta, positionKey(name), positionRecord{stamp: stamp{recordV}, Position: position})
	})
}

// Unfinished lists the GUNs that have items which are neither confirmed nor skipped, or
// skipped for one of the given classes, each once.
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
