package command

import (
	"errors"
	"log/slog"
	"os"
	"time"

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

// readLedger opens a ledger for reading. While a run holds it, that is the copy that run --watch
// leaves after each pass, and its age is told: what was signed since is not in it. A copy that an
// earlier process left is refused: nobody knows what that one and the present one have done since.
func readLedger(path string, log *slog.Logger) (*state.Ledger, state.Fingerprint, error) {
	l, known, err := openLedgerWith(path, state.Options{ReadOnly: true})
	var locked *state.LockedError
	if !errors.As(err, &locked) {
		return l, known, err
	}
	l, made, cerr := state.OpenCopy(path, state.Options{})
	if errors.Is(cerr, os.ErrNotExist) {
		return nil, nil, &inUse{locked}
	}
	if cerr != nil {
		log.Warn("the ledger is in use, and its copy cannot be used", "reason", firstLine(cerr.Error()))
		return nil, nil, &inUse{locked}
	}
	if made.Before(locked.Holder.Start) {
		log.Warn("the ledger is in use, and its copy is not read, being older than the process that has it", "copy", state.CopyPath(path),
			"as of", made.UTC().Format(time.RFC3339), "since", locked.Holder.Start.UTC().Format(time.RFC3339))
		return nil, nil, errors.Join(&inUse{locked}, l.Close())
	}
	if known, err = l.Fingerprint(); err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	log.Warn("the ledger is in use, and is read from its copy", "copy", state.CopyPath(path), "as of", made.UTC().Format(time.RFC3339))
	return l, known, nil
}
