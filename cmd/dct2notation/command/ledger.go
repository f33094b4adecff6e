package command

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
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
		info, lerr := os.Lstat(path)
		switch {
		case errors.Is(lerr, os.ErrNotExist) && o.ReadOnly:
			return nil, nil, noLedger(path)
		case lerr == nil && (!info.Mode().IsRegular() || errors.Is(err, os.ErrPermission)):
			return nil, nil, usage(err)
		}
		return nil, nil, err
	}
	known, err := l.Fingerprint()
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, known, nil
}

// noLedger is the error of verbs that read a ledger which is not there.
func noLedger(path string) error {
	return usage(fmt.Errorf("there is no ledger %s\nhint: name the one that run has written, in its --state", safetext.Safe(path, 300)))
}

// readable is a ledger that was opened for reading.
type readable struct {
	*state.Ledger
	known  state.Fingerprint
	behind string // why it may lack what a run has done; empty: it has all
}

// part is behind as an error: who reads the ledger hears of a part only. It is nil without a ledger.
func (r *readable) part() error {
	if r == nil || r.behind == "" {
		return nil
	}
	return errors.New(r.behind + "\nhint: ask again between two passes of the watch, or stop it")
}

// readLedger opens a ledger for reading. While a run holds it, that is the copy that run --watch
// leaves after each pass, and its age is told: what was signed since is not in it. A copy that an
// earlier process left is refused: nobody knows what that one and the present one have done since.
func readLedger(path string, log *slog.Logger) (*readable, error) {
	l, known, err := openLedgerWith(path, state.Options{ReadOnly: true})
	var locked *state.LockedError
	switch {
	case err == nil:
		return &readable{l, known, ""}, nil
	case !errors.As(err, &locked):
		return nil, err
	}
	l, made, cerr := state.OpenCopy(path, state.Options{})
	if errors.Is(cerr, os.ErrNotExist) {
		return nil, &inUse{locked}
	}
	if cerr != nil {
		log.Warn("the ledger is in use, and its copy cannot be used", "reason", safetext.FirstLine(cerr.Error()))
		return nil, &inUse{locked}
	}
	if made.Before(locked.Holder.Start) {
		log.Warn("the ledger is in use, and its copy is not read, being older than the process that has it", "copy", state.CopyPath(path),
			"as_of", made.UTC().Format(time.RFC3339), "since", locked.Holder.Start.UTC().Format(time.RFC3339))
		return nil, errors.Join(&inUse{locked}, l.Close())
	}
	if known, err = l.Fingerprint(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	log.Warn("the ledger is in use, and is read from its copy", "copy", state.CopyPath(path), "as_of", made.UTC().Format(time.RFC3339))
	return &readable{l, known, behind(path, made, locked.Holder)}, nil
}

// behind says why the copy of a ledger may lack what its holder has done; empty: it was made after
// the holder's last pass, and the next has not begun.
func behind(path string, made time.Time, holder state.Holder) string {
	st, err := readStatus(path)
	if err == nil && st.PID == holder.PID && st.State == "waiting" && !made.Before(st.Updated) {
		return ""
	}
	return fmt.Sprintf("the ledger is in use, and its copy of %s was not made after the last pass of the run that has it", made.UTC().Format(time.RFC3339))
}

// knownReferrers are the repositories that a ledger says have the referrers API, for verbs that
// only read.
type knownReferrers map[string]bool

// recallReferrers has a client know what a ledger has of its repositories. The ledger may be closed then.
func recallReferrers(client *registry.Client, l *state.Ledger) error {
	known := knownReferrers{}
	all, err := l.Referrers()
	for _, repository := range all {
		known[repository] = true
	}
	client.Remember(known)
	return err
}

func (k knownReferrers) HasReferrers(repository string) (bool, error) { return k[repository], nil }

func (k knownReferrers) HostHasReferrers(host string) (bool, error) {
	for repository := range k {
		if strings.HasPrefix(repository, host+"/") {
			return true, nil
		}
	}
	return false, nil
}

func (knownReferrers) SetReferrers(string) error { return nil }
