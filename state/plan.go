package state

import "fmt"

// Plan records in one transaction that the items are to be done, and returns what is then recorded for each, in the
// same order. It reads the fields Key, GUN, MediaType, Size, Tags, Indexes and Notes, which replace what was
// recorded.
//
// A new item becomes planned. A skipped or failed one becomes planned again, or signed if its envelope is still in
// the outbox. Signed, pushed and confirmed items keep their stage. Planning the same again changes nothing and writes
// nothing.
func (l *Ledger) Plan(items []Item) ([]Item, error) {
	for _, i := range items {
		if err := i.Key.check(); err != nil {
			return nil, fmt.Errorf("planning: %w", err)
		}
	}
	planned := make([]Item, len(items))
	err := l.do(func(b *batch) error {
		for n, i := range items {
			var err error
			if planned[n], err = b.plan(i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return planned, nil
}

// plan records one item and returns it.
func (b *batch) plan(wanted Item) (Item, error) {
	item, known, err := b.item(wanted.Key)
	if err != nil {
		return Item{}, err
	}
	before := item.Stage
	switch before {
	case "":
		item = Item{Key: wanted.Key, Stage: Planned}
	case Skipped, Failed:
		item.reopened(b)
	}
	if known && item.Stage == before && item.sameEvidence(wanted) {
		return item, nil
	}
	item.GUN, item.MediaType, item.Size = wanted.GUN, wanted.MediaType, wanted.Size
	item.Tags, item.Indexes, item.Notes = wanted.Tags, wanted.Indexes, wanted.Notes
	return item, b.putItem(item, before)
}
