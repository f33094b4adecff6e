package e2epolicy

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// registry is a running registry of another project, with HTTPS, which consumers use unless they
// are told otherwise.
type registry struct {
	host string // host:port, as in image references
	tls  *servertest.TLS
}

// registries are the two ways of finding signatures: by a tag made from the digest, and by
// the referrers API.
var registries = map[string]func(t testing.TB, tls *servertest.TLS, dir string, port int) *exec.Cmd{
	"distribution": func(t testing.TB, tls *servertest.TLS, dir string, port int) *exec.Cmd {
		config := filepath.Join(dir, "config.yml")
		servertest.WriteFile(t, config, fmt.Appendf(nil, "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: 127.0.0.1:%d, tls: {certificate: %q, key: %q}}\n",
			filepath.Join(dir, "store"), port, tls.CertFile, tls.KeyFile))
		c := distribution.command(t, "serve", config)
		c.Env = []string{"OTEL_TRACES_EXPORTER=none"}
		return c
	},
	"olareg": func(t testing.TB, tls *servertest.TLS, dir string, port int) *exec.Cmd {
		return olareg.command(t, "serve", "--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--tls-cert", tls.CertFile, "--tls-key", tls.KeyFile)
	},
}

func startRegistry(t testing.TB, kind string) *registry {
	t.Helper()
	dir := t.TempDir()
	r := &registry{tls: servertest.NewTLS(t)}
	r.host = servertest.Serve(t, r.tls.Client, func(host string) string { return "https://" + host + "/v2/" },
		func(port int) *exec.Cmd { return registries[kind](t, r.tls, dir, port) })
	return r
}

// repository returns a client for the registry's repository of that name.
func (r *registry) repository(t testing.TB, name string) *remote.Repository {
	t.Helper()
	repo, err := remote.NewRepository(r.host + "/" + name)
	must(t, err)
	repo.Client = &auth.Client{Client: r.tls.Client}
	return repo
}

// push stores an image for one platform. Each seed makes a different image.
func (r *registry) push(t testing.TB, name, seed string) ocispec.Descriptor {
	t.Helper()
	repo := r.repository(t, name)
	layer, err := oras.PushBytes(t.Context(), repo, ocispec.MediaTypeImageLayer, []byte(seed))
	must(t, err)
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	})
	must(t, err)
	configured, err := oras.PushBytes(t.Context(), repo, ocispec.MediaTypeImageConfig, config)
	must(t, err)
	image, err := oras.PackManifest(t.Context(), repo, oras.PackManifestVersion1_0, "", oras.PackManifestOptions{
		ConfigDescriptor: &configured, Layers: []ocispec.Descriptor{layer},
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2020-01-01T00:00:00Z"},
	})
	must(t, err)
	image.ArtifactType = ""
	return image
}

// pushTagged stores an image, or an index of one, under a tag.
func (r *registry) pushTagged(t testing.TB, name, tag string, index bool) ocispec.Descriptor {
	t.Helper()
	image := r.push(t, name, tag)
	if index {
		image.Platform = &ocispec.Platform{Architecture: "amd64", OS: "linux"}
		raw, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{image}})
		must(t, err)
		image, err = oras.PushBytes(t.Context(), r.repository(t, name), ocispec.MediaTypeImageIndex, raw)
		must(t, err)
	}
	must(t, r.repository(t, name).Tag(t.Context(), image, tag))
	return image
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
