package snapshot

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
)

func TestMissingAndTruncatedFilesAreFoundAndNamed(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	layout := tree(t, dir)
	names := whose(t, layout)
	for file, f := range layout {
		for what, change := range map[string]func(fstest.MapFS){
			"missing":   func(l fstest.MapFS) { delete(l, file) },
			"empty":     func(l fstest.MapFS) { l[file] = &fstest.MapFile{Mode: 0o644} },
			"truncated": func(l fstest.MapFS) { l[file] = &fstest.MapFile{Mode: 0o644, Data: f.Data[:len(f.Data)-1]} },
			"longer": func(l fstest.MapFS) {
				l[file] = &fstest.MapFile{Mode: 0o644, Data: append(f.Data[:len(f.Data):len(f.Data)], 'x')}
			},
		} {
			damaged := maps.Clone(layout)
			change(damaged)
			v := verdict(t, damaged)
			if v == "" {
				t.Errorf("%s %s: got nothing found, want a finding", file, what)
			}
			for _, name := range names[file] {
				if !strings.Contains(v, name) {
					t.Errorf("%s %s: got %s, want it to name %s", file, what, v, name)
				}
			}
		}
	}
	// An extra file belongs to nothing and changes nothing.
	layout["blobs/sha256/"+sha("1")] = &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
	layout["blobs/sha512/x"] = &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
	if v := verdict(t, layout); v != "" {
		t.Errorf("extra files: got %s, want nothing found", v)
	}
}

// Damage affects only its own repository, and never makes that one look unsigned.
func TestDamageIsOfItsKindAndOfItsRepository(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	dir := t.TempDir()
	s.save(t, dir)
	saved := opened(t, dir)
	root, _ := saved.entries[gun(t, plain)].find("root")
	for _, blob := range []string{blobName(root.digest()), blobName(saved.entries[gun(t, plain)].manifest.digest())} {
		layout := tree(t, dir)
		file := layout[blob]
		for what, kind := range map[string]error{"missing": dct.ErrIncomplete, "flipped": dct.ErrRefused} {
			delete(layout, blob)
			if what == "flipped" {
				file.Data[3] ^= 1
				layout[blob] = file
			}
			source, err := open(layout)
			must(t, err)
			reader := s.reader()
			reader.Source = source
			_, err = reader.Read(t.Context(), gun(t, plain), dct.Known{})
			var named *dct.Error
			if !errors.Is(err, kind) || errors.Is(err, dct.ErrUnsigned) || lookup.IsAbsent(err) || !errors.As(err, &named) || named.GUN != plain {
				t.Errorf("%s %s: got %v, want %v of %s", blob, what, err, kind, plain)
			}
			if _, err := reader.Read(t.Context(), gun(t, signers), dct.Known{}); err != nil {
				t.Errorf("the other repository: got %v, want no error", err)
			}
			if n := len(source.GUNs()); n != 2 {
				t.Errorf("got %d GUNs, want 2", n)
			}
			if what == "flipped" {
				file.Data[3] ^= 1
			}
		}
	}
}

func TestSavingAgainRepairsDamage(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	want := tree(t, dir)
	for file := range want {
		if !strings.HasPrefix(file, "blobs/") {
			continue
		}
		path := filepath.Join(dir, file)
		for what, damage := range map[string]func() error{
			"missing": func() error { return os.Remove(path) },
			"flipped": func() error { return os.WriteFile(path, append([]byte("x"), want[file].Data[1:]...), 0o600) },
		} {
			must(t, damage())
			s.save(t, dir)
			if names := differ(want, tree(t, dir)); len(names) > 0 {
				t.Errorf("%s %s: got differences in %v, want it repaired", file, what, names)
			}
		}
	}
}

// Nobody knows which blobs a damaged manifest lists, so all of them stay.
func TestBlobsOfADamagedManifestStay(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	dir := t.TempDir()
	s.save(t, dir)
	want := tree(t, dir)
	manifest, _ := opened(t, dir).Manifest(gun(t, plain))
	path := filepath.Join(dir, blobName(manifest.Digest))
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	s.refuse(plain)
	sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon())
	must(t, err)
	if sum.Kept != 1 || sum.Unchanged != 1 {
		t.Errorf("got summary %+v, want 1 kept, 1 unchanged", sum)
	}
	must(t, os.WriteFile(path, want[blobName(manifest.Digest)].Data, 0o600))
	if names := differ(want, tree(t, dir)); len(names) > 0 {
		t.Errorf("got differences in %v, want none", names)
	}
}

// A snapshot with good hashes whose old root is another repository's.
func TestForgedRootChainIsFound(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	layout := tree(t, dir)
	saved, err := open(layout)
	must(t, err)
	files := saved.entries[gun(t, rotated)].files
	forged := s.Raw(plain, "root")
	files[0].blob = blobOf(forged)
	manifest, err := newManifest(gun(t, rotated), files, map[string]string{})
	must(t, err)
	index, err := newIndex([]ocispec.Descriptor{descriptor(gun(t, rotated), blobOf(manifest))})
	must(t, err)
	for _, f := range [][]byte{forged, manifest} {
		layout[blobName(sumOf(f))] = &fstest.MapFile{Data: f, Mode: 0o644}
	}
	layout["index.json"] = &fstest.MapFile{Data: index, Mode: 0o644}
	saved, err = open(layout)
	must(t, err)
	if r := saved.verify(t.Context(), gun(t, rotated), *s.reader(), nil); !errors.Is(r.Err, dct.ErrRefused) {
		t.Errorf("got %v, want %v", r.Err, dct.ErrRefused)
	}
}

