package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// vector is a layout with one repository whose files are fake: enough for what is read before
// signatures are.
type vector struct {
	files    fstest.MapFS
	manifest []byte
	index    []byte
}

func newVector(t testing.TB) *vector {
	t.Helper()
	var files []file
	layout := fstest.MapFS{
		"oci-layout": {Data: []byte(layoutFile)},
		blobName(ocispec.DescriptorEmptyJSON.Digest): {Data: []byte("{}")},
	}
	for _, name := range []string{"1.root", "root", "timestamp", "snapshot", "targets", "targets/releases"} {
		raw := []byte(`{"file":"` + name + `"}`)
		f := file{blobOf(raw), name, 2}
		if name == "1.root" {
			f.version = 1
		}
		files = append(files, f)
		layout[blobName(f.digest())] = &fstest.MapFile{Data: raw}
	}
	manifest, err := newManifest(gun(t, plain), files, map[string]string{annotationTool: "test"})
	must(t, err)
	v := &vector{files: layout, manifest: manifest}
	v.list(t, descriptor(gun(t, plain), blobOf(manifest)))
	return v
}

func (v *vector) list(t testing.TB, entries ...ocispec.Descriptor) {
	t.Helper()
	index, err := newIndex(entries)
	must(t, err)
	v.index = index
}

// open opens the vector with its manifest and index as they are now.
func (v *vector) open() (*Snapshot, error) {
	v.files[blobName(sumOf(v.manifest))] = &fstest.MapFile{Data: v.manifest}
	v.files["index.json"] = &fstest.MapFile{Data: v.index}
	return open(v.files)
}

// sed replaces text that must be present.
func sed(t testing.TB, raw []byte, old, replacement string) []byte {
	t.Helper()
	if !bytes.Contains(raw, []byte(old)) {
		t.Fatalf("got no %s, want it in %s", old, raw)
	}
	return bytes.Replace(raw, []byte(old), []byte(replacement), 1)
}

// refused checks that opening fails as it does for hostile layouts, with an error that says why.
func refused(t *testing.T, what string, v *vector, why ...string) {
	t.Helper()
	_, err := v.open()
	if !errors.Is(err, dct.ErrRefused) || !strings.Contains(err.Error(), "index.json") {
		t.Errorf("%s: got %v, want %v that names index.json", what, err, dct.ErrRefused)
	}
	for _, w := range why {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("%s: got %v, want an error that says %q", what, err, w)
		}
	}
}

func TestHostileIndexesAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := newVector(t).open(); err != nil {
		t.Fatalf("the vector itself: got %v, want no error", err)
	}
	hex := func(t *testing.T) string { return sumOf(newVector(t).manifest).Encoded() }
	for what, lie := range map[string][]string{
		"a path in a digest":       {"sha256:" + hex(t), "sha256:../../../../etc/passwd"},
		"another algorithm":        {"sha256:" + hex(t), "sha512:" + hex(t) + hex(t)},
		"capitals in a digest":     {hex(t), strings.ToUpper(hex(t))},
		"no digest":                {"sha256:" + hex(t), ""},
		"a size below zero":        {`"size":`, `"size":-`},
		"a size beyond all bounds": {`"size":`, `"size":9999`},
		"a nested index":           {ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex},
		"a key twice":              {`"manifests":`, `"manifests":[],"manifests":`},
		"a key in another case":    {`"manifests"`, `"Manifests"`},
		"an unknown key":           {`"schemaVersion":2`, `"schemaVersion":2,"x":1`},
		"another version":          {`"schemaVersion":2`, `"schemaVersion":3`},
		"another media type":       {ocispec.MediaTypeImageIndex, "text/plain"},
		"a GUN that is none":       {`"` + plain + `"`, `"../../etc"`},
		"a GUN in short":           {`"` + plain + `"`, `"plain"`},
		"a GUN not the manifest's": {`"` + plain + `"`, `"` + nested + `"`, nested + " is the manifest of " + plain},
		"another GUN's reference":  {refName(gun(t, plain)), refName(gun(t, nested)), "has the reference " + refName(gun(t, nested))},
		"an unknown annotation":    {annotationGUN, "io.example.gun", "unknown annotation io.example.gun"},
		"another artifact type":    {ArtifactType, "application/x", "artifact type of " + plain},
		"an unknown repository":    {hex(t) + `"`, sha("1") + `","x":"`},
		"data behind it":           {`{"schemaVersion"`, `{} {"schemaVersion"`},
	} {
		v := newVector(t)
		v.index = sed(t, v.index, lie[0], lie[1])
		refused(t, what, v, lie[2:]...)
	}
	v := newVector(t)
	d := descriptor(gun(t, plain), blobOf(v.manifest))
	v.list(t, d, d)
	refused(t, "a repository twice", v)
	d.Annotations = nil
	d.Digest = sumOf([]byte("not there"))
	v.list(t, d)
	refused(t, "a manifest that is missing, of a repository that is not known", v)
	for _, raw := range []string{"", "null", "[]", "{", strings.Repeat("[", 1e6)} {
		v.index = []byte(raw)
		refused(t, raw[:min(len(raw), 9)], v)
	}
}

