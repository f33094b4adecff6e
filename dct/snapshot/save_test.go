package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
)

func TestSnapshotGivesWhatTheServerGives(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested, rotated, many)
	dir := filepath.Join(t.TempDir(), "a", "b")
	if sum := s.save(t, dir); sum.Added != 5 {
		t.Errorf("got summary %+v, want 5 added", sum)
	}
	saved := opened(t, dir)
	if n := len(saved.GUNs()); n != 5 {
		t.Fatalf("got %d GUNs, want 5", n)
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
		t.Errorf("got %d targets, want %d", targets, 1+2+1+1+200)
	}
	// Whoever trusts the first root finds the way to the newest.
	first, err := saved.File(t.Context(), gun(t, rotated), "1.root", maxRoot)
	must(t, err)
	got, err := (&dct.Reader{Source: saved}).Read(t.Context(), gun(t, rotated), dct.Known{Root: first})
	must(t, err)
	if got.Version("root") != 3 {
		t.Errorf("got root version %d, want 3", got.Version("root"))
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
					t.Errorf("%s: got %d bytes, %v, want the %d of the server", name, len(raw), err, len(v.Raw))
				}
			}
		}
	}
	for _, name := range []string{"4.root", "01.root", "targets/releases", "targets." + sha("1"), "../oci-layout", ""} {
		if _, err := saved.File(t.Context(), gun(t, rotated), name, maxFile); !lookup.IsAbsent(err) {
			t.Errorf("%q: got %v, want that it is absent", name, err)
		}
	}
	if _, err := saved.File(t.Context(), gun(t, plain), "root", maxFile); !lookup.IsAbsent(err) {
		t.Errorf("a repository that is not there: got %v, want that it is absent", err)
	}
	if _, err := saved.File(t.Context(), gun(t, rotated), "root", 10); !errors.Is(err, dct.ErrRefused) {
		t.Errorf("a file beyond the limit: got %v, want %v", err, dct.ErrRefused)
	}
}

func TestSameTrustDataGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, rotated)
	one, two := t.TempDir(), t.TempDir()
	s.save(t, one)
	s.save(t, two)
	if names := differ(tree(t, one), tree(t, two)); len(names) > 0 {
		t.Errorf("two runs: got differences in %v, want none", names)
	}
	before := tree(t, one)
	later := atNoon()
	later.Now, later.Tool = nil, "a newer version"
	_, err := Save(t.Context(), one, s.reader(), s.guns(t), later)
	must(t, err)
	if names := differ(before, tree(t, one)); len(names) > 0 {
		t.Errorf("saving what is unchanged: got changes in %v, want none", names)
	}
}

func TestManifestTellsWhatItHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t, signers, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	saved := opened(t, dir)
	if got := saved.Saved().Format(time.RFC3339); got != "2026-05-01T11:00:00Z" {
		t.Errorf("saved: got %s, want when it was saved", got)
	}
	d, ok := saved.Manifest(gun(t, rotated))
	if !ok {
		t.Fatal("got no manifest, want one")
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
			t.Errorf("%s: got %q, want %q", key, m.Annotations[key], want)
		}
	}
	for _, role := range []string{"root", "root-cert", "timestamp", "snapshot", "targets"} {
		if m.Annotations[annotationExpires+"."+role] == "" {
			t.Errorf("got no expiry of %s, want one", role)
		}
	}
	var files []string
	for _, l := range m.Layers {
		files = append(files, l.Annotations[annotationFile])
	}
	if got := strings.Join(files, " "); got != "1.root 2.root root timestamp snapshot targets" {
		t.Errorf("got files %s, want 1.root 2.root root timestamp snapshot targets", got)
	}
	if _, ok := saved.Manifest(gun(t, plain)); ok {
		t.Error("a repository that is not there: got a manifest, want none")
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
		t.Fatalf("got summary %+v, seen %v, want 1 added, 2 failed, 3 seen", sum, seen)
	}
	// In the order of their names: one that the server does not have, one badly signed.
	if !errors.Is(sum.Attention[0].Err, dct.ErrUnsigned) || !errors.Is(sum.Attention[1].Err, dct.ErrRefused) {
		t.Errorf("got errors %v, want %v and %v", sum.Attention, dct.ErrUnsigned, dct.ErrRefused)
	}
	if n := len(tree(t, dir)); n != 8 {
		t.Errorf("got %d files, want 8: the layout, the index, one manifest, its config and 4 files", n)
	}
	reader := s.reader()
	reader.Pins = dct.Pins{}
	sum, err = Save(t.Context(), t.TempDir(), reader, s.guns(t), atNoon())
	must(t, err)
	if sum.Failed != 2 || !errors.Is(sum.Attention[0].Err, dct.ErrUnpinnedRoot) {
		t.Errorf("without pins: got %+v, want 2 failed with %v", sum, dct.ErrUnpinnedRoot)
	}
}

