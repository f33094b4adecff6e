package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
)

// cost saves again and tells the requests and the summary.
func (s *scene) cost(t *testing.T, dir string) (int64, Summary) {
	t.Helper()
	before := s.Requests()
	sum := s.save(t, dir)
	return s.Requests() - before, sum
}

func TestUnchangedRepositoryCostsOneRequest(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	if n, sum := s.cost(t, dir); n != 4 || sum.Unchanged != 4 {
		t.Errorf("%d requests, %+v", n, sum)
	}
	must(t, s.repos[signers].Sign("v9", sha("9"), 9, "targets/releases"))
	must(t, s.repos[signers].Publish())
	// One for each, and the new snapshot and targets/releases.
	if n, sum := s.cost(t, dir); n != 4+2 || sum.Changed != 1 || sum.Unchanged != 3 {
		t.Errorf("after one role changed: %d requests, %+v", n, sum)
	}
	s.same(t, opened(t, dir))
	must(t, s.repos[rotated].RotateRoot())
	must(t, s.repos[rotated].RotateRoot())
	// Two roots, timestamp and snapshot: the pin is of the newest. Versions 1 to 3 are saved.
	if n, sum := s.cost(t, dir); n != 3+4 || sum.Changed != 1 {
		t.Errorf("after two rotations: %d requests, %+v", n, sum)
	}
	saved := opened(t, dir)
	s.same(t, saved)
	for v, h := range s.History(rotated, "root") {
		raw, err := saved.File(t.Context(), gun(t, rotated), chainName(v+1), maxRoot)
		if err != nil || string(raw) != string(h.Raw) {
			t.Errorf("root version %d: %v", v+1, err)
		}
	}
}

func TestFailingRepositoryKeepsWhatWasSaved(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	dir := t.TempDir()
	s.save(t, dir)
	before := tree(t, dir)
	s.refuse(signers)
	sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || sum.Unchanged != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrUnavailable) {
		t.Errorf("summary %+v", sum)
	}
	s.SetHook(nil)
	s.Delete(signers)
	sum, err = Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrUnsigned) {
		t.Errorf("deleted: %+v", sum)
	}
	// Not asked for is not removed either.
	_, err = Save(t.Context(), dir, s.reader(), nil, atNoon())
	must(t, err)
	if names := differ(before, tree(t, dir)); len(names) > 0 {
		t.Errorf("changed: %v", names)
	}
}

func TestOlderTrustDataDoesNotReplaceNewer(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	r := s.repos[plain]
	old := s.History(plain, "timestamp")
	must(t, r.Sign("v2", sha("2"), 2))
	must(t, r.Publish())
	dir := t.TempDir()
	s.save(t, dir)
	before := tree(t, dir)
	// All of yesterday's files fit together.
	yesterday := old[len(old)-1]
	s.Put(plain, "timestamp", yesterday.Number, yesterday.Raw)
	if got, err := s.reader().Read(t.Context(), gun(t, plain), dct.Known{}); err != nil || len(got.Targets()) != 1 {
		t.Fatalf("the test's own premise: %v", err)
	}
	sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) {
		t.Errorf("rolled back: %+v", sum)
	}
	// A repository of the same name with other keys, though they are pinned.
	sum, err = Save(t.Context(), dir, newScene(t, plain).reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) {
		t.Errorf("replaced: %+v", sum)
	}
	if names := differ(before, tree(t, dir)); len(names) > 0 {
		t.Errorf("changed: %v", names)
	}
}

// Both roots are pinned and everything is signed, by somebody who has the server's keys.
func TestOlderRootIsRefusedThoughTheSnapshotRoleListsIt(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	r := s.repos[plain]
	ids := r.RootKeyIDs()
	must(t, r.RotateRoot())
	dir := t.TempDir()
	s.save(t, dir)
	must(t, r.Replace("root", s.History(plain, "root")[0].Raw))
	reader := s.reader()
	reader.Pins.Certs[plain] = append(ids, r.RootKeyIDs()...)
	if _, err := reader.Read(t.Context(), gun(t, plain), dct.Known{}); err != nil {
		t.Fatalf("the test's own premise: %v", err)
	}
	sum, err := Save(t.Context(), dir, reader, s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, errOlder) || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) {
		t.Errorf("summary %+v", sum)
	}
}

// A root that nothing in the snapshot leads to is refused even under a higher version.
func TestNewRootMustFollowFromTheSavedOne(t *testing.T) {
	t.Parallel()
	s := newScene(t, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	other := newScene(t, rotated)
	for range 3 {
		must(t, other.repos[rotated].RotateRoot())
		must(t, other.repos[rotated].Sign("v2", sha("2"), 2))
		must(t, other.repos[rotated].Publish())
	}
	sum, err := Save(t.Context(), dir, other.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) || !strings.Contains(sum.Attention[0].Err.Error(), "role root") {
		t.Errorf("summary %+v", sum)
	}
}

func TestOnlyOneWriterAtATime(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	dir := t.TempDir()
	unlock, err := lock(dir)
	must(t, err)
	if _, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon()); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
	unlock()
	s.save(t, dir)
	s.same(t, opened(t, dir))
}

func TestBlobsOfReplacedManifestsAreRemoved(t *testing.T) {
	t.Parallel()
	s := newScene(t, signers)
	dir, fresh := t.TempDir(), t.TempDir()
	s.save(t, dir)
	must(t, s.repos[signers].Sign("v9", sha("9"), 9))
	must(t, s.repos[signers].Publish())
	mine := filepath.Join(dir, "README.txt")
	must(t, os.WriteFile(mine, []byte("ours"), 0o600))
	s.save(t, dir)
	s.save(t, fresh)
	if names := differ(tree(t, fresh), tree(t, dir)); strings.Join(names, " ") != "README.txt" {
		t.Errorf("an updated snapshot and a new one differ in %v", names)
	}
}

// What is no snapshot stays as it is: a writer removes blobs that no index lists.
func TestDirectoriesWithOtherThingsAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	image := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + sha("1") + `","size":2}]}`
	for what, files := range map[string]map[string]string{
		"a home":                     {".profile": "x"},
		"an image layout":            {"oci-layout": layoutFile, "index.json": image, "blobs/sha256/" + sha("1"): "{}"},
		"a layout without its index": {"oci-layout": layoutFile, "blobs/sha256/" + sha("1"): "{}"},
		"an index without a layout":  {"index.json": image},
		"blobs without a layout":     {"blobs/sha256/" + sha("1"): "{}"},
	} {
		dir := t.TempDir()
		for name, content := range files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		}
		before := tree(t, dir)
		if _, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon()); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", what, err)
		}
		if names := differ(before, tree(t, dir)); len(names) > 0 {
			t.Errorf("%s: changed %v", what, names)
		}
	}
}
