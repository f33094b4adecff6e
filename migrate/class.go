package migrate

import (
	"context"
	"errors"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
)

// Class says why an item or a repository was not done, in a word for reports.
type Class string

// Classes of items that cannot be signed, which is no failure.
const (
	Missing    Class = "missing"     // the registry has no such digest
	Unsignable Class = "unsignable"  // Docker schema 1: its digest is not that of its bytes
	NotPlanned Class = "not-in-plan" // run --plan, and the plan does not sign it
	NotAsked   Class = "not-asked"   // run --only, and what it names does not have it; nor is it done
	// PlanUnknown: run --plan, and the plan could not tell what to do with it. The run is
	// not complete.
	PlanUnknown Class = "unknown-in-plan"
)

// Classes of failures.
const (
	Transient   Class = "transient"    // may work when tried again
	Throttled   Class = "throttled"    // the other side asks for fewer requests
	Denied      Class = "denied"       // a key or a server refuses us
	Full        Class = "full"         // the registry has no room for signatures
	Permanent   Class = "permanent"    // trying again cannot help
	Security    Class = "security"     // as in an attack; never tried again
	Expired     Class = "expired"      // trust data past its date
	Unsigned    Class = "unsigned"     // a repository without trust data
	Unpinned    Class = "unpinned"     // a root that nothing vouches for
	Incomplete  Class = "incomplete"   // the Notary server lost a file
	NotNotary   Class = "not-notary"   // no Notary server at that address
	PlanChanged Class = "plan-changed" // not what the reviewed plan was made from
	NoKey       Class = "no-key"       // no key of the configuration stands for it
	Unsupported Class = "unsupported"  // the registry does not do that at all
)

// The classes of items that are skipped, and of items and repositories that fail.
var (
	SkipClasses    = []Class{Missing, Unsignable, NotPlanned, NotAsked, PlanUnknown}
	FailureClasses = []Class{
		Transient, Throttled, Denied, Full, Permanent, Security, Expired, Unsigned, Unpinned, Incomplete, NotNotary, PlanChanged, NoKey, Unsupported,
	}
)

// Failure is an error with its class, as the parts behind the interfaces return it.
type Failure struct {
	Class Class
	Err   error
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// HostFailure is an error that a host gives for everything it is asked: it is down, unknown, or
// refuses the login. The cause, in a few words, is the same for all that fails by it.
type HostFailure struct {
	Cause string
	Err   error
}

func (f *HostFailure) Error() string { return f.Err.Error() }

// Unwrap gives the error.
func (f *HostFailure) Unwrap() error { return f.Err }

// HostCause returns what is wrong with a whole host, if that is why an item failed or the trust data
// of a repository could not be read; else nothing. It is the same text for all of them.
func HostCause(err error) string {
	var host *HostFailure
	var notary *dct.Error
	switch {
	case errors.As(err, &host):
		return host.Cause
	case errors.As(err, &notary) && notary.Role == "root" && notary.Err != nil && // see hosts
		(errors.Is(notary.Kind, dct.ErrUnavailable) || errors.Is(notary.Kind, dct.ErrDenied) || errors.Is(notary.Kind, dct.ErrNotNotary)):
		return strings.ReplaceAll(notary.Err.Error(), notary.GUN, "...")
	}
	return ""
}

// ClassOf sorts an error. What nobody has sorted is permanent, so that it is not
// repeated.
func ClassOf(err error) Class {
	var f *Failure
	if errors.As(err, &f) {
		return f.Class
	}
	for _, k := range []struct {
		err   error
		class Class
	}{
		{dct.ErrUnsigned, Unsigned}, {dct.ErrUnpinnedRoot, Unpinned}, {dct.ErrExpired, Expired},
		{dct.ErrRefused, Security}, {dct.ErrIncomplete, Incomplete}, {dct.ErrDenied, Denied},
		{dct.ErrNotNotary, NotNotary}, {dct.ErrUnavailable, Transient},
		{context.DeadlineExceeded, Transient},
	} {
		if errors.Is(err, k.err) {
			return k.class
		}
	}
	return Permanent
}

// repeatable classes are those that migrate tries again within a run.
func (c Class) repeatable() bool { return c == Transient || c == Throttled }
