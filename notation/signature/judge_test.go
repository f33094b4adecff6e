package signature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/notation"
)

// The verdict on an image is that of its best signature. A broken one hides no good one, and one
// that could not be read leaves the verdict unknown.
func TestJudgeLooksAtEverySignature(t *testing.T) {
	k := newCounter(t)
	k.trust(t)
	foreign, err := pki.NewAuthority("foreign")
	must(t, err)
	ask := func() (Verdict, error) {
		t.Helper()
		v, err := notation.OpenVerifier(notation.VerifierOptions{})
		must(t, err)
		return Judge{Verifier: v}.Judge(context.Background(), k.open(t), k.repository.Name(), k.image.Digest, func(context.Context) (ocispec.Descriptor, error) { return k.image, nil })
	}
	for _, c := range []struct {
		name       string
		sign       func()
		signatures int
		trusted    bool
	}{
		{"none", func() {}, 0, false},
		{"foreign", func() { k.sign(t, k.key(t, foreign)) }, 1, false},
		{"foreign and trusted", func() { k.sign(t, k.signer) }, 2, true},
	} {
		c.sign()
		v, err := ask()
		if err != nil || v.Signatures != c.signatures || v.Trusted != c.trusted || (v.Doubt == "") != (c.trusted || c.signatures == 0) || len(v.Listed) != c.signatures || (v.Reason == "") != (c.trusted || c.signatures == 0) {
			t.Errorf("%s: got %+v, error %v, want %d signatures, trusted %t", c.name, v, err, c.signatures, c.trusted)
		}
		if c.trusted && (len(v.Signed) != 1 || v.Signed[0]["by"] != k.signer.Leaf() || v.NotAfter.IsZero()) {
			t.Errorf("%s: got %+v, want one signed by %s and an end", c.name, v, k.signer.Leaf())
		}
	}
	// What a second trusted signature binds counts as well.
	e, err := k.signer.Sign(context.Background(), k.image, map[string]string{"by": "the second"})
	must(t, err)
	k.push(t, e)
	if v, err := ask(); err != nil || v.Signatures != 3 || !v.Trusted || len(v.Signed) != 2 {
		t.Errorf("two: got %+v, error %v, want 3 signatures, 2 of them trusted", v, err)
	}
	k.answer(http.MethodGet, "/blobs/", code(http.StatusTooManyRequests))
	if v, err := ask(); failure.Of(err) != failure.Throttled || v.Trusted {
		t.Errorf("busy: got %+v, error %v, want class %s and none trusted", v, err, failure.Throttled)
	}
	k.answer(http.MethodGet, "/blobs/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	if v, err := ask(); err != nil || v.Trusted || v.Signatures != 3 || v.Reason == "" || v.Doubt != notation.Unproven {
		t.Errorf("broken: got %+v, error %v, want 3 signatures, none trusted, doubt %v", v, err, notation.Unproven)
	}
	k.answer(http.MethodGet, "/blobs/", code(http.StatusNotFound))
	if v, err := ask(); err == nil || v.Trusted {
		t.Errorf("404 for a listed signature: got %+v, error %v, want an unknown verdict", v, err)
	}
}