// A root version that does not lead to the newest cannot be proven and is not saved. The newest is
// pinned, so what rests on it is saved.
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
		t.Fatalf("got summary %+v, want 2 added and one warning of what is left out", sum)
	}
	saved := opened(t, dir)
	s.same(t, saved)
	if _, err := saved.File(t.Context(), gun(t, rotated), "2.root", maxRoot); !lookup.IsAbsent(err) {
		t.Errorf("2.root: got %v, want that it is absent", err)
	}
	// They are not requested again.
	if n, sum := s.cost(t, dir); n != 2 || sum.Unchanged != 2 {
		t.Errorf("got %d requests, %+v, want 2, and 2 unchanged", n, sum)
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
		t.Errorf("verified: got %+v, want one with %v", results, dct.ErrUnpinnedRoot)
	}
	reader := s.reader()
	reader.Pins = dct.Pins{}
	sum, err := Save(t.Context(), dir, reader, s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrUnpinnedRoot) {
		t.Errorf("saved: got %+v, want 1 kept with %v", sum, dct.ErrUnpinnedRoot)
	}
}

// cost saves again and returns the number of requests and the summary.
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
		t.Errorf("got %d requests, %+v, want 4, and 4 unchanged", n, sum)
	}
	must(t, s.repos[signers].Sign("v9", sha("9"), 9, "targets/releases"))
	must(t, s.repos[signers].Publish())
	// One for each, and the new snapshot and targets/releases.
	if n, sum := s.cost(t, dir); n != 4+2 || sum.Changed != 1 || sum.Unchanged != 3 {
		t.Errorf("after one role changed: got %d requests, %+v, want 6, 1 changed, 3 unchanged", n, sum)
	}
	s.same(t, opened(t, dir))
	must(t, s.repos[rotated].RotateRoot())
	must(t, s.repos[rotated].RotateRoot())
	// Two roots, timestamp and snapshot: the pin is of the newest. Versions 1 to 3 are saved.
	if n, sum := s.cost(t, dir); n != 3+4 || sum.Changed != 1 {
		t.Errorf("after two rotations: got %d requests, %+v, want 7, 1 changed", n, sum)
	}
	saved := opened(t, dir)
	s.same(t, saved)
	for v, h := range s.History(rotated, "root") {
		raw, err := saved.File(t.Context(), gun(t, rotated), chainName(v+1), maxRoot)
		if err != nil || string(raw) != string(h.Raw) {
			t.Errorf("root version %d: got %d bytes, %v, want the %d of the server", v+1, len(raw), err, len(h.Raw))
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
		t.Errorf("got summary %+v, want 1 kept with %v, 1 unchanged", sum, dct.ErrUnavailable)
	}
	s.SetHook(nil)
	s.Delete(signers)
	sum, err = Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrUnsigned) {
		t.Errorf("deleted: got %+v, want 1 kept with %v", sum, dct.ErrUnsigned)
	}
	// A repository that is not asked for is not removed either.
	_, err = Save(t.Context(), dir, s.reader(), nil, atNoon())
	must(t, err)
	if names := differ(before, tree(t, dir)); len(names) > 0 {
		t.Errorf("got changes in %v, want none", names)
	}
}

