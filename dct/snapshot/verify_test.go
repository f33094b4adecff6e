package snapshot

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
)

// copyAll copies each repository's manifest under its reference.
func copyAll(t *testing.T, guns []string, from oras.ReadOnlyTarget, to oras.Target) {
	t.Helper()
	for _, name := range guns {
		ref := refName(gun(t, name))
		_, err := oras.Copy(context.Background(), from, ref, to, ref, oras.DefaultCopyOptions)
		must(t, err)
	}
}

func layoutStore(t *testing.T, dir string) *oci.Store {
	t.Helper()
	store, err := oci.New(dir)
	must(t, err)
	return store
}

func TestCopiesByOtherToolsRead(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, rotated)
	guns := []string{plain, signers, rotated}
	dir, second, third := t.TempDir(), t.TempDir(), t.TempDir()
	s.save(t, dir)
	copyAll(t, guns, layoutStore(t, dir), layoutStore(t, second))
	// Through a registry, where the annotations of the index are lost.
	web := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(web.Close)
	repo, err := remote.NewRepository(strings.TrimPrefix(web.URL, "http://") + "/backup")
	must(t, err)
	repo.PlainHTTP = true
	copyAll(t, guns, layoutStore(t, second), repo)
	copyAll(t, guns, repo, layoutStore(t, third))
	for _, copied := range []string{second, third} {
		s.same(t, opened(t, copied))
		results, err := Verify(t.Context(), copied, s.reader(), nil)
		must(t, err)
		for _, r := range results {
			must(t, r.Err)
		}
		// A copy is a snapshot that Save can continue. It writes the annotations again.
		if n, sum := s.cost(t, copied); n != 3 || sum.Unchanged != 3 {
			t.Errorf("got %d requests, %+v, want 3, and 3 unchanged", n, sum)
		}
		if got, want := tree(t, copied)["index.json"].Data, tree(t, dir)["index.json"].Data; string(got) != string(want) {
			t.Errorf("got the index %s, want %s", got, want)
		}
		before, err := os.Stat(filepath.Join(copied, "index.json"))
		must(t, err)
		s.save(t, copied)
		if after, err := os.Stat(filepath.Join(copied, "index.json")); err != nil || !os.SameFile(before, after) {
			t.Errorf("got another file, %v, want the index left alone, as nothing changed", err)
		}
	}
}

// A signature that a tool puts beside a manifest stays as long as the manifest, and hinders
// nothing.
func TestSignaturesInTheLayoutStayWithTheirManifest(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	dir := t.TempDir()
	s.save(t, dir)
	subject, _ := opened(t, dir).Manifest(gun(t, plain))
	store := layoutStore(t, dir)
	envelope := content.NewDescriptorFromBytes("application/jose+json", []byte("signature"))
	must(t, store.Push(t.Context(), envelope, strings.NewReader("signature")))
	signature, err := oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, "application/vnd.cncf.notary.signature",
		oras.PackManifestOptions{Subject: &subject, Layers: []ocispec.Descriptor{envelope}})
	must(t, err)
	there := func(d ocispec.Descriptor) bool {
		_, err := os.Stat(filepath.Join(dir, blobName(d.Digest)))
		return err == nil
	}
	listed := func() bool {
		raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
		must(t, err)
		return strings.Contains(string(raw), signature.Digest.String())
	}
	must(t, s.repos[signers].Sign("v9", sha("9"), 9))
	must(t, s.repos[signers].Publish())
	s.save(t, dir)
	s.same(t, opened(t, dir))
	if !there(signature) || !there(envelope) || !listed() {
		t.Error("got the signature gone, want it there, as its manifest is")
	}
	must(t, s.repos[plain].Sign("v9", sha("9"), 9))
	must(t, s.repos[plain].Publish())
	s.save(t, dir)
	s.same(t, opened(t, dir))
	if there(signature) || there(envelope) || listed() {
		t.Error("got the signature of a manifest that was replaced, want it gone")
	}
}
