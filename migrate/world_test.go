package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/state"
)

const app = "registry.example.com/team/app"

// world is the registry and the key of a test, in memory, and breaks where it is told.
// Trust data and ledger are real.
type world struct {
	mu         sync.Mutex
	images     map[digest.Digest]ocispec.Descriptor
	manifests  map[digest.Digest][]byte // where the bytes matter
	tags       map[string]digest.Digest
	hidden     map[string]bool              // tags that are there and not listed
	signatures map[digest.Digest][]string   // by image: what is listed
	signedBy   map[string]string            // the key's name, by signature
	signed     map[string]map[string]string // the metadata, by signature
	by         map[string]state.SignedBy    // by signature
	operations []digest.Digest              // key operations, in order
	inTag      bool                         // lists of signatures are kept in tags
	leaf       string                       // of the key release, now
	accepted   []string                     // its earlier leaves that the configuration names
	expiry     time.Duration                // of its signatures; 0: none
	stamped    bool                         // its signatures are timestamped
	now        func() time.Time
	fault      map[string]func(d digest.Digest) (happens bool, err error)
}

// errGone has the registry say that it has no such tag.
var errGone = errors.New("404")

func newWorld() *world {
	return &world{
		leaf: "leaf of release", now: time.Now,
		images: map[digest.Digest]ocispec.Descriptor{}, manifests: map[digest.Digest][]byte{}, tags: map[string]digest.Digest{}, signatures: map[digest.Digest][]string{}, signedBy: map[string]string{}, signed: map[string]map[string]string{}, by: map[string]state.SignedBy{},
		fault: map[string]func(digest.Digest) (bool, error){},
	}
}

// breaks asks whether a step fails for an image, and whether its effect happens all the
// same.
func (w *world) breaks(step string, d digest.Digest) (happens bool, err error) {
	if f := w.fault[step]; f != nil {
		return f(d)
	}
	return true, nil
}

func (w *world) Resolve(_ context.Context, _ string, d digest.Digest) (ocispec.Descriptor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.breaks("resolve", d); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, ok := w.images[d]
	if !ok {
		return desc, failure.New(failure.Missing, &lookup.AbsentError{By: lookup.Registry, Err: errors.New("404")})
	}
	return desc, nil
}

func (w *world) Tag(_ context.Context, _, tag string) lookup.Answer[digest.Digest] {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch _, err := w.breaks("tag", w.tags[tag]); {
	case errors.Is(err, errGone):
		return lookup.Absent[digest.Digest](lookup.Registry)
	case err != nil:
		return lookup.Unknown[digest.Digest](err)
	}
	if d, ok := w.tags[tag]; ok {
		return lookup.Found(d)
	}
	return lookup.Absent[digest.Digest](lookup.Registry)
}

// IsList says so of the tags that lead to nothing: the world keeps its signatures elsewhere.
func (w *world) IsList(_ context.Context, _, tag string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.breaks("list", w.tags[tag]); err != nil {
		return false, err
	}
	return w.tags[tag] == "", nil
}

func (w *world) Tags(_ context.Context, _ string, each func(string) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.breaks("tags", ""); err != nil {
		return err
	}
	for _, tag := range slices.Sorted(maps.Keys(w.tags)) {
		if w.hidden[tag] {
			continue
		}
		if err := each(tag); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) Manifest(_ context.Context, image Image) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.breaks("manifest", image.Descriptor.Digest); err != nil {
		return nil, err
	}
	return w.manifests[image.Descriptor.Digest], nil
}

// madeBy is what made a signature. Tests that plant one say by which key, and it is as one of now.
func (w *world) madeBy(signature string) state.SignedBy {
	by, ok := w.by[signature]
	if !ok {
		by = state.SignedBy{Identity: w.leaf, Leaf: w.leaf, ChainEnds: w.now().AddDate(1, 0, 0)}
	}
	return by
}

func (w *world) Find(_ context.Context, image Image, key string) (Found, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := w.breaks("find", d); err != nil {
		return Found{}, err
	}
	var f Found
	for _, s := range w.signatures[d] {
		by := w.madeBy(s)
		if w.signedBy[s] == key && by.Verifies(w.now()) && (key != "release" || by.Leaf == w.leaf || slices.Contains(w.accepted, by.Leaf)) {
			f.Ours = append(f.Ours, Signature{s, by, w.signed[s]})
		} else {
			f.Others++
		}
	}
	return f, nil
}

func (w *world) Push(_ context.Context, image Image, e state.Envelope) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := image.Descriptor.Digest
	happens, err := w.breaks("push", d)
	if happens && !slices.Contains(w.signatures[d], e.ManifestDigest) {
		w.signatures[d] = append(w.signatures[d], e.ManifestDigest)
	}
	return err
}

func (w *world) Listed(_ context.Context, image Image) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := w.breaks("listed", d); err != nil {
		return nil, err
	}
	return slices.Clone(w.signatures[d]), nil
}

func (w *world) Recorded(_ context.Context, image Image, signature string) (Signature, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := w.breaks("recorded", d); err != nil {
		return Signature{}, false, err
	}
	s := Signature{signature, w.by[signature], w.signed[signature]}
	return s, slices.Contains(w.signatures[d], signature) && s.By.Verifies(w.now()), nil
}

func (w *world) Relist(context.Context, Image, string) error { return nil }

func (w *world) CheckList(_ context.Context, image Image, _ bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.breaks("check", image.Descriptor.Digest)
	return err
}

func (w *world) Answers(context.Context, string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.breaks("answers", "")
	return err
}

func (w *world) ListsInTag(string) bool { return w.inTag }

func (w *world) Name() string { return "release" }
func (w *world) Leaf() string { return w.leaf }

