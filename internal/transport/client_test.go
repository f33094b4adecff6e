package transport

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote"
)

// With one request in flight and a manifest without a length, oras-go would send HEAD while it
// holds the GET, and wait for itself.
func TestManifestsWithoutLengthDoNotBlock(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Method
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = io.WriteString(w, `{"schemaVersion":2,`)
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, `"manifests":[]}`)
	}))
	defer srv.Close()
	tr := mustNew(t, Options{Limits: func(string) Limit { return Limit{InFlight: 1} }})
	repo, err := remote.NewRepository(strings.TrimPrefix(srv.URL, "http://") + "/app")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP, repo.Client = true, Client(tr, nil)
	desc, body, err := repo.FetchReference(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
	if desc.Size != 34 || len(requests) != 1 {
		t.Errorf("got size %d after %d requests, want 34 after 1", desc.Size, len(requests))
	}
}

func TestEndlessManifestIsRefused(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for page := make([]byte, 64<<10); ; {
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	_, err := Client(mustNew(t, Options{}), nil).Do(request(t, t.Context(), "GET", srv.URL+"/v2/a/manifests/v1", ""))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v, want an error that says larger than", err)
	}
}

// net/http reads the proxy variables once per process and never for loopback hosts. So the client
// runs in its own process and requests a name that only the proxy knows.
func TestProxyVariablesAreHonoured(t *testing.T) {
	if os.Getenv("TRANSPORT_PROXY_CLIENT") != "" {
		tr := mustNew(t, Options{})
		if code, err := send(t, tr, request(t, t.Context(), "GET", "http://registry.invalid/v2/", "")); code != http.StatusTeapot {
			t.Fatalf("got %d, %v, want %d", code, err, http.StatusTeapot)
		}
		return
	}
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "registry.invalid" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer proxy.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestProxyVariablesAreHonoured$")
	cmd.Env = []string{"TRANSPORT_PROXY_CLIENT=1", "HTTP_PROXY=" + proxy.URL, "HOME=" + t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("got %v, want no error\n%s", err, out)
	}
}
