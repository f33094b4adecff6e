package session

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/state"
)

// Exists reports whether a file or directory exists.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// OpenLedger opens or creates the ledger. It returns the configuration that the ledger was made with, if it was used
// before.
func OpenLedger(path string) (*state.Ledger, *state.Fingerprint, error) {
	return OpenLedgerWith(path, state.Options{Tool: cli.Tool()})
}

// OpenLedgerWith opens a ledger, and returns the configuration that it belongs to.
func OpenLedgerWith(path string, o state.Options) (*state.Ledger, *state.Fingerprint, error) {
	l, err := state.Open(path, o)
	if err != nil {
		info, lerr := os.Lstat(path)
		switch {
		case errors.Is(lerr, os.ErrNotExist) && o.ReadOnly:
			return nil, nil, NoLedger(path)
		case errors.Is(err, os.ErrPermission), lerr == nil && !info.Mode().IsRegular():
			return nil, nil, cli.Usage(err)
		}
		return nil, nil, err
	}
	known, err := l.Fingerprint()
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, known, nil
}

// CloseLedger closes the ledger at the end of a run that ended with err. A ledger that cannot
// be closed may lack what was done last: that is an error of the run, whatever its result.
func CloseLedger(l *state.Ledger, err error) error {
	failed := l.Close()
	var v *cli.ExitStatus
	switch {
	case failed == nil:
		return err
	case errors.As(err, &v):
		return failed
	case errors.Is(err, failed):
		return err // this is the error that ended the run
	}
	return errors.Join(err, failed)
}

// NoLedger returns the error of verbs that read a ledger, if it does not exist.
func NoLedger(path string) error {
	hint := "name the one that run has written, in its --state"
	if usual, err := LedgerPath(""); err == nil && path == usual {
		hint = "run makes it; if a run has named another, name that one"
	} else if err == nil {
		hint += "; without that, it is " + safetext.Safe(usual, 300)
	}
	return cli.Usage(fmt.Errorf("ledger %s does not exist\nhint: %s", safetext.Safe(path, 300), hint))
}

// Readable is a ledger opened for reading.
type Readable struct {
	*state.Ledger
	Known  *state.Fingerprint
	Behind string // why it may lack what a run has done; empty: it has everything
}

// Part returns Behind as an error: the reader of the ledger sees only a part. It is nil without a ledger.
func (r *Readable) Part() error {
	if r == nil || r.Behind == "" {
		return nil
	}
	return errors.New(r.Behind + "\nhint: ask again between two passes of the watch, or stop it")
}

// ReadLedger opens a ledger for reading. While a run holds it, it opens the copy that run --watch leaves after each
// pass, and logs its age: the copy lacks what was signed since. A copy left by an earlier process is refused: nobody
// knows what that one and the present one have done since.
func ReadLedger(path string, log *slog.Logger) (*Readable, error) {
	l, known, err := OpenLedgerWith(path, state.Options{ReadOnly: true})
	var locked *state.LockedError
	switch {
	case err == nil:
		return &Readable{l, known, ""}, nil
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
		log.Warn("the ledger is in use, and its copy is older than the process that uses it", "copy", state.CopyPath(path),
			"as_of", made.UTC().Format(time.RFC3339), "since", locked.Holder.Start.UTC().Format(time.RFC3339))
		return nil, errors.Join(&inUse{locked}, l.Close())
	}
	if known, err = l.Fingerprint(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	log.Warn("the ledger is in use; reading its copy", "copy", state.CopyPath(path), "as_of", made.UTC().Format(time.RFC3339))
	return &Readable{l, known, behind(path, made, locked.Holder)}, nil
}

// behind returns why the copy of a ledger may lack what its holder has done; empty if it was made after the holder's
// last pass, and the next has not begun.
func behind(path string, made time.Time, holder state.Holder) string {
	st, err := output.ReadStatus(path)
	if err == nil && st.PID == holder.PID && st.State == "waiting" && !made.Before(st.Updated) {
		return ""
	}
	return fmt.Sprintf("the ledger is in use, and its copy of %s was made before the last pass of the run that uses it", made.UTC().Format(time.RFC3339))
}

// knownReferrers are the repositories that, by the ledger, have the referrers API; for verbs that only read.
type knownReferrers map[string]bool

// RecallReferrers tells a client what a ledger knows about its repositories. The ledger may be closed afterwards.
func RecallReferrers(client *registry.Client, l *state.Ledger) error {
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

// ExistingLedger opens the ledger if it exists, since a plan must not create one. It then also
// returns the configuration that the ledger belongs to.
func (o *EngineOptions) ExistingLedger() (*state.Ledger, *state.Fingerprint, error) {
	path, err := o.StatePath()
	if err != nil || !Exists(path) {
		return nil, nil, err
	}
	return OpenLedgerWith(path, state.Options{ReadOnly: true})
}

// inUse is the error for a ledger that a run holds and that has no copy: a watch makes the copy with its first pass.
type inUse struct{ locked *state.LockedError }

func (u *inUse) Error() string {
	return safetext.FirstLine(u.locked.Error()) + "\nhint: wait until it ends, or until a run --watch has made its first pass, which leaves a copy; or leave out --ledger"
}

func (u *inUse) Unwrap() error { return u.locked }

// OpenRecord opens a ledger to compare with; without a file, there is none.
func OpenRecord(file string, log *slog.Logger) (*Readable, *verify.Record, error) {
	if file == "" {
		return nil, nil, nil
	}
	ledger, err := ReadLedger(file, log)
	if err != nil {
		return nil, nil, err
	}
	record, err := verify.ReadRecord(ledger.Items)
	if err != nil {
		return nil, nil, errors.Join(err, ledger.Close())
	}
	return ledger, record, nil
}

// CompareWith makes a verification compare with what the ledger's runs have done, and hold the trust data and the
// registry's client to what they have seen.
func CompareWith(v *verify.Verification, client *registry.Client, ledger *Readable, record *verify.Record) error {
	if v.Record = record; ledger == nil {
		return nil
	}
	v.Before = ledger.Repository
	return RecallReferrers(client, ledger.Ledger)
}
