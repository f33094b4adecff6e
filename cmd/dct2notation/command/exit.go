package command

import (
	"context"
	"errors"

	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// The exit codes, as README.md lists them.
const (
	exitDone        = 0
	exitCannot      = 1
	exitUsage       = 2
	exitFailures    = 3
	exitDisagree    = 4
	exitEarly       = 5
	exitLocked      = 11
	exitInterrupted = 130
)

// usageError is what a user can mend on the command line or in the configuration.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// verdict is an exit code for a result that has been shown already.
type verdict struct{ code int }

func (v *verdict) Error() string { return "see the result" }

// toldError is an error whose cause the result has shown.
type toldError struct{ ended *migrate.Ended }

func (t *toldError) Error() string { return t.ended.Headline() }
func (t *toldError) Unwrap() error { return t.ended }

// told leaves out of an error what the result has shown, and the story before it.
func told(err error) error {
	var ended *migrate.Ended
	if errors.As(err, &ended) {
		return &toldError{ended}
	}
	return err
}

// exitCode is the one place that turns errors into exit codes. A file or directory that is to be read,
// and that the command line or the configuration names, is configuration: where it is missing,
// unreadable or something else, that is exitUsage, whichever verb reads it. A damaged ledger is not:
// nobody wrote it by hand. main makes it 128 plus the
// signal's number where a signal ended the run.
func exitCode(err error) int {
	var u *usageError
	var v *verdict
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &v):
		return v.code
	case errors.As(err, &u), errors.Is(err, state.ErrFingerprint):
		return exitUsage
	case errors.Is(err, state.ErrLocked), errors.Is(err, snapshot.ErrLocked):
		return exitLocked
	case errors.Is(err, migrate.ErrStopped):
		return exitEarly
	case errors.Is(err, notation.ErrFile):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitCannot
}
