// Package cli holds what all verbs have in common on the command line: streams and signals, flags and their help,
// messages, and exit codes, which are decided in this file and nowhere else.
package cli

import (
	"context"
	"errors"

	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// The exit codes, as docs/reference/exit-codes.md lists them.
const (
	ExitDone        = 0
	ExitCannot      = 1
	ExitUsage       = 2
	ExitFailures    = 3
	ExitDisagree    = 4
	ExitEarly       = 5
	exitLocked      = 11
	ExitInterrupted = 130
)

// ExitCodes returns what they mean, for the man pages; the reference has their meaning for each verb.
func ExitCodes() [][2]string {
	return [][2]string{
		{"0", "done; what cannot be signed, or was not asked for, is skipped and listed"},
		{"1", "it could not run, or read the trust data of no repository; of doctor: the run would fail"},
		{"2", "usage or configuration"},
		{"3", "it ran, and some items failed or could not be found out"},
		{"4", "the signature sets disagree, or a gate does not hold"},
		{"5", "it stopped early, and is worth running again"},
		{"11", "the ledger is in use"},
		{"130, 143", "ended by SIGINT, SIGTERM; the ledger is whole"},
	}
}

// UsageError is an error that the user can correct on the command line or in the configuration.
type UsageError struct{ err error }

func (u *UsageError) Error() string { return u.err.Error() }
func (u *UsageError) Unwrap() error { return u.err }

// Usage marks an error as one that the user can correct on the command line or in the configuration: exit code 2.
// Usage(nil) is nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{err}
}

// FirstError runs checks up to the first that fails, and returns its error.
func FirstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// ExitStatus is an exit code for a result that was already shown.
type ExitStatus struct{ Code int }

// Exit returns an error for a verb whose result was already shown, and that ends with this code.
func Exit(code int) error { return &ExitStatus{code} }

func (v *ExitStatus) Error() string { return "see the result" }

// reportedError is an error whose cause was already shown in the result.
type reportedError struct{ ended *migrate.Ended }

func (t *reportedError) Error() string { return t.ended.Headline() }
func (t *reportedError) Unwrap() error { return t.ended }

// Reported removes from an error what the result and the messages before it have shown already.
func Reported(err error) error {
	var ended *migrate.Ended
	if errors.As(err, &ended) {
		return &reportedError{ended}
	}
	return err
}

// shownError is an error that the same person has already read in the result.
type shownError struct{ error }

func (s *shownError) Unwrap() error { return s.error }

// Shown marks an error as shown: it decides the exit code, and is not printed again. Shown(nil) is nil.
func Shown(err error) error {
	if err == nil {
		return nil
	}
	return &shownError{err}
}

// Silent reports whether nothing is left to print about an error.
func Silent(err error) bool {
	var v *ExitStatus
	var s *shownError
	return errors.As(err, &v) || errors.As(err, &s)
}

// ExitCode is the one place that turns errors into exit codes. A file or directory that the command line or the
// configuration names as input counts as configuration: if it is missing, unreadable or something else, that is
// ExitUsage, whichever verb reads it. A damaged ledger is different: nobody wrote it by hand. If a signal ended the
// run, main returns 128 plus the signal's number instead.
func ExitCode(err error) int {
	var u *UsageError
	var v *ExitStatus
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &v):
		return v.Code
	case errors.As(err, &u), errors.Is(err, state.ErrFingerprint), errors.Is(err, snapshot.ErrOther):
		return ExitUsage
	case errors.Is(err, state.ErrLocked), errors.Is(err, snapshot.ErrLocked):
		return exitLocked
	case errors.Is(err, migrate.ErrStopped):
		return ExitEarly
	case errors.Is(err, notation.ErrFile):
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitCannot
}