func (w *world) Sign(_ context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	return w.signAs("release", subject, metadata)
}

func (w *world) signAs(name string, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.operations = append(w.operations, subject.Digest)
	if _, err := w.breaks("sign", subject.Digest); err != nil {
		return state.Envelope{}, err
	}
	blob := fmt.Sprintf("signature %d by %s of %s", len(w.operations), name, subject.Digest)
	w.signedBy[digest.FromString(blob).String()], w.signed[digest.FromString(blob).String()] = name, metadata
	by := state.SignedBy{Identity: w.leaf, Leaf: w.leaf, ChainEnds: w.now().AddDate(1, 0, 0), Timestamped: w.stamped}
	if name != "release" {
		by.Identity, by.Leaf = "leaf of "+name, "leaf of "+name
	}
	if w.expiry > 0 {
		by.Expires, by.Expiry = w.now().Add(w.expiry), int64(w.expiry/time.Second)
	}
	w.by[digest.FromString(blob).String()] = by
	return state.Envelope{
		MediaType: "application/jose+json", Blob: []byte(blob), Manifest: []byte("{}" + blob),
		ManifestDigest: digest.FromString(blob).String(), LeafThumbprint: by.Leaf, Metadata: metadata, SignedBy: by,
	}, nil
}

func (w *world) Check(subject ocispec.Descriptor, e state.Envelope) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.HasSuffix(string(e.Blob), subject.Digest.String()) {
		return errors.New("envelope of another image")
	}
	if w.signedBy[e.ManifestDigest] == "release" && w.by[e.ManifestDigest].Leaf != w.leaf {
		return ErrOtherCertificate
	}
	if by, ok := w.by[e.ManifestDigest]; ok && !by.Verifies(w.now()) {
		return ErrEnded
	}
	return nil
}

// put makes an image in the registry under a tag, and returns its digest.
func (w *world) put(tag string) digest.Digest {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := digest.FromString("image " + tag)
	w.images[d] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 100}
	w.tags[tag] = d
	return d
}

// scene is a world with a Notary server and a ledger.
type scene struct {
	*world
	t      *testing.T
	notary *notarytest.Server
	pins   dct.Pins
	ledger string
	mutate func(*Engine)
	// witness is the reader's, if there is one
	witness dct.Witness
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &scene{world: newWorld(), t: t, notary: s, pins: dct.Pins{Certs: map[string][]string{}}, ledger: filepath.Join(t.TempDir(), "ledger.db")}
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// publish signs the tags in DCT with the digests that the registry has for them.
func (s *scene) publish(gun string, tags ...string) *notarytest.Repository {
	s.t.Helper()
	r, err := s.notary.NewRepository(gun)
	s.must(err)
	for _, tag := range tags {
		s.must(r.Sign(tag, s.put(tag).Encoded(), 100))
	}
	s.must(r.Publish())
	s.pins.Certs[gun] = r.RootKeyIDs()
	return r
}

type doer struct{ *http.Client }

func (s *scene) trust() *dct.Reader {
	return &dct.Reader{Pins: s.pins, Witness: s.witness, Source: &dct.Server{
		URL:  func(string) string { return s.notary.URL() },
		HTTP: func(string) dct.Doer { return doer{http.DefaultClient} },
	}}
}

// run is one process's life: it opens the ledger, runs the engine and closes the ledger.
func (s *scene) run(guns ...string) (Summary, []Outcome, error) {
	s.t.Helper()
	return s.runCtx(context.Background(), nil, guns...)
}

func (s *scene) runCtx(ctx context.Context, stop chan struct{}, guns ...string) (Summary, []Outcome, error) {
	s.t.Helper()
	l, err := state.Open(s.ledger, state.Options{})
	s.must(err)
	defer func() { s.must(l.Close()) }()
	var mu sync.Mutex
	var outcomes []Outcome
	e := &Engine{
		Trust: s.trust(), Registry: s, Keys: []Key{{Signer: s}}, Ledger: l, Workers: 4, Tool: "test/1", outageSpan: -1,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Observe: func(ev Event) {
			mu.Lock()
			defer mu.Unlock()
			if ev.Outcome != nil {
				outcomes = append(outcomes, *ev.Outcome)
			}
		},
	}
	if s.mutate != nil {
		s.mutate(e)
	}
	summary, err := e.Run(ctx, stop, s.guns(guns...))
	return summary, outcomes, err
}

func (s *scene) guns(names ...string) []dct.GUN {
	s.t.Helper()
	var guns []dct.GUN
	for _, n := range names {
		g, err := dct.ParseGUN(n)
		s.must(err)
		guns = append(guns, g)
	}
	return guns
}

// once checks that each image has exactly one signature of ours.
func (s *scene) once(tags ...string) {
	s.t.Helper()
	for _, tag := range tags {
		if n := len(s.signatures[digest.FromString("image "+tag)]); n != 1 {
			s.t.Errorf("%s has %d signatures", tag, n)
		}
	}
}

// want checks how many items ended with a result.
func (s *scene) want(got Summary, want map[Result]int) {
	s.t.Helper()
	for _, r := range []Result{ResultSigned, ResultReplayed, ResultAlready, ResultSkipped, ResultFailed} {
		if got.Results[r] != want[r] {
			s.t.Errorf("%s %d, want %d", r, got.Results[r], want[r])
		}
	}
}

// for one image, a step fails with err; happens says whether its effect happens.
func (s *scene) breakFor(step, tag string, happens bool, err error) {
	target := digest.FromString("image " + tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault[step] = func(d digest.Digest) (bool, error) {
		if d == target {
			return happens, err
		}
		return true, nil
	}
}

func (s *scene) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = map[string]func(digest.Digest) (bool, error){}
}
