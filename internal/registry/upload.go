package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// A blob can be uploaded in one request or in two. One is cheaper, but few clients do it. So it is not trusted in a
// repository before the first blob was seen to be stored, and after any failure of it the usual two requests are
// tried. A blob is named by its digest: storing it twice is storing it once.

// What is known of a repository's uploads.
const (
	untried int32 = iota
	inOne         // one request is enough
	inTwo         // one is not enough
)

// upload stores a blob.
func (r *Repository) upload(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	if r.uploads.Load() != inTwo {
		if done, err := r.uploadInOne(ctx, desc, data); done || err != nil {
			return err
		}
	}
	at, err := r.beginUpload(ctx)
	if err != nil {
		return err
	}
	return r.endUpload(ctx, at, desc.Digest, data)
}

// uploadInOne stores a blob in one request, and sends a second if the registry takes the first for the beginning of
// an upload. It returns false and no error if the caller should start over with two requests.
//
// SPEC (OCI distribution, single POST): "Registries MAY support pushing blobs using a single
// POST request. [...] Registries that do not support single request monolithic uploads SHOULD
// return a 202 Accepted status code and Location header and clients SHOULD proceed with a
// subsequent PUT request".
func (r *Repository) uploadInOne(ctx context.Context, desc ocispec.Descriptor, data []byte) (done bool, err error) {
	resp, err := r.postUpload(ctx, "?digest="+url.QueryEscape(desc.Digest.String()), data)
	if err != nil {
		return false, r.inOneFailed(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusCreated:
		if err := aboutAnother(resp.Header, desc.Digest); err != nil {
			return false, err
		}
		return r.seen(ctx, desc), nil
	case http.StatusAccepted:
		r.uploads.Store(inTwo)
		at, err := r.session(resp)
		if err != nil {
			return false, nil // the next upload shows whether this is always so
		}
		if err := r.endUpload(ctx, at, desc.Digest, data); err != nil {
			return false, r.inOneFailed(ctx, err)
		}
		return true, nil
	}
	return false, r.inOneFailed(ctx, problem(resp))
}

// seen reports whether a blob exists that the registry claims to have stored in one request. It checks only the first
// blob of a repository.
func (r *Repository) seen(ctx context.Context, desc ocispec.Descriptor) bool {
	if r.uploads.Load() == inOne {
		return true
	}
	there, err := r.hasBlob(ctx, desc.Digest)
	there = there && err == nil
	if there {
		r.uploads.CompareAndSwap(untried, inOne)
	} else {
		r.uploads.Store(inTwo)
	}
	return there
}

// inOneFailed returns err if two requests would fail in the same way: no credentials, a registry that wants fewer
// requests (transport has already waited), or a contradiction. Other answers mean that one request is not enough
// here; a network failure says nothing.
func (r *Repository) inOneFailed(ctx context.Context, err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case ctx.Err() != nil, classify(err) == failure.Throttled:
		return err
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusServiceUnavailable:
			return err
		}
		if answer.StatusCode < http.StatusInternalServerError || answer.StatusCode == http.StatusNotImplemented {
			r.uploads.Store(inTwo)
		}
		return nil
	case transport.Transient(err):
		return nil
	}
	return err
}

// beginUpload returns where to continue the upload.
//
// SPEC (OCI distribution, pushing blobs): POST /v2/<name>/blobs/uploads/ answers 202 with a
// Location.
func (r *Repository) beginUpload(ctx context.Context) (*url.URL, error) {
	resp, err := r.postUpload(ctx, "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusAccepted:
		return r.session(resp)
	case resp.StatusCode < http.StatusMultipleChoices:
		return nil, fmt.Errorf("%w: %d", ErrNotRegistry, resp.StatusCode)
	}
	return nil, problem(resp)
}

func (r *Repository) postUpload(ctx context.Context, query string, data []byte) (*http.Response, error) {
	return r.sendBytes(ctx, http.MethodPost, r.base+"/blobs/uploads/"+query, data)
}

// endUpload sends a blob to where its upload continues.
//
// SPEC (OCI distribution, POST then PUT): PUT <location>?digest=<digest>, where the location may already hold
// parameters; 201.
func (r *Repository) endUpload(ctx context.Context, at *url.URL, d digest.Digest, data []byte) error {
	to := *at
	q := to.Query()
	q.Set("digest", d.String())
	to.RawQuery = q.Encode()
	resp, err := r.sendBytes(ctx, http.MethodPut, to.String(), data)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return problem(resp)
	}
	return aboutAnother(resp.Header, d)
}

func (r *Repository) sendBytes(ctx context.Context, method, to string, data []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.scoped(ctx), method, to, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if data != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	return r.client.Do(req)
}

// session returns where a begun upload continues: on the same host and port, and with TLS if it began with it. We
// follow no address that oras-go would not follow with our credentials.
func (r *Repository) session(resp *http.Response) (*url.URL, error) {
	at, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("%w: 202 without a Location", ErrNotRegistry)
	}
	asked, err := url.Parse(r.base)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(at.Hostname(), asked.Hostname()) || port(at) != port(asked) || asked.Scheme == "https" && at.Scheme != "https" {
		err := fmt.Errorf("the upload is to go on at %s, another place, to which no credentials are sent", transport.RedactText(at.Scheme+"://"+at.Host))
		if strings.EqualFold(at.Hostname(), asked.Hostname()) && asked.Scheme == "https" && at.Scheme == "http" {
			err = fmt.Errorf("%w: %w", transport.ErrForgotTLS, err)
		}
		return nil, err
	}
	at.Host, at.User = asked.Host, nil // as the token cache names it
	return at, nil
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
