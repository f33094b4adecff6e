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

// Sizes that are read at most.
const (
	maxManifest = 4 << 20
	maxEnvelope = 10 << 20
	maxProblem  = 8 << 10 // of an error answer
)

// ErrIntegrity is returned when the registry's answer contradicts the digest or size asked
// for. It must not be retried: something between the registry's disk and us lies.
var ErrIntegrity = errors.New("the registry's answer does not match the digest")

// A Repository is the one handle of a repository. It is safe for concurrent use.
type Repository struct {
	of       *Client
	name     string // host[:port]/path
	base     string // URL of the repository
	remote   *remote.Repository
	client   *auth.Client
	readOnly bool
	deleting bool // permission to delete is asked for as well
	budget   Budget

	forced    bool         // the referrers tag is used whatever the registry has
	probed    *latch       // whether the referrers API is there has been found out
	more      *latch       // that has been found out once more, as another repository of the host has it
	api       atomic.Bool  // it is; means something once probed
	hadAPI    atomic.Bool  // it was, at some time
	wavered   atomic.Bool  // it seemed not to be, and is
	askedMore atomic.Bool  // it was asked for as often as where another repository of the host has it
	config    *latch       // the signatures' config blob is there
	uploads   atomic.Int32 // how many requests one takes: untried, inOne or inTwo
	deletes   *latch       // that manifests can be deleted has been found out
	subjects  *keyed       // one push or removal per image at a time
	known     *descriptors // images resolved so far
	lists     sync.Map     // string -> []digest.Digest: referrers tags that hold a list, and its entries
	referrer  sync.Map     // digest.Digest -> digest.Digest: manifests that could not be run, and their subject
}

// ListsInTag reports whether the signatures of an image are listed in a tag, because there is no
// referrers API, or seemed to be none for a while. It means something after Signatures.
func (r *Repository) ListsInTag() bool { return !r.api.Load() || r.wavered.Load() }

// place is the name under which a Memory keeps the repository.
func (r *Repository) place() string { return placeOf(r.remote.Reference) }

// host is that of the place.
func (r *Repository) host() string {
	host, _, _ := strings.Cut(r.place(), "/")
	return host
}

// Name returns host[:port]/path.
func (r *Repository) Name() string { return r.name }

// scoped hints the token server at what this process will do here, so that each request
// finds the same token in the cache.
func (r *Repository) scoped(ctx context.Context) context.Context {
	if r.readOnly {
		return auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull)
	}
	if r.deleting {
		return auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull, auth.ActionPush, auth.ActionDelete)
	}
	return auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull, auth.ActionPush)
}

// ask sends a request without body to a path of the repository. The response is 200 and
// must be closed; everything else is an error.
func (r *Repository) ask(ctx context.Context, method, path, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.scoped(ctx), method, r.base+path, nil)
	if err != nil {
		return nil, err
	}
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

// problem reads an error answer into oras-go's form, so that whoever asks for the cause
// finds the same type whichever of us sent the request.
func problem(resp *http.Response) error {
	e := &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	// Proxies answer in HTML; then the status is all there is to say.
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&body); err == nil {
		e.Errors = body.Errors
	}
	return e
}

// isNotFound reports whether an error is an answer of status 404, by whoever gave it. That is
// no evidence of absence: see Repository.absence.
func isNotFound(err error) bool { return statusOf(err) == http.StatusNotFound }

// statusOf returns the HTTP status of an error response; 0 for any other error.
func statusOf(err error) int {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) {
		return 0
	}
	return answer.StatusCode
}

// failed says what was being done, to which repository, and what to do about it. The text
// of err is made fit to be shown.
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

// advised adds a hint to an error, if there is one: on a line of its own, which Redact would
// take for the server's.
func advised(err error, hint string) error {
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}