func TestHostileManifestsAreRefused(t *testing.T) {
	t.Parallel()
	some := sumOf([]byte(`{"file":"targets"}`)).String()
	for what, lie := range map[string][]string{
		"a path in a digest":      {some, "sha256:../../../../etc/passwd"},
		"a file beyond bounds":    {`"size":18`, `"size":99999999999`},
		"a file of no size":       {`"size":18`, `"size":0`},
		"a file twice":            {`:"targets/releases","io.dct2notation.role":"targets/releases"`, `:"targets","io.dct2notation.role":"targets"`},
		"no root":                 {`"io.dct2notation.file":"root"`, `"io.dct2notation.file":"2.root"`},
		"a role that is none":     {`:"targets/releases","io.dct2notation.role":"targets/releases"`, `:"targets/../x","io.dct2notation.role":"targets/../x"`},
		"a name of another role":  {`"io.dct2notation.file":"targets/releases"`, `"io.dct2notation.file":"targets/bob"`},
		"another root version":    {`"io.dct2notation.file":"1.root"`, `"io.dct2notation.file":"3.root"`},
		"a version with a zero":   {`"io.dct2notation.file":"1.root"`, `"io.dct2notation.file":"01.root"`},
		"a version that is none":  {`"io.dct2notation.version":"1"`, `"io.dct2notation.version":"x"`},
		"an unknown annotation":   {`"io.dct2notation.version":"1"`, `"io.dct2notation.version":"1","x":"y"`},
		"another layer":           {MediaType, "application/x"},
		"addresses":               {`"size":18`, `"size":18,"urls":["http://127.0.0.1/"]`},
		"another config":          {`"data":"e30="`, `"data":"e31="`},
		"another artifact":        {ArtifactType, "application/x"},
		"a GUN that is none":      {`"` + plain + `"`, `"../../etc"`, "../../etc"},
		"a key twice":             {`"layers":`, `"layers":[],"layers":`},
		"a key in another case":   {`"layers"`, `"Layers"`},
		"an unknown key":          {`"layers"`, `"x":1,"layers"`},
		"another media type":      {ocispec.MediaTypeImageManifest, "application/x"},
		"a subject and our type":  {`"annotations":{"io.dct2notation.gun"`, `"subject":` + mustJSON(ocispec.DescriptorEmptyJSON) + `,"annotations":{"io.dct2notation.gun"`},
		"numbers of another form": {`"size":18`, `"size":1.8e1`},
	} {
		v := newVector(t)
		v.manifest = sed(t, v.manifest, lie[0], lie[1])
		v.list(t, descriptor(gun(t, plain), blobOf(v.manifest)))
		refused(t, what, v, lie[2:]...)
	}
}

// mustJSON encodes what can always be encoded.
func mustJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// tagPattern is the grammar of tags in the OCI distribution specification.
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

func TestReferencesAreTagsAndDiffer(t *testing.T) {
	t.Parallel()
	// They must not change: tools copy by them.
	for name, want := range map[string]string{"AZ.example.com:5000/az/09.b-c": "AZ.example.com_5000_az_09.b-c-", "docker.io/me/a0z9": "docker.io_me_a0z9-"} {
		if sum := strings.TrimPrefix(sumOf([]byte(name)).String(), "sha256:"); refName(gun(t, name)) != want+sum[:32] {
			t.Errorf("%s: got reference %s, want %s", name, refName(gun(t, name)), want+sum[:32])
		}
	}
	seen := map[string]string{}
	for _, name := range []string{
		plain, signers, "registry.example.com/a/b", "registry.example.com/a_b", "registry.example.com/a__b",
		"localhost:5000/a", "[2001:db8::1]:5000/a", "r.example.com/" + strings.Repeat("a", 100) + "/b", "r.example.com/" + strings.Repeat("a", 100) + "/c",
	} {
		ref := refName(gun(t, name))
		if before, ok := seen[ref]; ok {
			t.Errorf("%s and %s: got %s for both, want two names", before, name, ref)
		}
		seen[ref] = name
		if !tagPattern.MatchString(ref) {
			t.Errorf("got %s, want a tag", ref)
		}
	}
}

// FuzzLayout reads an index and a manifest that the index may list. Whatever opens has names that
// are GUNs and tags, returns each file by its hash or not at all, and reads the same when it is
// written again.
func FuzzLayout(f *testing.F) {
	v := newVector(f)
	f.Add(v.index, v.manifest)
	f.Add(v.index, []byte("{}"))
	f.Add([]byte(`{"schemaVersion":2,"manifests":null}`), v.manifest)
	f.Add(sed(f, v.index, sumOf(v.manifest).Encoded(), sha("1")), v.manifest)
	f.Add(bytes.ReplaceAll(v.index, []byte(annotationGUN), []byte("x")), v.manifest)
	f.Add(v.index, sed(f, v.manifest, `"1.root"`, `"3.root"`))
	f.Fuzz(func(t *testing.T, index, manifest []byte) {
		v := newVector(t)
		v.index, v.manifest = index, manifest
		checkManifest(t, manifest)
		checkOpened(t, v)
		// A fuzzer cannot make hashes, so the manifest is also listed as it should be.
		if parsed, _, err := parseManifest(manifest); err == nil {
			v.list(t, descriptor(parsed, blobOf(manifest)))
			if s, err := v.open(); err != nil || len(s.entries) != 1 {
				t.Fatalf("a manifest that is one: got %v, want it accepted with one entry", err)
			}
			checkOpened(t, v)
		}
	})
}

func checkManifest(t *testing.T, raw []byte) {
	gun, files, err := parseManifest(raw)
	if err != nil {
		return
	}
	var m struct{ Annotations map[string]string }
	must(t, json.Unmarshal(raw, &m))
	again, err := newManifest(gun, files, m.Annotations)
	must(t, err)
	var compact bytes.Buffer
	must(t, json.Compact(&compact, raw))
	if !bytes.Equal(again, compact.Bytes()) {
		t.Fatalf("read and written again: got\n%s, want\n%s", again, compact.Bytes())
	}
}

func checkOpened(t *testing.T, v *vector) {
	s, err := v.open()
	if err != nil {
		if !errors.Is(err, dct.ErrRefused) {
			t.Fatalf("got %v, want %v", err, dct.ErrRefused)
		}
		return
	}
	for _, gun := range s.GUNs() {
		if again, err := dct.ParseGUN(gun.String()); err != nil || again != gun {
			t.Fatalf("GUN %s: got %s, %v, want itself when read again", gun, again, err)
		}
		e := s.entries[gun]
		for _, name := range append([]string{"root", "1.root", "timestamp"}, names(e.files)...) {
			raw, err := s.File(t.Context(), gun, name, maxFile)
			if err != nil {
				continue
			}
			if found, _ := e.find(name); digest.SHA256.FromBytes(raw) != found.digest() {
				t.Fatalf("%s of %s: got %s, want %s, as its manifest lists", name, gun, digest.SHA256.FromBytes(raw), found.digest())
			}
		}
	}
}

// names returns the names under which a reader requests files.
func names(files []file) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.name, f.role()+"."+f.digest().Encoded())
	}
	return list
}
