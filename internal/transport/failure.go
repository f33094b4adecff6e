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

// Transient reports whether err is a network failure that may not recur: a timeout, a lost connection, a temporarily
// unreachable host. A rejected certificate, a cancelled context and unknown errors are not transient.
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

// isTimeout reports whether err is a timeout. The context's deadline counts too; callers check the context
// themselves.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// isReset reports whether an established connection broke.
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

// Unreachable reports whether no connection could be made: refused, no route, unknown name. An unknown name counts,
// since a dropped VPN looks like that.
func Unreachable(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") && !op.Timeout()
}
