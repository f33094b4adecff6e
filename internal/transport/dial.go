package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// errLinkLocal is returned for connections to 169.254.0.0/16 and fe80::/10. No registry lives there, but the clouds'
// metadata services do, and a hostile server's redirect or upload address must not make us query them.
var errLinkLocal = errors.New("connections to link-local addresses are not allowed")

// errProxy replaces net/http's own error, which quotes the variable with its password.
var errProxy = errors.New("the proxy address in HTTP_PROXY or HTTPS_PROXY cannot be parsed")

// connections makes the connection pool of one host.
func (t *Transport) connections(host string) (*http.Transport, error) {
	conf, err := tlsConfig(t.roots, t.o.TLSDir, host)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout:        t.o.ConnectTimeout,
		KeepAlive:      30 * time.Second,
		ControlContext: refuseLinkLocal,
	}
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   t.o.ConnectTimeout,
		ResponseHeaderTimeout: t.o.ResponseHeaderTimeout,
		// Registries send signed bytes; unpacking gzip would change the bytes that are hashed, and invites zip bombs.
		DisableCompression: true,
		// A custom TLS configuration disables HTTP/2 unless it is forced.
		ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 15 * time.Second, // notices a dead connection under many streams
			PingTimeout:     15 * time.Second,
		},
		MaxIdleConnsPerHost:    64, // as many as workers; the default of 2 would reconnect all the time
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}, nil
}

// checkProxy finds a proxy address that cannot be right: net/http would take "http" for its host. Usually its
// password is not escaped.
func checkProxy() error {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		address := os.Getenv(name)
		if u, err := url.Parse(address); strings.Contains(address, "://") && (err != nil || u.Host == "") {
			return fmt.Errorf("%s holds no address of a proxy\nhint: in its password, write / as %%2F, # as %%23, ? as %%3F and %% as %%25", name)
		}
	}
	return nil
}

// proxy returns the environment's proxy. Its error reveals no secret.
func proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, errProxy
	}
	used.address(u)
	return u, nil
}

// refuseLinkLocal checks the address after name resolution, so that a name cannot hide it.
func refuseLinkLocal(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil // not an IP address
	}
	if at.Addr().Unmap().IsLinkLocalUnicast() {
		return errLinkLocal
	}
	return nil
}
