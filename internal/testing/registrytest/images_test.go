package registrytest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// TestImagesCanBePulledWhole copies each kind with everything below it.
func TestImagesCanBePulledWhole(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{})
	for _, kind := range []struct {
		mediaType string
		put       func(repo, tag, seed string) (ocispec.Descriptor, error)
	}{
		{"application/vnd.oci.image.manifest.v1+json", r.PutImage},
		{"application/vnd.docker.distribution.manifest.v2+json", r.PutDockerImage},
		{"application/vnd.oci.image.index.v1+json", r.PutIndex},
		{"application/vnd.docker.distribution.manifest.list.v2+json", r.PutDockerList},
	} {
		want, err := kind.put("app", "v1", "a")
		if err != nil {
			t.Fatal(err)
		}
		got, err := oras.Copy(t.Context(), client(t, r, "app"), "v1", memory.New(), "", oras.DefaultCopyOptions)
		if err != nil || got.Digest != want.Digest || got.Size != want.Size || got.MediaType != kind.mediaType {
			t.Errorf("got pulled %v, error %v, want %v of type %s", got, err, want, kind.mediaType)
		}
		other, err := kind.put("app", "v1", "b")
		if err != nil || other.Digest == want.Digest {
			t.Errorf("%s, another seed: got %v, error %v, want another digest", kind.mediaType, other.Digest, err)
		}
		if again, err := kind.put("app", "v1", "a"); err != nil || again.Digest != want.Digest {
			t.Errorf("%s, the same seed: got %v, error %v, want %v", kind.mediaType, again.Digest, err, want.Digest)
		}
	}
}

func TestSchema1IsServedAsStored(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{})
	want, err := r.PutSchema1("old", "v1")
	if err != nil {
		t.Fatal(err)
	}
	got := get(t, httpClient(t, r), r.URL()+"/v2/old/manifests/v1")
	if d := got.Header.Get("Docker-Content-Digest"); d != want.Digest.String() {
		t.Errorf("got digest %s, want %s", d, want.Digest)
	}
	if ct := got.Header.Get("Content-Type"); ct != "application/vnd.docker.distribution.manifest.v1+prettyjws" {
		t.Errorf("got content type %s, want that of schema 1, signed", ct)
	}
}

func TestTagsMoveAndGoWithTheirDigest(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{})
	one, two := put(t, r, "app", "v1"), put(t, r, "app", "v2")
	if err := r.Tag("app", "v1", two.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if moved, err := r.Resolve("app", "v1"); err != nil || moved.Digest != two.Digest {
		t.Errorf("v1: got %v, error %v, want %v", moved.Digest, err, two.Digest)
	}
	if err := r.Tag("app", "v3", digest.FromString("nothing").String()); err == nil {
		t.Error("a manifest that does not exist: got it tagged, want an error")
	}
	if err := r.Delete("app", two.Digest.String()); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"v1", "v2", two.Digest.String()} {
		if d, err := r.Resolve("app", reference); err == nil {
			t.Errorf("%s: got %v, want it gone", reference, d.Digest)
		}
	}
	if _, err := r.Resolve("app", one.Digest.String()); err != nil {
		t.Errorf("the other image: got error %v, want none", err)
	}
}

func TestWrongDigestIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{})
	_, err := r.PutManifest("app", digest.FromString("else").String(), ocispec.MediaTypeImageManifest, []byte(`{}`))
	if err == nil {
		t.Error("bytes under a digest that is not theirs: got no error, want one")
	}
}

// go-containerregistry truncates lists without saying that there is more.
func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Token: true})
	want := []string{"a", "b", "c", "d", "e"}
	for _, tag := range want {
		put(t, r, "app", tag)
		put(t, r, "team/"+tag, "v1")
	}
	c := client(t, r, "app")
	c.TagListPageSize = 2
	var tags []string
	pages := 0
	err := c.Tags(t.Context(), "", func(page []string) error {
		pages++
		tags = append(tags, page...)
		return nil
	})
	if err != nil || !slices.Equal(tags, want) || pages != 3 {
		t.Errorf("got tags %v in %d pages, error %v, want %v in 3", tags, pages, err, want)
	}
	all, err := remote.NewRegistry(r.Host())
	if err != nil {
		t.Fatal(err)
	}
	all.PlainHTTP, all.Client, all.RepositoryListPageSize = true, c.Client, 2
	var repos []string
	err = all.Repositories(t.Context(), "app", func(page []string) error { repos = append(repos, page...); return nil })
	if err != nil || !slices.Equal(repos, []string{"team/a", "team/b", "team/c", "team/d", "team/e"}) {
		t.Errorf("after app: got repositories %v, error %v, want team/a to team/e", repos, err)
	}
}

// TestThousandsOfImagesAreCheap limits the two costs that grew with go-containerregistry alone:
// filling a registry and listing referrers in a large repository.
func TestThousandsOfImagesAreCheap(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Referrers: true})
	begin := time.Now()
	var last ocispec.Descriptor
	for i := range 10_000 {
		last = put(t, r, "big", fmt.Sprintf("v%d", i))
	}
	filled := time.Since(begin)
	if _, err := sign(t.Context(), client(t, r, "big"), last, "{}"); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	for range 100 {
		if got := oracle(t, r, "big", last); len(got) != 1 {
			t.Fatalf("got listed %v, want 1", got)
		}
	}
	each := time.Since(begin) / 100
	t.Logf("10,000 images in %v, one list of referrers in %v", filled, each)
	if filled > time.Minute || each > 20*time.Millisecond {
		t.Errorf("got %v to fill, %v each, want at most %v, %v, even on a busy machine", filled, each, time.Minute, 20*time.Millisecond) // scanning all manifests takes 28 ms on a quiet one
	}
}

func TestInProcessCallsAreNotCounted(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Token: true, Latency: time.Hour, RefuseDelete: true})
	image := put(t, r, "app", "v1")
	oracle(t, r, "app", image)
	if err := r.Delete("app", image.Digest.String()); err != nil {
		t.Error(err)
	}
	if n, lines := r.Requests(), r.Log(); n != 0 || len(lines) != 0 {
		t.Errorf("got %d counted, %v logged, want none", n, lines)
	}
}