// People save what is left of a server before it goes: repositories that they may not read do not
// block the others.
func TestRefusedRepositoriesKeepNoOthersOut(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		s := newScene(t, nested)
		s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
			refused := !strings.Contains(r.URL.Path, "/nested/")
			if refused {
				w.WriteHeader(status)
			}
			return refused
		})
		var guns []dct.GUN
		for _, name := range []string{"a", "b", "c", "d"} {
			guns = append(guns, gun(t, "registry.example.com/team/"+name))
		}
		sum, err := Save(t.Context(), t.TempDir(), s.reader(), append(guns, gun(t, nested)), atNoon())
		must(t, err)
		if sum.Added != 1 || sum.Failed != 4 || len(sum.Attention) != 4 {
			t.Errorf("%d: got %+v, want 1 added, 4 failed and named", status, sum)
		}
	}
	// A server that is down is not asked ten thousand times.
	s, asked := newScene(t, nested), 0
	s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	var guns []dct.GUN
	for i := range 50 {
		guns = append(guns, gun(t, fmt.Sprint("registry.example.com/team/r", i)))
	}
	sum, err := Save(t.Context(), t.TempDir(), s.reader(), guns, atNoon())
	must(t, err)
	if sum.Failed != 50 || asked >= 50 {
		t.Errorf("down: got %d failed, %d requests, want 50 failed by far fewer requests", sum.Failed, asked)
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
		t.Fatalf("the test's own premise: got %v, want 1 target", err)
	}
	sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) {
		t.Errorf("rolled back: got %+v, want 1 kept with %v", sum, dct.ErrRefused)
	}
	// A repository of the same name with other keys, though they are pinned.
	sum, err = Save(t.Context(), dir, newScene(t, plain).reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) {
		t.Errorf("replaced: got %+v, want 1 kept with %v", sum, dct.ErrRefused)
	}
	if names := differ(before, tree(t, dir)); len(names) > 0 {
		t.Errorf("got changes in %v, want none", names)
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
		t.Fatalf("the test's own premise: got %v, want no error", err)
	}
	sum, err := Save(t.Context(), dir, reader, s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || !errors.Is(sum.Attention[0].Err, errOlder) || !errors.Is(sum.Attention[0].Err, dct.ErrRefused) {
		t.Errorf("got summary %+v, want 1 kept with %v", sum, errOlder)
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
		t.Errorf("got summary %+v, want 1 kept with %v that names role root", sum, dct.ErrRefused)
	}
}

func TestOnlyOneWriterAtATime(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	dir := t.TempDir()
	unlock, err := lock(dir)
	must(t, err)
	if _, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon()); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want %v", err, ErrLocked)
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
		t.Errorf("an updated snapshot and a new one: got differences in %v, want README.txt only", names)
	}
}

// A directory that is not a snapshot stays as it is: a writer removes blobs that no index lists.
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
			t.Errorf("%s: got %v, want an error that names %s", what, err, dir)
		}
		if names := differ(before, tree(t, dir)); len(names) > 0 {
			t.Errorf("%s: got changes in %v, want none", what, names)
		}
	}
}

// meeting makes those who ask for a root wait for each other, and counts how many met.
type meeting struct {
	dct.Source
	wanted    int
	full      chan struct{}
	mu        sync.Mutex
	now, most int
}

func (m *meeting) File(ctx context.Context, gun dct.GUN, name string, limit int64) ([]byte, error) {
	if name == "root" {
		m.mu.Lock()
		m.now++
		m.most = max(m.most, m.now)
		if m.now == m.wanted {
			close(m.full)
		}
		m.mu.Unlock()
		select {
		case <-m.full:
		case <-time.After(5 * time.Second):
		}
		defer func() {
			m.mu.Lock()
			m.now--
			m.mu.Unlock()
		}()
	}
	return m.Source.File(ctx, gun, name, limit)
}