func TestLinksAndPipesAreNotFollowed(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	for _, what := range []string{"oci-layout", "index.json", "blobs", "blobs/sha256", "a blob"} {
		dir, elsewhere := t.TempDir(), t.TempDir()
		s.save(t, dir)
		path := filepath.Join(dir, what)
		if what == "a blob" {
			f, _ := opened(t, dir).entries[gun(t, plain)].find("targets")
			path = filepath.Join(dir, blobName(f.digest()))
		}
		moved := filepath.Join(elsewhere, "moved")
		must(t, os.Rename(path, moved))
		if err := os.Symlink(moved, path); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		results, err := Verify(t.Context(), dir, s.reader(), nil)
		if err == nil && (len(results) != 1 || results[0].Err == nil) {
			t.Errorf("%s: got no error, want a link refused", what)
		}
		if _, err := Save(t.Context(), dir, s.reader(), s.guns(t), atNoon()); err == nil && what != "a blob" {
			t.Errorf("%s: got no error, want no saving through a link", what)
		}
		if what == "a blob" {
			s.same(t, opened(t, dir)) // the link was replaced
		}
	}
}

// The reader that verifies judges what has expired.
func TestExpiryIsTheReadersMatter(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	dir := t.TempDir()
	s.save(t, dir)
	reader := s.reader()
	reader.At = opened(t, dir).expiry(t, reader, "timestamp").AddDate(0, 0, 1)
	results, err := Verify(t.Context(), dir, reader, nil)
	must(t, err)
	if len(results) != 1 || !errors.Is(results[0].Err, dct.ErrExpired) {
		t.Errorf("got results %+v, want one with %v", results, dct.ErrExpired)
	}
	reader.AllowExpired = []string{"timestamp"}
	results, err = Verify(t.Context(), dir, reader, nil)
	must(t, err)
	if results[0].Err != nil || strings.Join(results[0].Expired, " ") != "timestamp" || results[0].PinnedBy != dct.PinnedConfig {
		t.Errorf("got results %+v, want no error, timestamp expired, pinned by %v", results, dct.PinnedConfig)
	}
}

// expiry returns when a role expires.
func (s *Snapshot) expiry(t *testing.T, reader *dct.Reader, role string) time.Time {
	t.Helper()
	r := *reader
	for _, e := range s.verify(t.Context(), s.GUNs()[0], r, nil).Expiries {
		if e.Role == role {
			return e.At
		}
	}
	t.Fatalf("got no expiry of %s, want one", role)
	return time.Time{}
}

// verdict returns what Verify says of a layout's files before it looks at signatures, as one text;
// empty if all is well.
func verdict(t *testing.T, layout fstest.MapFS) string {
	t.Helper()
	s, err := open(layout)
	if err != nil {
		return err.Error()
	}
	return s.verdict(t)
}

func (s *Snapshot) verdict(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, gun := range s.GUNs() {
		if err := s.intact(t.Context(), gun); err != nil {
			all.WriteString(err.Error() + "\n")
		}
	}
	return all.String()
}

// whose returns, by damaged file, what a verdict must name.
func whose(t *testing.T, layout fstest.MapFS) map[string][]string {
	t.Helper()
	s, err := open(layout)
	must(t, err)
	names := map[string][]string{"oci-layout": {"oci-layout"}, "index.json": {"index.json"}}
	names[blobName(ocispec.DescriptorEmptyJSON.Digest)] = []string{"config"}
	for gun, e := range s.entries {
		names[blobName(e.manifest.digest())] = []string{gun.String(), "manifest", blobName(e.manifest.digest())}
		for _, f := range e.files {
			names[blobName(f.digest())] = []string{gun.String(), "role " + f.role(), "file " + f.name, blobName(f.digest())}
		}
	}
	if len(names) != len(layout) {
		t.Fatalf("got %d files that belong to something, want %d", len(names), len(layout))
	}
	return names
}

// Every byte of every file of a snapshot is covered.
func TestEveryFlippedBitIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	s := newScene(t, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	layout := tree(t, dir)
	saved, err := open(layout)
	must(t, err)
	if v := saved.verdict(t); v != "" {
		t.Fatal(v)
	}
	for file, wanted := range whose(t, layout) {
		f := layout[file]
		// Files that opening reads are opened anew each time; the others are read later.
		judge := func() string { return verdict(t, layout) }
		if strings.Contains(strings.Join(wanted, " "), "file ") {
			judge = func() string { return saved.verdict(t) }
		}
		for i := range f.Data {
			for _, bit := range bits(file, i) {
				f.Data[i] ^= bit
				v := judge()
				f.Data[i] ^= bit
				if v == "" {
					t.Errorf("%s byte %d bit %d: got nothing found, want a finding", file, i, bit)
				}
				for _, name := range wanted {
					if !strings.Contains(v, name) {
						t.Fatalf("%s byte %d: got %s, want it to name %s", file, i, v, name)
					}
				}
			}
		}
	}
}

// bits returns the bits to flip in a byte of a file. For names that no hash covers, the one that
// changes case is among them.
func bits(file string, i int) []byte {
	if strings.HasPrefix(file, "blobs/") {
		return []byte{1 << (i % 8)}
	}
	return []byte{1 << (i % 8), 0x20}
}