// TestWhichSignatureCounts checks how the signatures of one image make one verdict. One that a
// strict policy trusts decides, and what it binds is bound. The verdict also says what notation
// verify would make of the list.
func TestWhichSignatureCounts(t *testing.T) {
	t.Parallel()
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
	named := func(name string, v notation.Verdict, err error) notation.Entry {
		v.Metadata = map[string]string{name: "targets"}
		return notation.Entry{Listed: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: 9}, Err: err, Verdict: v}
	}
	strict := named("strict", notation.Verdict{Trusted: true}, nil)
	lenient := named("lenient", notation.Verdict{Trusted: true, Doubt: notation.Dated, Reason: "old"}, nil)
	unsure := named("unsure", notation.Verdict{Doubt: notation.Unsure, Reason: "revoked?"}, nil)
	foreign := named("foreign", notation.Verdict{Doubt: notation.Unproven, Reason: "foreign"}, nil)
	gone := named("gone", notation.Verdict{Doubt: notation.Unproven, Reason: "404"}, errors.New("404"))
	junk := gone
	junk.Listed.Size = 0
	busy := named("busy", notation.Verdict{}, errors.New("429"))
	lost := errors.New("429")
	for name, c := range map[string]struct {
		entries []notation.Entry
		lostAt  int // -1: none
		bound   string
		doubt   notation.Doubt
		refused bool
		unread  bool
		unknown bool
	}{
		"none":                    {nil, -1, "", "", false, false, false},
		"strict":                  {[]notation.Entry{strict}, -1, "strict", "", false, false, false},
		"lenient":                 {[]notation.Entry{lenient}, -1, "lenient", notation.Dated, false, false, false},
		"lenient, then strict":    {[]notation.Entry{lenient, strict}, -1, "strict", "", false, false, false},
		"strict, then lenient":    {[]notation.Entry{strict, lenient, foreign}, -1, "strict", "", false, false, false},
		"foreign and unsure":      {[]notation.Entry{foreign, unsure}, -1, "", notation.Unsure, false, false, false},
		"foreign":                 {[]notation.Entry{foreign}, -1, "", notation.Unproven, false, false, false},
		"gone":                    {[]notation.Entry{gone}, -1, "", notation.Unproven, false, true, false},
		"malformed":               {[]notation.Entry{junk}, -1, "", notation.Unproven, false, false, false},
		"gone, then strict":       {[]notation.Entry{gone, strict}, -1, "strict", "", true, true, false},
		"malformed, then strict":  {[]notation.Entry{junk, strict}, -1, "strict", "", true, false, false},
		"malformed, then lenient": {[]notation.Entry{junk, lenient}, -1, "lenient", notation.Dated, true, false, false},
		"strict, then gone":       {[]notation.Entry{strict, gone}, -1, "strict", "", false, true, false},
		"busy, then strict":       {[]notation.Entry{busy, strict}, 0, "", "", false, false, true},
		"strict, then busy":       {[]notation.Entry{strict, busy}, 1, "strict", "", false, false, false},
		"gone, busy, then strict": {[]notation.Entry{gone, busy, strict}, 1, "strict", "", true, true, false},
		"busy, then lenient":      {[]notation.Entry{lenient, busy}, 1, "", "", false, false, true},
	} {
		f := judgedList{reference: "registry.example.com/app@" + image.Digest.String(), image: image, entries: c.entries}
		for _, e := range c.entries {
			f.listed, f.distinct = append(f.listed, e.Listed), append(f.distinct, e.Listed)
		}
		if c.lostAt >= 0 {
			f.lost, f.lostAt = lost, c.lostAt
		}
		v, err := f.verdict(context.Background())
		if (err != nil) != c.unknown {
			t.Errorf("%s: got the error %v, want one: %t", name, err, c.unknown)
		}
		if err != nil {
			continue
		}
		var bound []string
		for _, m := range v.Signed {
			bound = slices.AppendSeq(bound, maps.Keys(m))
		}
		if got := strings.Join(bound, " "); got != c.bound || v.Doubt != c.doubt || v.Trusted != (c.bound != "") || (v.Refused != "") != c.refused || v.Unread != c.unread || v.Signatures != len(c.entries) {
			t.Errorf("%s: got %+v, want bound by %q, doubt %q, refused %t, unread %t", name, v, c.bound, c.doubt, c.refused, c.unread)
		}
	}
}

