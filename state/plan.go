package state

import "fmt"

// Plan records that the items are to be done, in one transaction, and returns
// the stage each then has, in the same order. Of an item, the fields that
// matter are Key, GUN, MediaType, Size, Tags, Indexes and Notes; these replace what was
// recorded.
//
// A new item becomes planned. A skipped or failed one becomes planned again, or
// signed if its envelope is still in the outbox. Signed, pushed and confirmed
// items keep their stage. Planning the same again changes nothing and does not
// touch the disk.
func (l *Ledger) Plan(items []Item) ([]Stage, error) {
	for _, i := range items {
		if err := i.Key.check(); err != nil {
			return nil, fmt.Errorf("planning: %w", err)
		}
	}
	stages := make([]Stage, len(items))
	err := l.do(func(b *batch) error {
		for n, i := range items {
			var err error
			if stages[n], err = b.plan(i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stages, nil
}

// plan records one item and returns its stage.
func (b *batch) plan(wanted Item) (Stage, error) {
	item, known, err := b.item(wanted.Key)
	if err != nil {
		return "", err
	}
	before := item.Stage
	switch before {
	case "":
		item = Item{Key: wanted.Key, Stage: Planned}
	case Skipped, Failed:
		item.reopened(b)
	}
	if known && item.Stage == before && item.sameEvidence(wanted) {
		return before, nil
	}
	item.GUN, item.MediaType, item.Size = wanted.GUN, wanted.MediaType, wanted.Size
	item.Tags, item.Indexes, item.Notes = wanted.Tags, wanted.Indexes, wanted.Notes
	return item.Stage, b.putItem(item, before)
}
