package snapshot

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// Wherever a run ends, what it leaves is a snapshot, and the next run completes it to what
// an undisturbed one writes.
func TestInterruptedRunIsCompletedByTheNext(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, rotated)
	want := t.TempDir()
	begin := s.Requests()
	s.save(t, want)
	total := int(s.Requests() - begin)
	for cut := 1; cut <= total; cut++ {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		left := cut
		s.SetHook(func(http.ResponseWriter, *http.Request) bool {
			if left--; left == 0 {
				cancel()
			}
			return false
		})
		sum, err := Save(ctx, dir, s.reader(), s.guns(t), atNoon())
		s.SetHook(nil)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		results, err := Verify(t.Context(), dir, s.reader(), nil)
		must(t, err)
		for _, r := range results {
			must(t, r.Err)
		}
		if len(results) != sum.Added {
			t.Errorf("cut at %d: %d were added, and %d are there", cut, sum.Added, len(results))
		}
		s.save(t, dir)
		if names := differ(tree(t, want), tree(t, dir)); len(names) > 0 {
			t.Fatalf("cut at %d: completed to something else in %v", cut, names)
		}
	}
}

// A long run that is killed has something to show for it.
func TestIndexIsWrittenAsTheRunGoesOn(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested)
	dir := t.TempDir()
	must(t, prepare(dir))
	var there []int
	o := atNoon()
	o.Observe = func(Saved) { there = append(there, len(opened(t, dir).GUNs())) }
	w := &writer{dir: dir, saved: opened(t, dir), reader: s.reader(), options: o, every: 2, hosts: dct.NewHosts()}
	_, err := w.saveAll(t.Context(), s.guns(t))
	must(t, err)
	if !slices.Equal(there, []int{0, 0, 2}) {
		t.Errorf("listed while saving: %v", there)
	}
}

// A publication in the middle of a read makes the reader begin again. What it got before
// is not what it verified.
func TestPublicationWhileSavingIsSavedWhole(t *testing.T) {
	t.Parallel()
	s := newScene(t, signers)
	must(t, s.repos[signers].Sign("v9", sha("9"), 9))
	torn := false
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if torn || !strings.Contains(r.URL.Path, "/snapshot.") {
			return false
		}
		torn = true
		if err := s.repos[signers].Publish(); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[{"code":"METADATA_NOT_FOUND"}]}`))
		return true
	})
	dir, fresh := t.TempDir(), t.TempDir()
	s.save(t, dir)
	s.save(t, fresh)
	if names := differ(tree(t, fresh), tree(t, dir)); len(names) > 0 || !torn {
		t.Errorf("differs in %v", names)
	}
}

// A kill between the last blob and the index leaves the old index with new blobs.
func TestRunKilledBeforeTheIndexFindsItsBlobsAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t, signers)
	dir := t.TempDir()
	s.save(t, dir)
	index := filepath.Join(dir, ocispec.ImageIndexFile)
	old := tree(t, dir)
	must(t, s.repos[signers].Sign("v9", sha("9"), 9))
	must(t, s.repos[signers].Publish())
	s.save(t, dir)
	want := tree(t, dir)
	for name, f := range old { // what had been swept after the index
		must(t, os.WriteFile(filepath.Join(dir, name), f.Data, 0o644))
	}
	temporary := filepath.Join(blobDir(dir), "."+sha("1")+".tmp-123")
	must(t, os.WriteFile(temporary, []byte("half"), 0o600))
	if raw, err := os.ReadFile(index); err != nil || string(raw) != string(old["index.json"].Data) {
		t.Fatal("the old index is not in place")
	}
	if n, sum := s.cost(t, dir); n != 1 || sum.Changed != 1 {
		t.Errorf("%d requests, %+v", n, sum)
	}
	if names := differ(want, tree(t, dir)); len(names) > 0 {
		t.Errorf("differs in %v", names)
	}
}
