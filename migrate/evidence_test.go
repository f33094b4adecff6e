package migrate

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// aReport returns the manifest of a report after change.
func aReport(t *testing.T, change func(map[string]any)) []byte {
	t.Helper()
	m := map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "artifactType": ReportType, "config": ocispec.DescriptorEmptyJSON,
		"layers": []map[string]any{{
			"mediaType": "text/csv", "digest": digest.FromString("x"), "size": 1,
			"annotations": map[string]string{ocispec.AnnotationTitle: "run.csv"},
		}},
		"annotations": map[string]string{MetadataReport + ".of": "run"},
	}
	change(m)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Promise 1: a report is signed, but nothing that anybody could run.
func TestNeverASignatureThatDCTDidNotVouchFor_Evidence(t *testing.T) {
	t.Parallel()
	k := &key{}
	a := &Attestor{Signer: k, Tool: "test/1"}
	raw := aReport(t, func(map[string]any) {})
	e, err := NewEvidence(raw)
	if err == nil {
		_, err = a.AttestReport(context.Background(), e)
	}
	if err != nil || len(k.asked) != 1 || k.asked[0].Digest != digest.FromBytes(raw) || k.metadata[MetadataReport] != "run" || k.metadata[MetadataGUN] != "" {
		t.Errorf("a report: got %v, asked for %v with %v, want one of %s, of a run and no repository", err, k.asked, k.metadata, digest.FromBytes(raw))
	}
	layer := func(field string, to any) func(map[string]any) {
		return func(m map[string]any) { m["layers"].([]map[string]any)[0][field] = to }
	}
	for name, change := range map[string]func(map[string]any){
		"an image's configuration": func(m map[string]any) {
			m["config"] = map[string]any{"mediaType": ocispec.MediaTypeImageConfig, "digest": digest.FromString("c"), "size": 1}
		},
		"other bytes of that type": func(m map[string]any) {
			m["config"] = map[string]any{"mediaType": ocispec.MediaTypeEmptyJSON, "digest": digest.FromString("c"), "size": 2}
		},
		"another type":            func(m map[string]any) { m["artifactType"] = "application/vnd.other" },
		"no type":                 func(m map[string]any) { delete(m, "artifactType") },
		"saved trust data":        func(m map[string]any) { m["artifactType"] = snapshot.ArtifactType },
		"an index":                func(m map[string]any) { m["mediaType"] = ocispec.MediaTypeImageIndex },
		"an index as well":        func(m map[string]any) { m["manifests"] = []any{} },
		"about something else":    func(m map[string]any) { m["subject"] = ocispec.DescriptorEmptyJSON },
		"no files":                func(m map[string]any) { m["layers"] = []any{} },
		"a layer of an image":     layer("mediaType", ocispec.MediaTypeImageLayerGzip),
		"a docker layer":          layer("mediaType", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
		"a file without a name":   layer("annotations", map[string]string{}),
		"a field in another case": func(m map[string]any) { m["Config"] = m["config"] },
		"schema 1":                func(m map[string]any) { m["schemaVersion"] = 1 },
	} {
		if _, err := NewEvidence(aReport(t, change)); err == nil {
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
	twice := strings.Replace(string(raw), `"schemaVersion"`, `"artifactType":"application/vnd.other","schemaVersion"`, 1)
	if _, err := NewEvidence([]byte(twice)); err == nil {
		t.Error("a field twice: got no error, want it refused")
	}
	if _, err := a.AttestReport(context.Background(), Evidence{}); failure.Of(err) != failure.Security || len(k.asked) != 1 {
		t.Errorf("the zero Evidence: got %v, %d key operations, want %s and 1", err, len(k.asked), failure.Security)
	}
}
