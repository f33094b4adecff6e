package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Transient reports whether err is a failure of the network that may not happen again: a
// timeout, a lost connection, a host that cannot be reached just now. A rejected
// certificate, a cancelled context and errors it does not know are not transient.
func Transient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var rejected *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	if errors.As(err, &rejected) || errors.As(err, &notTLS) || errors.Is(err, errLinkLocal) {
		return false
	}
	return isTimeout(err) || isReset(err) || Unreachable(err)
}

// isTimeout: the context's deadline counts too, as its callers ask the context themselves.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// isReset reports whether a connection broke after it was there.
func isReset(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) {
		return true
	}
	// net/http's own HTTP/2 errors have no exported type.
	for _, text := range []string{
		"http2: server sent GOAWAY",
		"http2: client connection lost",
		"http2: client connection force closed",
		"stream error: stream ID",
		"http: server closed idle connection",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// Unreachable reports whether no connection came about: refused, no route, no such name.
// A name that is not found counts, as it is what a dropped VPN looks like.
func Unreachable(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") && !op.Timeout()
}
