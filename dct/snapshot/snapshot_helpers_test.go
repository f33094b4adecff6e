package snapshot

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

const (
	plain   = "docker.io/library/plain"
	signers = "registry.example.com:5000/team/signers"
	nested  = "registry.example.com/team/nested"
	rotated = "registry.example.com/team/rotated"
	many    = "registry.example.com/team/many"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scene is a server with a repository of each requested shape.
type scene struct {
	*notarytest.Server
	repos map[string]*notarytest.Repository
}

// shapes publish what a repository of that name has.
var shapes = map[string]func(t testing.TB, r *notarytest.Repository){
	plain: func(t testing.TB, r *notarytest.Repository) { must(t, r.Sign("v1", sha("1"), 1)) },
	signers: func(t testing.TB, r *notarytest.Repository) {
		must(t, r.Sign("v1", sha("a1"), 1))
		must(t, r.Sign("old", sha("a0"), 1))
		must(t, r.Publish())
		must(t, r.AddSigner("alice"))
		must(t, r.AddSigner("bob"))
		must(t, r.Sign("v1", sha("2"), 2))
		must(t, r.Sign("v3", sha("3"), 3, "targets/bob"))
	},
	nested: func(t testing.TB, r *notarytest.Repository) {
		for _, role := range []string{"targets/releases", "targets/releases/deep", "targets/never-published"} {
			must(t, r.AddDelegation(role, []string{""}))
		}
		must(t, r.Sign("v1", sha("4"), 4, "targets"))
		must(t, r.Sign("v2", sha("5"), 5, "targets/releases"))
		must(t, r.Sign("v1", sha("6"), 6, "targets/releases/deep"))
	},
	rotated: func(t testing.TB, r *notarytest.Repository) {
		must(t, r.RotateRoot())
		must(t, r.RotateRoot())
		must(t, r.Sign("v1", sha("7"), 7))
	},
	many: func(t testing.TB, r *notarytest.Repository) {
		for i := range 200 {
			must(t, r.Sign(fmt.Sprint("v", i), sha(fmt.Sprintf("%x", i+1)), 8))
		}
	},
}

func newScene(t testing.TB, names ...string) *scene {
	t.Helper()
	s, err := notarytest.Start(notarytest.Options{})
	must(t, err)
	t.Cleanup(s.Close)
	sc := &scene{s, map[string]*notarytest.Repository{}}
	for _, name := range names {
		r, err := s.NewRepository(name)
		must(t, err)
		shapes[name](t, r)
		must(t, r.Publish())
		sc.repos[name] = r
	}
	return sc
}

// sha makes a digest's 64 digits from a short mark.
func sha(mark string) string { return strings.Repeat("0", 64-len(mark)) + mark }

// reader reads from the server with every repository's root pinned.
func (s *scene) reader() *dct.Reader {
	pins := dct.Pins{Certs: map[string][]string{}}
	for name, r := range s.repos {
		pins.Certs[name] = r.RootKeyIDs()
	}
	client := s.HTTPClient()
	return &dct.Reader{Pins: pins, Source: &dct.Server{
		URL: func(string) string { return s.URL() }, HTTP: func(string) dct.Doer { return client },
	}}
}

func (s *scene) guns(t testing.TB) []dct.GUN {
	t.Helper()
	var guns []dct.GUN
	for name := range s.repos {
		guns = append(guns, gun(t, name))
	}
	return guns
}

func gun(t testing.TB, name string) dct.GUN {
	t.Helper()
	g, err := dct.ParseGUN(name)
	must(t, err)
	return g
}

// atNoon returns options that do not depend on the time of the run.
func atNoon() Options {
	return Options{
		Tool:   "dct2notation test",
		Server: func(registry string) string { return "https://user:secret@notary.example.com/" + registry },
		Now:    func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 5, time.FixedZone("", 3600)) },
	}
}

// save saves everything and expects success.
func (s *scene) save(t testing.TB, dir string) Summary {
	t.Helper()
	sum, err := Save(context.Background(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	for _, a := range sum.Attention {
		t.Errorf("%s: got %v %s, want no attention", a.GUN, a.Err, a.Warning)
	}
	return sum
}

// tree reads a directory into memory, without the lock.
func tree(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || p == lockName {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(dir, p))
		files[p] = &fstest.MapFile{Data: raw, Mode: 0o644}
		return err
	}))
	return files
}

// differ returns the names of the files in which two trees differ.
func differ(a, b fstest.MapFS) []string {
	var names []string
	for name, f := range a {
		if g, ok := b[name]; !ok || string(f.Data) != string(g.Data) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// show returns everything that a Repository says.
func show(r *dct.Repository) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.GUN(), r.PinnedBy(), r.RootKeyIDs(), r.Expired(), r.Expiries())
	for _, t := range r.Targets() {
		fmt.Fprintln(&b, t.Tag(), t.Digest(), t.Size(), t.Role(), t.Version(), t.Signers(), t.Flags())
	}
	fmt.Fprintln(&b, r.Findings(), r.Known())
	return b.String()
}

// same checks that a source returns what the server returns, for every repository.
func (s *scene) same(t testing.TB, source dct.Source) {
	t.Helper()
	for _, g := range s.guns(t) {
		want, err := s.reader().Read(t.Context(), g, dct.Known{})
		must(t, err)
		reader := s.reader()
		reader.Source = source
		got, err := reader.Read(t.Context(), g, dct.Known{})
		if err != nil {
			t.Errorf("%s: got %v, want no error", g, err)
		} else if show(got) != show(want) || len(got.Targets()) == 0 {
			t.Errorf("got\n%s, want\n%s", show(got), show(want))
		}
	}
}

// opened opens a snapshot and closes it when the test ends.
func opened(t testing.TB, dir string) *Snapshot {
	t.Helper()
	s, err := Open(dir)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// refuse makes the server fail for one repository.
func (s *scene) refuse(name string) {
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/"+name+"/") {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
}
