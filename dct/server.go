package dct

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// A Doer sends a request and answers challenges of registries, as oras-go's auth.Client does. It handles limits,
// retries, TLS and credentials.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Server is a Notary v1 server as a [Source], with one request at a time per repository. It is safe for concurrent
// use if its Doers are.
type Server struct {
	// URL returns the server's address for a registry host, such as https://notary.docker.io for docker.io, without a
	// trailing slash.
	URL func(registry string) string
	// HTTP returns the Doer for the repositories of a registry host: the credentials are the registry's, whatever the
	// Notary server's host.
	HTTP func(registry string) Doer
	// Rescue fetches each timestamp by the last hash in the repository's changefeed. A server that can no longer sign
	// timestamps, because it lost its keys or the root expired, answers 500 for the latest one, but still has it
	// under its hash.
	Rescue bool
	// MaxTime bounds how long a changefeed is read; 0: no limit.
	MaxTime time.Duration
	// MaxRecords bounds how many records of a changefeed are read; 0: ten million.
	MaxRecords int
	// Advice returns what else to try if the server of a registry host cannot be reached, or is not a Notary server.
	// May be nil.
	Advice func(registry string) string
	// LoggedIn reports whether credentials were found for a registry host. Nil means none.
	LoggedIn func(registry string) bool
}

// DefaultServer returns where docker looks for the trust data of a registry.
func DefaultServer(registry string) string {
	if registry == "docker.io" {
		return "https://notary.docker.io"
	}
	return "https://" + registry
}

// PullScope returns the token scope for reading a repository's trust data. It has the full GUN: Notary's tokens are
// issued for that, not for the path.
func PullScope(gun GUN) string { return auth.ScopeRepository(gun.String(), auth.ActionPull) }

// File implements [Source] with GET /v2/<gun>/_trust/tuf/<name>.json.
func (s *Server) File(ctx context.Context, gun GUN, name string, limit int64) ([]byte, error) {
	if s.Rescue && name == "timestamp" {
		sum, err := s.lastTimestamp(ctx, gun)
		if err != nil {
			return nil, err
		}
		name += "." + sum
	}
	return s.file(ctx, gun, name, limit)
}

func (s *Server) file(ctx context.Context, gun GUN, name string, limit int64) ([]byte, error) {
	base := s.URL(gun.Registry())
	fail := func(kind, err error, hint string) error {
		if s.Advice != nil && (errors.Is(kind, ErrUnavailable) || errors.Is(kind, ErrNotNotary)) {
			hint = strings.TrimPrefix(hint+"; "+s.Advice(gun.Registry()), "; ")
			hint = strings.TrimSuffix(hint, "; ")
		}
		return &Error{GUN: gun.String(), Role: roleOf(name), Kind: kind, Err: err, Hint: hint}
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fail(ErrUnavailable, errors.New("its Notary URL cannot be parsed"), "check notary-server in the configuration")
	}
	shown := transport.RedactText(base) // it may hold a password
	ctx = auth.WithScopesForHost(ctx, u.Host, PullScope(gun))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v2/"+gun.String()+"/_trust/tuf/"+escape(name)+".json", nil)
	if err != nil {
		return nil, fail(ErrUnavailable, err, "")
	}
	req.Header.Set("Cache-Control", "no-cache") // a cache between us may have what was current before
	resp, err := s.HTTP(gun.Registry()).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		kind, hint, err := s.explainUnsent(err, gun.Registry(), shown)
		return nil, fail(kind, err, hint)
	}
	defer func() {
		// Read the rest so that the connection can be reused; a failure costs only the connection.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		_ = resp.Body.Close()
	}()
	switch {
	case resp.StatusCode == http.StatusNotFound && saysNotFound(resp.Body):
		return nil, absentFile(lookup.Notary, name)
	case resp.StatusCode != http.StatusOK:
		kind, hint, err := s.explainStatus(resp, gun.Registry(), shown)
		return nil, fail(kind, err, hint)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fail(ErrUnavailable, fmt.Errorf("reading the answer: %w", err), transport.Hint(err))
	case int64(len(raw)) > limit:
		return nil, fail(ErrRefused, fmt.Errorf("file is larger than %d bytes", limit), "")
	case looksLikeHTML(resp.Header, raw):
		return nil, fail(ErrNotNotary, errors.New("the answer is a web page"), "check the Notary URL "+shown+"; Harbor's is https://<host>:4443")
	}
	return raw, nil
}

