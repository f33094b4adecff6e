package command

import (
	"errors"
	"os"

	"github.com/dct2notation/dct2notation/state"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// openLedger opens or makes the ledger and gives the configuration it was made with, if
// it was used before.
func openLedger(path string) (*state.Ledger, state.Fingerprint, error) {
	return openLedgerWith(path, state.Options{Tool: tool()})
}

func openLedgerWith(path string, o state.Options) (*state.Ledger, state.Fingerprint, error) {
	l, err := state.Open(path, o)
	if err != nil {
		return nil, nil, err
	}
	known, err := l.Fingerprint()
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, known, nil
}

// itemsOf are all items of a repository.
func itemsOf(l *state.Ledger, repository string) ([]state.Item, error) {
	var all []state.Item
	after := state.Key{Repository: repository}
	for {
		page, err := l.Items(after, 0)
		if err != nil {
			return nil, err
		}
		for _, it := range page {
			if it.Repository != repository {
				return all, nil
			}
			all = append(all, it)
		}
		if len(page) == 0 {
			return all, nil
		}
		after = page[len(page)-1].Key
	}
}
