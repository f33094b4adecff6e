package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
)

func TestSnapshotGivesWhatTheServerGives(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested, rotated, many)
	dir := filepath.Join(t.TempDir(), "a", "b")
	if sum := s.save(t, dir); sum.Added != 5 {
		t.Errorf("summary %+v", sum)
	}
	saved := opened(t, dir)
	if n := len(saved.GUNs()); n != 5 {
		t.Fatalf("%d GUNs", n)
	}
	s.same(t, saved)
	results, err := Verify(t.Context(), dir, s.reader(), nil)
	must(t, err)
	targets := 0
	for _, r := range results {
		must(t, r.Err)
		targets += r.Targets
	}
	if targets != 1+2+1+1+200 {
		t.Errorf("%d targets", targets)
	}
	// Who trusts the first root finds the way to the newest.
	first, err := saved.File(t.Context(), gun(t, rotated), "1.root", maxRoot)
	must(t, err)
	got, err := (&dct.Reader{Source: saved}).Read(t.Context(), gun(t, rotated), dct.Known{Root: first})
	must(t, err)
	if got.Version("root") != 3 {
		t.Errorf("root version %d", got.Version("root"))
	}
}

func TestFilesAreFoundByAllTheirNames(t *testing.T) {
	t.Parallel()
	s := newScene(t, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	saved := opened(t, dir)
	for _, role := range s.Roles(rotated) {
		for _, v := range s.History(rotated, role) {
			names := []string{}
			if role == "root" {
				names = append(names, chainName(v.Number))
			}
			if string(v.Raw) == string(s.Raw(rotated, role)) {
				names = append(names, role, role+"."+v.SHA256)
			}
			for _, name := range names {
				raw, err := saved.File(t.Context(), gun(t, rotated), name, maxFile)
				if err != nil || string(raw) != string(v.Raw) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	for _, name := range []string{"4.root", "01.root", "targets/releases", "targets." + sha("1"), "../oci-layout", ""} {
		if _, err := saved.File(t.Context(), gun(t, rotated), name, maxFile); !lookup.IsAbsent(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := saved.File(t.Context(), gun(t, plain), "root", maxFile); !lookup.IsAbsent(err) {
		t.Errorf("a repository that is not there: %v", err)
	}
	if _, err := saved.File(t.Context(), gun(t, rotated), "root", 10); !errors.Is(err, dct.ErrRefused) {
		t.Errorf("a file beyond the limit: %v", err)
	}
}

func TestSameTrustDataGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, rotated)
	one, two := t.TempDir(), t.TempDir()
	s.save(t, one)
	s.save(t, two)
	if names := differ(tree(t, one), tree(t, two)); len(names) > 0 {
		t.Errorf("two runs differ in %v", names)
	}
	before := tree(t, one)
	later := atNoon()
	later.Now, later.Tool = nil, "a newer version"
	_, err := Save(t.Context(), one, s.reader(), s.guns(t), later)
	must(t, err)
	if names := differ(before, tree(t, one)); len(names) > 0 {
		t.Errorf("saving what is unchanged changes %v", names)
	}
}

func TestManifestTellsWhatItHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t, signers, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	saved := opened(t, dir)
	d, ok := saved.Manifest(gun(t, rotated))
	if !ok {
		t.Fatal("no manifest")
	}
	raw, err := os.ReadFile(filepath.Join(dir, blobName(d.Digest)))
	must(t, err)
	var m ocispec.Manifest
	must(t, json.Unmarshal(raw, &m))
	for key, want := range map[string]string{
		annotationGUN: rotated, annotationTool: "dct2notation test", annotationSaved: "2026-05-01T11:00:00Z",
		annotationServer: "https://notary.example.com/registry.example.com", annotationVersion + ".root": "3",
	} {
		if m.Annotations[key] != want {
			t.Errorf("%s is %q", key, m.Annotations[key])
		}
	}
	for _, role := range []string{"root", "root-cert", "timestamp", "snapshot", "targets"} {
		if m.Annotations[annotationExpires+"."+role] == "" {
			t.Errorf("no expiry of %s", role)
		}
	}
	var files []string
	for _, l := range m.Layers {
		files = append(files, l.Annotations[annotationFile])
	}
	if got := strings.Join(files, " "); got != "1.root 2.root root timestamp snapshot targets" {
		t.Errorf("files %s", got)
	}
	if _, ok := saved.Manifest(gun(t, plain)); ok {
		t.Error("a manifest of a repository that is not there")
	}
}

func TestNothingUnverifiedIsSaved(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	must(t, s.repos[signers].BadSignature("targets/releases"))
	dir := t.TempDir()
	var seen []Saved
	o := atNoon()
	o.Observe = func(done Saved) { seen = append(seen, done) }
	sum, err := Save(t.Context(), dir, s.reader(), append(s.guns(t), gun(t, nested)), o)
	must(t, err)
	if sum.Added != 1 || sum.Failed != 2 || len(sum.Attention) != 2 || len(seen) != 3 {
		t.Fatalf("summary %+v", sum)
	}
	// In the order of their names: one that the server does not have, one badly signed.
	if !errors.Is(sum.Attention[0].Err, dct.ErrUnsigned) || !errors.Is(sum.Attention[1].Err, dct.ErrRefused) {
		t.Errorf("errors %v", sum.Attention)
	}
	if n := len(tree(t, dir)); n != 8 {
		t.Errorf("%d files, and the layout, the index, one manifest, its config and 4 files are wanted", n)
	}
	reader := s.reader()
	reader.Pins = dct.Pins{}
	sum, err = Save(t.Context(), t.TempDir(), reader, s.guns(t), atNoon())
	must(t, err)
	if sum.Failed != 2 || !errors.Is(sum.Attention[0].Err, dct.ErrUnpinnedRoot) {
		t.Errorf("without pins: %+v", sum)
	}
}

// A root version that does not lead to the newest cannot be proven and is not saved; the
// newest is pinned, and what rests on it is.
func TestOldRootsThatDoNotLeadToTheNewestAreLeftOut(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, rotated)
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, rotated+"/_trust/tuf/1.root.json") {
			return false
		}
		_, _ = w.Write(s.Raw(plain, "root"))
		return true
	})
	dir := t.TempDir()
	sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Added != 2 || len(sum.Attention) != 1 || !strings.Contains(sum.Attention[0].Warning, "before version 3 are left out") {
		t.Fatalf("summary %+v", sum)
	}
	saved := opened(t, dir)
	s.same(t, saved)
	if _, err := saved.File(t.Context(), gun(t, rotated), "2.root", maxRoot); !lookup.IsAbsent(err) {
		t.Errorf("2.root: %v", err)
	}
	// They are not asked for again.
	if n, sum := s.cost(t, dir); n != 2 || sum.Unchanged != 2 {
		t.Errorf("%d requests, %+v", n, sum)
	}
	results, err := Verify(t.Context(), dir, s.reader(), nil)
	must(t, err)
	for _, r := range results {
		must(t, r.Err)
	}
}

// A snapshot vouches for nothing: without pins its roots are as unknown as a server's.
func TestSnapshotIsNoPin(t *testing.T) {
	t.Parallel()
	s := newScene(t, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	results, err := Verify(context.Background(), dir, &dct.Reader{}, nil)
	must(t, err)
	if len(results) != 1 || !errors.Is(results[0].Err, dct.ErrUnpinnedRoot) {
		t.Errorf("verified: %+v", results)
	}
	reader := s.reader()
	reader.Pins = dct.Pins{}
	sum, err := Save(t.Context(), dir, reader, s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrUnpinnedRoot) {
		t.Errorf("saved: %+v", sum)
	}
}