// TestWhatNotationVerifyLooksAt checks that the replay sees the list as notation verify does:
// repeated entries count each time, and so do listed entries that are not signatures.
func TestWhatNotationVerifyLooksAt(t *testing.T) {
	t.Parallel()
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
	listed := func(name, artifact string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifact, Digest: digest.FromString(name), Size: 9}
	}
	foreign, good := listed("foreign", registry.ArtifactType), listed("good", registry.ArtifactType)
	sbom := listed("sbom", "application/spdx+json")
	of := func(d ocispec.Descriptor, n int) []ocispec.Descriptor {
		return slices.Repeat([]ocispec.Descriptor{d}, n)
	}
	for name, c := range map[string]struct {
		list             []ocispec.Descriptor
		other            error // of fetching an entry that is not a signature
		busy             bool
		refused, unknown bool
	}{
		"repeated 99 times":      {append(of(foreign, 99), good), nil, false, false, false},
		"repeated 100 times":     {append(of(foreign, 100), good), nil, false, true, false},
		"another artifact":       {[]ocispec.Descriptor{sbom, good}, nil, false, false, false},
		"of two layers":          {[]ocispec.Descriptor{sbom, good}, errors.New("two layers"), false, true, false},
		"of two layers, behind":  {[]ocispec.Descriptor{good, sbom}, errors.New("two layers"), false, false, false},
		"that cannot be told":    {[]ocispec.Descriptor{sbom, good}, errors.New("429"), true, false, true},
		"not to be told, behind": {[]ocispec.Descriptor{good, sbom}, errors.New("429"), true, false, false},
	} {
		f := judgedList{
			reference: "registry.example.com/app@" + image.Digest.String(), image: image, listed: c.list, distinct: registry.Distinct(c.list),
			other: func(m ocispec.Descriptor) (notation.Entry, error) {
				if c.busy {
					return notation.Entry{}, c.other
				}
				return notation.Entry{Listed: m, Err: c.other}, nil
			},
		}
		for _, d := range f.distinct {
			f.entries = append(f.entries, notation.Entry{Listed: d, Verdict: notation.Verdict{Trusted: d.Digest == good.Digest}})
		}
		v, err := f.verdict(context.Background())
		if (err != nil) != c.unknown || err == nil && (v.Refused != "") != c.refused || err == nil && v.Doubt != "" {
			t.Errorf("%s: got %+v, %v, want refused %t, unknown %t", name, v, err, c.refused, c.unknown)
		}
	}
}

// Whoever looks beyond our limit of signatures may trust one there, so nobody may take the image
// for untrusted.
func TestSignaturesBehindTheLimitLeaveItOpen(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{notation.MaxSignatures: false, notation.MaxSignatures + 1: true} {
		var f judgedList
		for i := range n {
			m := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 9}
			f.listed, f.distinct = append(f.listed, m), append(f.distinct, m)
			if i < notation.MaxSignatures {
				f.entries = append(f.entries, notation.Entry{Listed: m, Verdict: notation.Verdict{Doubt: notation.Unproven, Reason: "foreign"}})
			}
		}
		v, err := f.verdict(context.Background())
		if err != nil || v.Unread != want || v.Trusted {
			t.Errorf("%d signatures: got %+v, %v, want unread %t", n, v, err, want)
		}
	}
}

// Notation looks at a list in a tag only if there is no referrers API. If that API was away for a
// moment, and lists nothing, no good signature in a tag makes the image trusted.
func TestJudgeAsksForTheReferrersAPIAnew(t *testing.T) {
	k := newCounter(t)
	k.trust(t)
	k.sign(t, k.signer)
	body, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: k.listed(t)})
	must(t, err)
	_, err = k.registry.PutManifest("app", "sha256-"+k.image.Digest.Encoded(), ocispec.MediaTypeImageIndex, body)
	must(t, err)
	for hidden, trusted := range map[int32]bool{2: false, 100: true} {
		var asked atomic.Int32
		k.answer(http.MethodGet, "/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) <= hidden {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			fmt.Fprint(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
		})
		v, err := notation.OpenVerifier(notation.VerifierOptions{})
		must(t, err)
		got, err := Judge{Verifier: v}.Judge(context.Background(), k.open(t), k.repository.Name(), k.image.Digest, func(context.Context) (ocispec.Descriptor, error) { return k.image, nil })
		if err != nil || got.Trusted != trusted {
			t.Errorf("404 for the first %d requests: got %+v, error %v, want trusted %t", hidden, got, err, trusted)
		}
	}
}
