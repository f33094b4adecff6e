package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// Largest sizes that are read.
const (
	maxManifest = 4 << 20
	maxEnvelope = 10 << 20
	maxProblem  = 8 << 10 // of an error response
)

// ErrIntegrity is returned when the registry's answer contradicts the digest or size asked for. It must not be
// retried: something between the registry's disk and us is lying.
var ErrIntegrity = errors.New("the registry's answer does not match the digest")

// A Repository is the one handle of a repository. It is safe for concurrent use.
type Repository struct {
	of       *Client
	name     string // host[:port]/path
	base     string // URL of the repository
	remote   *remote.Repository
	client   *auth.Client
	readOnly bool
	deleting bool // also asks for permission to delete
	budget   Budget

	forced    bool         // use the referrers tag whatever the registry has
	probed    *latch       // we asked whether the registry has the referrers API
	more      *latch       // we asked once more, because another repository of the host has it
	api       atomic.Bool  // it has the API; valid once probed
	hadAPI    atomic.Bool  // it had the API at some time
	wavered   atomic.Bool  // it seemed to have no API, but has
	askedMore atomic.Bool  // we asked as often as for a host with the API
	config    *latch       // the signatures' config blob is stored
	uploads   atomic.Int32 // requests per upload: untried, inOne or inTwo
	deletes   *latch       // we know that manifests can be deleted
	subjects  *keyed       // one push or removal per image at a time
	known     *descriptors // images resolved so far
	lists     sync.Map     // string -> []digest.Digest: referrers tags that hold a list, and its entries
	referrer  sync.Map     // digest.Digest -> digest.Digest: manifests that cannot be run, and their subject
}

// ListsInTag reports whether the signatures of an image are listed in a tag, because the registry has no referrers
// API or seemed to have none for a while. It is valid after Signatures.
func (r *Repository) ListsInTag() bool { return !r.api.Load() || r.wavered.Load() }

// place is the name under which a Memory keeps the repository.
func (r *Repository) place() string { return placeOf(r.remote.Reference) }

// host is the host of place.
func (r *Repository) host() string {
	host, _, _ := strings.Cut(r.place(), "/")
	return host
}

// Name returns host[:port]/path.
func (r *Repository) Name() string { return r.name }

// scoped tells the token server in advance what this process will do here, so that each request finds the same token
// in the cache.
func (r *Repository) scoped(ctx context.Context) context.Context {
	if r.readOnly {
		return auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull)
	}
	if r.deleting {
		return auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull, auth.ActionPush, auth.ActionDelete)
	}
	return auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull, auth.ActionPush)
}

// ask sends a request without body to a path of the repository. The response is 200 and must be closed; any other
// status is an error.
func (r *Repository) ask(ctx context.Context, method, path, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.scoped(ctx), method, r.base+path, nil)
	if err != nil {
		return nil, err
	}
	fresh(req)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problem(resp)
}

// fresh asks caches between us and the registry for its answer of now: tags move, and signatures come and go.
func fresh(req *http.Request) { req.Header.Set("Cache-Control", "no-cache") }

// problem reads an error answer into oras-go's form, so that the cause has the same type whether oras-go or we sent
// the request.
func problem(resp *http.Response) error {
	e := &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	// Proxies answer in HTML. Then only the status says anything.
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&body); err == nil {
		e.Errors = body.Errors
	}
	return e
}

// isNotFound reports whether an error is an answer with status 404, by the registry or by a proxy before it. That does
// not prove absence: see Repository.absence.
func isNotFound(err error) bool { return statusOf(err) == http.StatusNotFound }

// statusOf returns the HTTP status of an error response, or 0 for any other error, such as a token server's.
func statusOf(err error) int {
	var answer *errcode.ErrorResponse
	if noToken(err) || !errors.As(err, &answer) {
		return 0
	}
	return answer.StatusCode
}

// noToken reports whether an error is a token server's, which says nothing of what the registry has or accepts.
func noToken(err error) bool { return errors.As(err, new(*transport.TokenError)) }

// failed says what was being done, to which repository, and what to do about it. It makes the text of err fit to be
// shown.
func (r *Repository) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s in %s: %w", doing, r.name, transport.Redact(err))
	hint := r.hint(err)
	if advice, cause := r.hintLogin(err); cause != "" && advice == hint {
		wrapped = &loginError{wrapped, cause}
	}
	return advised(wrapped, hint)
}

// advised adds a hint to an error, if there is one: on its own line, which Redact would take for the server's text.
func advised(err error, hint string) error {
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}
