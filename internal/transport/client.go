package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxManifest is how much of a manifest of unknown length is read.
const maxManifest = 4 << 20

// maxRedirects is net/http's own limit, which a custom policy would remove.
const maxRedirects = 10

// Client returns oras-go's authenticating client on top of rt, with a token cache of its own; share one for the whole
// process. credential may be nil: anonymous. Redirects from https to http are refused. It fetches tokens in advance:
// see [Expect]. Credentials go to the server, to its known token server, and to tokenHosts, which are host names;
// another realm is a *RealmError. Errors of the client hold full addresses: show them through Redact.
func Client(rt http.RoundTripper, credential auth.CredentialFunc, tokenHosts ...string) *auth.Client {
	trusted := make([]string, len(tokenHosts))
	for i, h := range tokenHosts {
		trusted[i] = strings.ToLower(h)
	}
	c := &auth.Client{Credential: credential, ClientID: "dct2notation"}
	known := newTokenCache(c)
	c.Cache = known
	c.Client = &http.Client{Transport: measured{&realms{next: rt, trusted: trusted, tokens: known}}, CheckRedirect: checkRedirect}
	return c
}

// checkRedirect refuses redirects from TLS to plain HTTP.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: refusing a redirect from https to %s", ErrForgotTLS, req.URL.Scheme)
	}
	return nil
}

// measured gives every manifest a length. If a manifest came without one, oras-go sends a HEAD for it while it still
// holds the GET's body. With only one request in flight allowed, that would deadlock.
type measured struct{ http.RoundTripper }

func (m measured) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.RoundTripper.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || resp.StatusCode != http.StatusOK ||
		resp.ContentLength >= 0 || !strings.Contains(req.URL.Path, "/manifests/") {
		return resp, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("reading a manifest: %w", err)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("reading a manifest: larger than %d bytes", maxManifest)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	resp.ContentLength = int64(len(data))
	return resp, nil
}

// CloseIdleConnections makes http.Client's method of that name reach the Transport.
func (m measured) CloseIdleConnections() {
	if c, ok := m.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// MediaType returns the media type of a Content-Type header, without parameters and in lower case: servers add a
// charset, a bare semicolon, and worse. It is empty if the header is missing or nonsense.
func MediaType(h http.Header) string {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return mediaType
}
