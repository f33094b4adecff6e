package dct

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Errors that callers distinguish, with their classes. Each reaches them wrapped in an [Error].
var (
	// ErrUnsigned: the source itself says that it has no trust data for the repository, and nothing lists the
	// repository as having some. If every repository gets this answer, the Notary URL may be wrong.
	ErrUnsigned error = failure.New(failure.Unsigned, errors.New("no trust data"))
	// ErrUnpinnedRoot: the root verifies by itself, but nothing vouches for it.
	ErrUnpinnedRoot error = failure.New(failure.Unpinned, errors.New("root is not pinned"))
	// ErrExpired: the metadata, or the root's certificate, is expired.
	ErrExpired error = failure.New(failure.Expired, errors.New("trust data expired"))
	// ErrRefused: a signature, threshold, hash, version or form is wrong, as in an
	// attack. It must not be retried, and nothing overrides it.
	ErrRefused error = failure.New(failure.Security, errors.New("trust data refused"))
	// ErrTooLarge: the repository's files exceed the total size allowed. Nothing is known to be wrong with them.
	ErrTooLarge = errors.New("trust data too large")
	// ErrUnavailable: the source did not answer, or cannot now. A later try may help.
	ErrUnavailable error = failure.New(failure.Transient, errors.New("trust data unavailable"))
	// ErrIncomplete: the source lists a file but does not have it, or something lists the repository and the source
	// has none of its files.
	ErrIncomplete error = failure.New(failure.Incomplete, errors.New("trust data incomplete"))
	// ErrDenied: the source wants other credentials.
	ErrDenied error = failure.New(failure.Denied, errors.New("access to trust data denied"))
	// ErrNotNotary: the server that answers is not a Notary v1 server.
	ErrNotNotary error = failure.New(failure.NotNotary, errors.New("not a Notary v1 server"))

	// ErrDeleted: the server's changefeed says that the trust data was deleted, and the
	// server has none. It comes with ErrUnsigned.
	ErrDeleted = errors.New("deleted from Notary")
	// ErrForeign404: the answer is a 404 without a Notary server's own error code, such as a proxy's. It is unknown
	// whether there is trust data. It comes with ErrNotNotary.
	ErrForeign404 = errors.New("without the error code of a Notary server")
)

// loginRefused reports whether a token server has rejected the credentials.
type loginRefused struct{ error }

func (l loginRefused) Unwrap() error { return l.error }

// Error says which repository and role failed, why, and what to do. In its text, names from
// servers are escaped so that they cannot harm a terminal.
type Error struct {
	GUN  string
	Role string // empty if no single role is to blame
	Kind error  // one of the sentinels of this package
	Err  error  // the cause; nil if Kind says it all
	Hint string // what the user can do; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reading trust data of %s: ", safetext.Safe(e.GUN, 256))
	if e.Role != "" {
		fmt.Fprintf(&b, "role %s: ", safetext.Safe(e.Role, 128))
	}
	b.WriteString(e.Kind.Error())
	if e.Err != nil {
		b.WriteString(": " + safetext.Safe(e.Err.Error(), 1024))
	}
	if e.Hint != "" {
		b.WriteString("\nhint: " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the kind and the cause for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// HostCause returns what is wrong with the whole Notary server, if that is why the root could not be read. The text
// is the same for all repositories. Otherwise it returns the empty string.
func (e *Error) HostCause() string {
	ofHost := errors.Is(e.Kind, ErrUnavailable) || errors.Is(e.Kind, ErrDenied) || errors.Is(e.Kind, ErrNotNotary)
	if !ofHost || e.Role != "root" || e.Err == nil {
		return ""
	}
	return strings.ReplaceAll(e.Err.Error(), e.GUN, "...")
}
