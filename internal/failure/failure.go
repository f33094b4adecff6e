// Package failure is the program's one classification of errors. The package that knows an error attaches a [Class],
// which says what to do about it. Code that retries, counts or reports calls [Of] and translates nothing.
package failure

import (
	"context"
	"errors"
)

// Class says in one word, for reports, why an item or a repository was not done.
type Class string

// Classes of items that cannot be signed. This is not a failure.
const (
	Missing    Class = "missing"     // the registry has no such digest
	Unsignable Class = "unsignable"  // Docker schema 1: its digest is not that of its bytes
	NotPlanned Class = "not-in-plan" // run --plan, and the plan does not sign it
	NotAsked   Class = "not-asked"   // run --only does not name it, and it is not done yet
	// PlanUnknown: with run --plan, the plan could not decide about it. The run is not complete.
	PlanUnknown Class = "unknown-in-plan"
)

// Classes of failures.
const (
	Transient   Class = "transient"    // may work when tried again
	Throttled   Class = "throttled"    // the other side asks for fewer requests
	Denied      Class = "denied"       // a key or a server refuses us
	Full        Class = "full"         // the registry has no room for signatures
	Permanent   Class = "permanent"    // a retry cannot help
	Security    Class = "security"     // as in an attack; never retried
	Expired     Class = "expired"      // trust data past its date
	Unsigned    Class = "unsigned"     // a repository without trust data
	Unpinned    Class = "unpinned"     // a root that nothing vouches for
	Incomplete  Class = "incomplete"   // the Notary server lost a file
	NotNotary   Class = "not-notary"   // no Notary server at that address
	PlanChanged Class = "plan-changed" // differs from what the reviewed plan was made from
	NoKey       Class = "no-key"       // the configuration has no key for it
	Unsupported Class = "unsupported"  // the registry does not support that
)

// The classes of skipped items, and of failed items and repositories.
var (
	SkipClasses    = []Class{Missing, Unsignable, NotPlanned, NotAsked, PlanUnknown}
	FailureClasses = []Class{
		Transient, Throttled, Denied, Full, Permanent, Security, Expired, Unsigned, Unpinned, Incomplete, NotNotary, PlanChanged, NoKey, Unsupported,
	}
)

// Repeatable reports whether a retry in the same run may help against a failure of this class.
func (c Class) Repeatable() bool { return c == Transient || c == Throttled }

// Error is an error with its class.
type Error struct {
	Class Class
	Err   error
	Hint  string // what the user can do; may be empty
}

// New returns an error of the given class.
func New(class Class, err error) *Error { return &Error{Class: class, Err: err} }

// WithHint returns an error of the given class, whose text ends in a hint, if there is one.
func WithHint(class Class, err error, hint string) *Error {
	return &Error{Class: class, Err: err, Hint: hint}
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "\nhint: " + e.Hint
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the outermost class attached to an error, and the empty class for nil. An unclassified error is
// permanent, so that it is not retried; only an expired time limit is an exception.
func Of(err error) Class {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Transient
	}
	return Permanent
}

// Fatal is an error that ends the whole run, as when progress cannot be recorded.
type Fatal struct{ Err error }

func (f *Fatal) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Fatal) Unwrap() error { return f.Err }

// Fatally returns an error that ends the whole run, or nil for nil.
func Fatally(err error) error {
	if err == nil {
		return nil
	}
	return &Fatal{err}
}

// OfHost is an error that a host returns for every request: it is down, unknown, or refuses the login. Cause says why
// in a few words, and is the same for everything that fails because of it.
type OfHost struct {
	Cause string
	Err   error
}

func (h *OfHost) Error() string { return h.Err.Error() }

// Unwrap returns the error.
func (h *OfHost) Unwrap() error { return h.Err }

// HostCause returns the cause.
func (h *OfHost) HostCause() string { return h.Cause }

// HostCause returns what is wrong with a whole host, if that is why an item failed or a repository's trust data could
// not be read. Otherwise it returns the empty string. The text is the same for all of them.
func HostCause(err error) string {
	var host interface{ HostCause() string }
	if errors.As(err, &host) {
		return host.HostCause()
	}
	return ""
}