// As many repositories are read in parallel as requested, and what is saved is the same.
func TestRepositoriesAreSavedSideBySide(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested, rotated)
	one := t.TempDir()
	s.save(t, one)
	four := t.TempDir()
	reader := s.reader()
	m := &meeting{Source: reader.Source, wanted: 4, full: make(chan struct{})}
	reader.Source = m
	o := atNoon()
	o.Readers = 4
	if _, err := Save(t.Context(), four, reader, s.guns(t), o); err != nil || m.most != 4 {
		t.Errorf("got %d at the same time, %v, want 4", m.most, err)
	}
	if names := differ(tree(t, one), tree(t, four)); len(names) > 0 {
		t.Errorf("got differences in %v, want none", names)
	}
}

// down does not answer for one registry, and counts the repositories requested from it.
type down struct {
	dct.Source
	host  string
	asked atomic.Int64
}

func (d *down) File(ctx context.Context, gun dct.GUN, name string, limit int64) ([]byte, error) {
	if gun.Registry() != d.host {
		return d.Source.File(ctx, gun, name, limit)
	}
	d.asked.Add(1)
	return nil, &dct.Error{GUN: gun.String(), Role: name, Kind: dct.ErrUnavailable, Err: errors.New("answered 503")}
}

// Each repository of a server that is down costs minutes of repetitions.
func TestServerThatIsDownIsAskedForAFewRepositories(t *testing.T) {
	t.Parallel()
	for _, readers := range []int{1, 8} {
		s := newScene(t, rotated)
		guns := s.guns(t)
		for i := range 1000 {
			guns = append(guns, gun(t, fmt.Sprintf("down.example.com/r%d", i)))
		}
		reader, o := s.reader(), atNoon()
		d := &down{Source: reader.Source, host: "down.example.com"}
		reader.Source, o.Readers = d, readers
		sum, err := Save(t.Context(), t.TempDir(), reader, guns, o)
		if err != nil || sum.Failed != 1000 || sum.Added != 1 {
			t.Errorf("%d readers: got %d added, %d failed, %v, want 1 and 1000", readers, sum.Added, sum.Failed, err)
		}
		if n := d.asked.Load(); n > int64(3+readers) {
			t.Errorf("%d readers: got %d repositories asked for, want at most %d", readers, n, 3+readers)
		}
		last := sum.Attention[len(sum.Attention)-1].Err
		if !errors.Is(last, dct.ErrUnavailable) || !strings.Contains(last.Error(), "not asked: the Notary server of down.example.com failed for") {
			t.Errorf("%d readers: got the reason %v, want %v of the server that failed", readers, last, dct.ErrUnavailable)
		}
	}
}

// Wherever a run ends, it leaves a snapshot. The next run completes it to what an undisturbed one
// writes.
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
			t.Fatalf("cut at %d: got %v, want %v or no error", cut, err, context.Canceled)
		}
		results, err := Verify(t.Context(), dir, s.reader(), nil)
		must(t, err)
		for _, r := range results {
			must(t, r.Err)
		}
		if len(results) != sum.Added {
			t.Errorf("cut at %d: got %d that are there, want the %d that were added", cut, len(results), sum.Added)
		}
		s.save(t, dir)
		if names := differ(tree(t, want), tree(t, dir)); len(names) > 0 {
			t.Fatalf("cut at %d: got differences in %v when completed, want none", cut, names)
		}
	}
}

// A long run that is killed leaves a snapshot of what it has read.
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
		t.Errorf("listed while saving: got %v, want [0 0 2]", there)
	}
}

// A publication during a read makes the reader start again. What it got before is not what it
// verified.
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
		t.Errorf("got differences in %v, torn %v, want none, torn", names, torn)
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
		t.Fatal("got another index, want the old one in place")
	}
	if n, sum := s.cost(t, dir); n != 1 || sum.Changed != 1 {
		t.Errorf("got %d requests, %+v, want 1, and 1 changed", n, sum)
	}
	if names := differ(want, tree(t, dir)); len(names) > 0 {
		t.Errorf("got differences in %v, want none", names)
	}
}
