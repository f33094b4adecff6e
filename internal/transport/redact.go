package transport

import (
	"crypto/tls"
	"errors"
	"regexp"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// longestError bounds an error's text: servers put whole pages into theirs.
const longestError = 2000

var (
	// userinfo is what stands between scheme and host of an address: user, password.
	// A password may hold an @ of its own: the last one counts.
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>]*@`)
	// query is that of an absolute address, or anything that looks like one after a path:
	// registries also send relative links.
	query = regexp.MustCompile(`(://[^\s?"<>]*|/[^\s?"<>:]*)\?[^\s"<>]*|\?[A-Za-z0-9_.~%-]+=[^\s"<>]*`)
)

// Redact returns err with a text that can be shown: without the queries and passwords of
// addresses, without the credentials and tokens that this process has used, in one line and
// bounded in length (see safetext). errors.Is and errors.As see
// everything err holds; what they hand out has its own text, so print the redacted error
// and not a part of it. nil stays nil, and a redacted error is not redacted again.
func Redact(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := any(err).(*redactedError); ok { // itself: text around one that it wraps is not redacted
		return err
	}
	return &redactedError{text: RedactText(err.Error()), err: err}
}

// UntrustedTLS reports whether a server's certificate was the problem.
func UntrustedTLS(err error) bool {
	var unverified *tls.CertificateVerificationError
	return errors.As(err, &unverified)
}

// RedactText is Redact for text.
func RedactText(s string) string {
	s = used.hide(s)
	s = userinfo.ReplaceAllString(s, "$1")
	s = query.ReplaceAllString(s, "$1")
	return safetext.Safe(s, longestError)
}

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }
