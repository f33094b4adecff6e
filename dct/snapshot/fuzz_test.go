package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
)

// FuzzLayout reads an index and a manifest that the index may lead to. Whatever is opened
// has names that are GUNs and tags, gives each file by its hash or not at all, and reads
// the same when it is written again.
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
			v.list(t, descriptor(parsed, manifest))
			if s, err := v.open(); err != nil || len(s.entries) != 1 {
				t.Fatalf("a manifest that is one is refused: %v", err)
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
		t.Fatalf("read from\n%s\nit is written as\n%s", raw, again)
	}
}

func checkOpened(t *testing.T, v *vector) {
	s, err := v.open()
	if err != nil {
		if !errors.Is(err, dct.ErrRefused) {
			t.Fatalf("error of no kind: %v", err)
		}
		return
	}
	for _, gun := range s.GUNs() {
		if again, err := dct.ParseGUN(gun.String()); err != nil || again != gun {
			t.Fatalf("GUN %s: %v", gun, err)
		}
		e := s.entries[gun]
		for _, name := range append([]string{"root", "1.root", "timestamp"}, names(e.files)...) {
			raw, err := s.File(t.Context(), gun, name, maxFile)
			if err != nil {
				continue
			}
			if found, _ := e.find(name); digest.SHA256.FromBytes(raw) != found.digest {
				t.Fatalf("%s of %s is not what its manifest lists", name, gun)
			}
		}
	}
}

// names are those under which a reader asks for files.
func names(files []file) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.name, f.role+"."+f.digest.Encoded())
	}
	return list
}