// explainUnsent converts an error of the HTTP client to a kind, a hint and a cause.
func (s *Server) explainUnsent(err error, registry, shown string) (kind error, hint string, cause error) {
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return ErrUnavailable, "it answers without TLS: its address begins with http://", transport.Redact(err)
	case transport.UntrustedTLS(err):
		return ErrUnavailable, "name the certificate of its authority with --ca-file, or put it where docker looks: ~/.docker/tls/<host>/ca.crt", transport.Redact(err)
	case transport.Unsent(err):
		return ErrDenied, transport.Hint(err), transport.Redact(err)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		cause = transport.Redact(err) // from the token server
		if answer.StatusCode == http.StatusUnauthorized {
			cause = loginRefused{cause}
		}
		return ErrDenied, s.hintLogin(registry, answer.StatusCode), cause
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return ErrDenied, s.hintLogin(registry, http.StatusUnauthorized), transport.Redact(err)
	}
	return ErrUnavailable, "is " + shown + " the Notary server of this registry, and reachable from here?", transport.Redact(err)
}

// saysNotFound reports whether the body of a 404 is notary-server's own: exactly its code for missing data. Proxies,
// load balancers and registries answer 404 too, without knowing what the Notary server has.
//
// SPEC (notary, server/errors: METADATA_NOT_FOUND, used by all of its handlers).
func saysNotFound(body io.Reader) bool { return saysOnly(body, "METADATA_NOT_FOUND") }

// saysOnly reports whether a body is an error with only these codes.
func saysOnly(body io.Reader, codes ...string) bool {
	raw, err := io.ReadAll(io.LimitReader(body, maxErrorBody+1))
	if err != nil || len(raw) > maxErrorBody {
		return false
	}
	var answer struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(raw, &answer) != nil || len(answer.Errors) == 0 {
		return false
	}
	for _, one := range answer.Errors {
		if !slices.Contains(codes, one.Code) {
			return false
		}
	}
	return true
}

// maxErrorBody is the maximum size of an error response, in bytes.
const maxErrorBody = 64 << 10

// hintLogin says whose login to check after a refusal.
func (s *Server) hintLogin(registry string, status int) string {
	login := "docker login " + registry + ", or give -u and --password-stdin, as a user who may pull this repository"
	switch {
	case s.LoggedIn == nil || !s.LoggedIn(registry):
		return "log in with " + login
	case status == http.StatusForbidden:
		return "the user who is logged in may not pull this repository: have the right granted, or use the login of a user who may"
	}
	return "the login is refused, or its user may not pull this repository: have the right granted, or log in again with " + login
}

// explainStatus converts an answer that is neither 200 nor Notary's own 404 to a kind, a hint and a cause.
func (s *Server) explainStatus(resp *http.Response, registry, base string) (kind error, hint string, cause error) {
	cause = fmt.Errorf("%s answered %d", base, resp.StatusCode)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return ErrDenied, s.hintLogin(registry, code), cause
	case code >= 300 && code < 400:
		to := transport.RedactText(resp.Header.Get("Location"))
		return ErrNotNotary, "if that is the Notary server's new address, configure it as notary-server", fmt.Errorf("%w, a redirect to %s", cause, to)
	case code == http.StatusNotFound:
		return ErrNotNotary, "check the Notary URL " + base + ", and what stands in between, such as a proxy; Harbor's is https://<host>:4443",
			fmt.Errorf("%w, %w", cause, ErrForeign404)
	case code == http.StatusTooManyRequests:
		return ErrUnavailable, "", cause
	case code >= 500:
		return ErrUnavailable, "if it stays so for timestamps alone, --rescue reads them another way", cause
	}
	return ErrNotNotary, "check the Notary URL " + base, cause
}

func looksLikeHTML(h http.Header, raw []byte) bool {
	return transport.MediaType(h) == "text/html" || bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<"))
}

// escape escapes a role name but keeps its slashes.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// roleOf returns the role that a file name belongs to: 3.root and root are root, targets/a.<sha256> is targets/a.
func roleOf(name string) string {
	if v, role, ok := strings.Cut(name, "."); ok && v != "" && strings.Trim(v, "0123456789") == "" {
		return role
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 && len(name)-i-1 == 64 {
		return name[:i]
	}
	return name
}
