package dct

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

func fileCache(t *testing.T) FileCache {
	t.Helper()
	return FileCache{Dir: filepath.Join(t.TempDir(), "kept"), Trouble: func(err error) { t.Error(err) }}
}

// cached reads through a cache and counts the requests.
func cached(t *testing.T, s *notarytest.Server, r *notarytest.Repository, c Cache, known Known) (*Repository, int64, error) {
	t.Helper()
	reader := pinned(s, r)
	reader.Cache = c
	before := s.Requests()
	got, err := read(t, reader, app, known)
	return got, s.Requests() - before, err
}

// Requests for each repository: at first four and one for each published delegation, one if
// nothing has changed, and otherwise what has changed.
func TestUnchangedRepositoryCostsOneRequest(t *testing.T) {
	t.Parallel()
	s, c := notary(t), fileCache(t)
	r := published(t, s, app, []string{"alice", "bob"}, func(r *notarytest.Repository) { must(t, r.Sign("v1", sha("1"), 5)) })
	delegations := int64(len(s.Roles(app)) - 4)
	cost := func(step string, want int64) {
		t.Helper()
		cold, err := read(t, pinned(s, r), app, Known{})
		must(t, err)
		got, n, err := cached(t, s, r, c, Known{})
		must(t, err)
		if n != want || show(got) != show(cold) || fmt.Sprint(got.Known()) != fmt.Sprint(cold.Known()) {
			t.Errorf("%s: %d requests, want %d\n%s", step, n, want, show(got))
		}
	}
	cost("first", 4+delegations)
	cost("again", 1)
	must(t, r.Sign("v2", sha("2"), 5))
	must(t, r.Publish())
	cost("one more tag", 2+delegations) // all signers sign it
	cost("again", 1)
	must(t, r.RotateRoot())
	cost("after a rotation", 3) // root, timestamp, snapshot: the pin is the new root's
	cost("again", 1)
}

// If the pin does not reveal a new root, the snapshot does: timestamp and snapshot are requested
// once more.
func TestNewRootIsFoundBehindTheCache(t *testing.T) {
	t.Parallel()
	s, c := notary(t), fileCache(t)
	r := one(t, s, app)
	first, _, err := cached(t, s, r, c, Known{})
	must(t, err)
	must(t, r.RotateRoot())
	reader := &Reader{Source: server(s), Cache: c}
	before := s.Requests()
	got, err := read(t, reader, app, first.Known())
	must(t, err)
	if n := s.Requests() - before; got.Version("root") != 2 || n != 5 {
		t.Errorf("got root version %d after %d requests, want 2 after 5", got.Version("root"), n)
	}
}

// The cache never answers for a server that is gone, or that does not tell the truth.
func TestCacheHidesNoFailure(t *testing.T) {
	t.Parallel()
	s, c := notary(t), fileCache(t)
	r := one(t, s, app)
	first, _, err := cached(t, s, r, c, Known{})
	must(t, err)
	for status, kind := range map[int]error{
		http.StatusUnauthorized: ErrDenied, http.StatusInternalServerError: ErrUnavailable, http.StatusMovedPermanently: ErrNotNotary, http.StatusNotFound: ErrNotNotary,
	} {
		s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
		if _, _, err := cached(t, s, r, c, first.Known()); !errors.Is(err, kind) {
			t.Errorf("status %d: got %v, want %v", status, err, kind)
		}
		s.SetHook(nil)
	}
	if _, n, err := cached(t, s, r, c, first.Known()); err != nil || n != 1 {
		t.Errorf("after the failures: got %d requests, %v, want 1 from the cache", n, err)
	}
	s.Close()
	if _, _, err := cached(t, s, r, c, first.Known()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("server gone: got %v, want %v", err, ErrUnavailable)
	}
}

// Cached files have no authority: pins, floors and dates apply to them as to a server's.
func TestCacheIsNoAuthority(t *testing.T) {
	t.Parallel()
	s, c := notary(t), fileCache(t)
	r := one(t, s, app)
	old, _, err := cached(t, s, r, c, Known{})
	must(t, err)
	reader := &Reader{Source: server(s), Cache: c}
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrUnpinnedRoot) {
		t.Errorf("only a kept root: got %v, want %v", err, ErrUnpinnedRoot)
	}
	reader.Pins = Pins{Certs: map[string][]string{app: {sha("1")}}}
	if _, err := read(t, reader, app, old.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("a kept root that is not the pinned one: got %v, want %v", err, ErrRefused)
	}
	// The server's earlier answers, replayed to a client that knows newer ones.
	was := map[string][]byte{}
	for _, role := range s.Roles(app) {
		was[role] = s.Raw(app, role)
	}
	must(t, r.Sign("v2", sha("2"), 5))
	must(t, r.Publish())
	newer, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	instead(s, "timestamp.json", was["timestamp"])
	if _, _, err := cached(t, s, r, c, newer.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("rolled back: got %v, want %v", err, ErrRefused)
	}
}

// Damage to the cache costs requests and nothing else.
func TestDamagedCacheCostsRequestsOnly(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	for name, harm := range map[string]func(raw []byte) []byte{
		"cut":         func(raw []byte) []byte { return raw[:len(raw)/2] },
		"empty":       func([]byte) []byte { return nil },
		"flipped":     func(raw []byte) []byte { return []byte(strings.ReplaceAll(string(raw), `"v1"`, `"v7"`)) },
		"of anything": func(raw []byte) []byte { return []byte(strings.Repeat("{", len(raw))) },
	} {
		c := fileCache(t)
		healthy, cold, err := cached(t, s, r, c, Known{})
		must(t, err)
		path := c.path(gun(t, app))
		raw, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, harm(slices.Clone(raw)), 0o600))
		c.Trouble = func(error) {}
		got, n, err := cached(t, s, r, c, Known{})
		if err != nil || show(got) != show(healthy) || n > 2*cold {
			t.Errorf("%s: got %d requests, %v, want the same targets with at most %d", name, n, err, 2*cold)
		}
		if _, n, err := cached(t, s, r, c, Known{}); err != nil || n != 1 {
			t.Errorf("%s: got %d requests, %v, want 1, as the cache is repaired", name, n, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	folders := FileCache{Dir: t.TempDir()}
	taken := folders.path(gun(t, app))
	must(t, os.MkdirAll(filepath.Join(taken, "full"), 0o700))
	long := t.TempDir() // the folder can be made, and no file in it
	for room := 4095 - len(filepath.Dir(FileCache{Dir: long}.path(gun(t, app)))); room > 1; {
		n := min(room-1, 200)
		if room-1-n == 1 {
			n-- // which no separator and name would fill
		}
		long, room = filepath.Join(long, strings.Repeat("a", n)), room-1-n
	}
	for name, dir := range map[string]string{"a file is its folder": file, "a folder is its file": folders.Dir, "its path is too long": long} {
		c := FileCache{Dir: dir}
		trouble := 0
		c.Trouble = func(error) { trouble++ }
		c.Keep(gun(t, app), [][]byte{[]byte("{}")})
		if trouble != 1 {
			t.Errorf("%s: got %d troubles in keeping, want 1", name, trouble)
		}
		if _, _, err := cached(t, s, r, c, Known{}); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(taken), ".new-*")); len(left) > 0 {
		t.Errorf("got %v left behind, want nothing", left)
	}
}
