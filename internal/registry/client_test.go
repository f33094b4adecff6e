package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/transport"
)

func TestOneHandlePerRepository(t *testing.T) {
	t.Parallel()
	c := New(Options{})
	for _, same := range [][]string{
		{"docker.io/library/alpine", "docker.io/alpine", "index.docker.io/alpine", "registry-1.docker.io/library/alpine", "Docker.io/alpine"},
		{"reg.example.com:5000/a/b", "Reg.Example.com:5000/a/b"},
	} {
		var all sync.WaitGroup
		handles := make([]*Repository, len(same))
		for i, name := range same {
			all.Go(func() { handles[i] = repository(t, c, name) })
		}
		all.Wait()
		for i, r := range handles {
			if r != handles[0] {
				t.Errorf("%s: got a handle of its own, want that of %s", same[i], same[0])
			}
		}
	}
	if r := repository(t, c, "docker.io/alpine"); r.base != "https://registry-1.docker.io/v2/library/alpine" || r.Name() != "docker.io/library/alpine" {
		t.Errorf("Docker Hub: got %s at %s, want docker.io/library/alpine at registry-1.docker.io", r.Name(), r.base)
	}
	for _, bad := range []string{"", "alpine", "reg.example.com/a:v1", "reg.example.com/a@" + digest.FromString("").String(), "reg.example.com/../b", "reg.example.com/A", "evil.example?x/a"} {
		if _, err := c.Repository(bad); err == nil {
			t.Errorf("%q: got no error, want one", bad)
		}
	}
}

// What we pack is what notation-go would have pushed, to the byte.
func TestPackIsNotationsForm(t *testing.T) {
	t.Parallel()
	annotations := map[string]string{
		ocispec.AnnotationCreated:                  "2026-01-02T03:04:05Z",
		"io.cncf.notary.x509chain.thumbprint#S256": `["ab"]`,
	}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("x"), Size: 1}
	envelope := []byte(`{"payload":"x"}`)
	store := memory.New()
	_, want, err := notationregistry.NewRepository(store).PushSignature(t.Context(), jws, envelope, subject, annotations)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := store.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	wantBytes, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	subject.Annotations = map[string]string{"not": "part of it"}
	manifest, desc, err := PackSignature(subject, jws, envelope, annotations)
	if err != nil || string(manifest) != string(wantBytes) || desc.Digest != want.Digest || desc.Size != want.Size {
		t.Errorf("got %s, %v, want %s", manifest, err, wantBytes)
	}
	if _, _, err := PackSignature(subject, jws, envelope, nil); err == nil {
		t.Error("without a signing time: got no error, want one")
	}
}

// Lack of space is told apart from lack of permission, whatever the registry calls it.
func TestFullRegistryIsNotADeniedOne(t *testing.T) {
	t.Parallel()
	const harbor = "adding 1.3 KiB of storage resource, which when updated to current usage of 10.0 MiB will exceed the configured upper limit of 10.0 MiB."
	const ecr = "The repository with name 'app' in registry with id '1' already has the maximum allowed number of images which is '10000'"
	for _, c := range []struct {
		method string
		status int
		say    string
		want   failure.Class
	}{
		{"PUT", 403, harbor, failure.Full}, {"PUT", 403, "Quota exceeded when processing the request of " + harbor, failure.Full}, {"PUT", 403, ecr, failure.Full},
		{"POST", 403, "registry contains 1 repositories, limit is 1", failure.Full}, {"PUT", 413, "storage quota exceeded", failure.Full},
		{"PATCH", 500, "write /data/blob: no space left on device", failure.Full}, {"PUT", 507, "", failure.Full},
		{"PUT", 429, "Quota exceeded for quota metric 'Requests per project per minute'", failure.Throttled},
		{"GET", 403, "download quota exceeded", failure.Denied}, {"PUT", 401, "quota", failure.Denied}, {"PUT", 403, "requested access to the resource is denied", failure.Denied},
		{"PUT", 413, "", failure.Permanent}, {"PUT", 500, "internal", failure.Transient}, {"PUT", 501, "", failure.Permanent}, {"GET", 501, "", failure.Permanent}, {"PUT", 412, "the image is not signed", failure.Denied},
	} {
		e := &errcode.ErrorResponse{Method: c.method, URL: &url.URL{Host: "r.example"}, StatusCode: c.status}
		if c.say != "" {
			e.Errors = errcode.Errors{{Code: "DENIED", Message: c.say}}
			if c.status == 413 || c.status >= 500 {
				e.Errors = errcode.Errors{{Code: "UNKNOWN", Message: "unknown error", Detail: map[string]any{"Err": c.say}}}
			}
		}
		err := transport.Redact(e)
		if got := classify(err); got != c.want {
			t.Errorf("%s, %d, %q: %q, want %q", c.method, c.status, c.say, got, c.want)
		}
		if (c.want == failure.Full) != strings.Contains(hint(err), "quota") {
			t.Errorf("%d, %q: got hint %q, want one of the quota %v", c.status, c.say, hint(err), c.want == failure.Full)
		}
	}
}

func TestErrorsAreClassed(t *testing.T) {
	t.Parallel()
	answer := func(status int, code string) error {
		e := &errcode.ErrorResponse{Method: "GET", URL: &url.URL{Host: "r.example"}, StatusCode: status}
		if code != "" {
			e.Errors = errcode.Errors{{Code: "OTHER"}, {Code: code}}
		}
		return fmt.Errorf("asking: %w", transport.Redact(e))
	}
	for _, c := range []struct {
		err  error
		want failure.Class
	}{
		{nil, ""},
		{answer(401, ""), failure.Denied}, {answer(403, "DENIED"), failure.Denied}, {answer(400, "UNAUTHORIZED"), failure.Denied},
		{answer(412, ""), failure.Denied}, {answer(400, "PROJECTPOLICYVIOLATION"), failure.Denied},
		{answer(404, ""), failure.Permanent}, {answer(404, "MANIFEST_UNKNOWN"), failure.Permanent}, {answer(404, "BLOB_UPLOAD_UNKNOWN"), failure.Transient},
		{answer(429, ""), failure.Throttled}, {answer(403, "TOOMANYREQUESTS"), failure.Throttled},
		{answer(500, ""), failure.Transient}, {answer(503, ""), failure.Transient}, {answer(408, ""), failure.Transient},
		{answer(400, "MANIFEST_INVALID"), failure.Permanent}, {answer(405, "UNSUPPORTED"), failure.Permanent},
		{&transport.ThrottledError{Host: "r.example"}, failure.Throttled},
		{fmt.Errorf("x: %w", errdef.ErrNotFound), failure.Permanent},
		{fmt.Errorf("x: %w", &lookup.AbsentError{By: lookup.Registry, Err: answer(404, "MANIFEST_UNKNOWN")}), failure.Missing},
		{&url.Error{Op: "Get", Err: context.Canceled}, ""},
		{context.DeadlineExceeded, failure.Transient},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, failure.Transient},
		{&net.DNSError{IsNotFound: true}, failure.Transient},
		{io.ErrUnexpectedEOF, failure.Transient},
		{auth.ErrBasicCredentialNotFound, failure.Denied},
		{fmt.Errorf("%w: %w", ErrIntegrity, io.ErrUnexpectedEOF), failure.Security},
		{errors.New("anything else"), failure.Permanent},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
