package transport

import (
	"errors"
	"strings"
)

// ErrForgotTLS is returned if a server that is reached over TLS sends us to an address without it.
var ErrForgotTLS = errors.New("it names an address without TLS")

// Hint says what helps against an error of this package, such as a server that sends us to a host that gets no
// credentials. It is empty if nothing is known to help. It is not part of the error's text, where Redact would take
// it for the server's.
func Hint(err error) string {
	const forgot = "have the proxy that ends TLS before the server send X-Forwarded-Proto: https, or configure the server with its own https address"
	var realm *RealmError
	var login *ChallengeError
	switch {
	case errors.As(err, new(slowError)):
		return "--body-timeout raises that"
	case errors.As(err, &login):
		return "have Basic or Bearer offered for this address, or go to the server without the proxy that asks"
	case errors.As(err, &realm) && realm.Why == "":
		return "if that is its token server, name it with --token-host"
	case errors.As(err, &realm) && realm.Why == withoutTLS, errors.Is(err, ErrForgotTLS):
		return forgot
	// oras-go does not follow a link to the next page of a list at another address.
	case err != nil && strings.Contains(err.Error(), `invalid next link "http://`) && strings.Contains(err.Error(), `same origin as "https://`):
		return forgot
	}
	return ""
}

// Unsent reports whether no credentials were sent because what the server asks for is unknown or not allowed. The
// credentials themselves may be good.
func Unsent(err error) bool {
	var realm *RealmError
	var login *ChallengeError
	return errors.As(err, &realm) || errors.As(err, &login)
}
