package transport

import (
	"crypto/tls"
	"errors"
	"regexp"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// longestError bounds an error's text: servers send whole pages.
const longestError = 2000

var (
	// userinfo matches user and password between an address's scheme and host. A password may contain an @: the last
	// one counts.
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>]*@`)
	// query matches the query of an absolute address, or of anything that looks like a path: registries also send
	// relative links.
	query = regexp.MustCompile(`(://[^\s?"<>]*|/[^\s?"<>:]*)\?[^\s"<>]*|\?[A-Za-z0-9_.~%-]+=[^\s"<>]*`)
)

// Redact returns err with a text that can be shown: without the queries and passwords of addresses, without
// credentials and tokens that this process has used, on one line and bounded in length (see safetext). errors.Is and
// errors.As still see everything in err, but its parts have their unredacted texts, so print the redacted error
// itself. nil stays nil, and a redacted error is not redacted again.
func Redact(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := any(err).(*redactedError); ok { // only err itself: text around a wrapped one is not redacted
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
