package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/state"
)

const App = scenetest.App

// world holds the signatures of a registry and a test key in memory. Trust data and ledger are
// real.
type world struct {
	in         *scenetest.World             // the images; its mutex guards the rest as well
	signatures map[digest.Digest][]string   // what is listed, by image
	signedBy   map[string]string            // name of the key, by signature
	signed     map[string]map[string]string // metadata, by signature
	by         map[string]state.SignedBy    // by signature
	operations []digest.Digest              // key operations, in order
	inTag      bool                         // signature lists are kept in tags
	leaf       string                       // of the key release, at present
	accepted   []string                     // its earlier leaves that the configuration names
	tells      bool                         // the answer to a push says that it is a signature
	expiry     time.Duration                // of its signatures; 0: none
	stamped    bool                         // its signatures are timestamped
	now        func() time.Time
}

func newWorld(in *scenetest.World) *world {
	return &world{
		in: in, leaf: "leaf of release", now: time.Now,
		signatures: map[digest.Digest][]string{}, signedBy: map[string]string{}, signed: map[string]map[string]string{}, by: map[string]state.SignedBy{},
	}
}

func (w *world) Manifest(_ context.Context, image Image) ([]byte, error) {
	return w.in.ManifestOf(image.Descriptor.Digest)
}

// madeBy returns what made a signature. For a planted signature the test says by which key; it
// counts as made now.
func (w *world) madeBy(signature string) state.SignedBy {
	by, ok := w.by[signature]
	if !ok {
		by = state.SignedBy{Identity: w.leaf, Leaf: w.leaf, ChainEnds: w.now().AddDate(1, 0, 0)}
	}
	return by
}

func (w *world) Find(_ context.Context, image Image, key string) (Found, error) {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := w.in.Breaks("find", d); err != nil {
		return Found{}, err
	}
	f := Found{InTag: w.inTag}
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

func (w *world) Push(_ context.Context, image Image, e state.Envelope, inTag bool) (told bool, err error) {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
	d := image.Descriptor.Digest
	if inTag != w.inTag {
		return false, fmt.Errorf("pushing to %s after a look in a tag: %t, want %t", d, inTag, w.inTag)
	}
	happens, err := w.in.Breaks("push", d)
	if happens && !slices.Contains(w.signatures[d], e.ManifestDigest) {
		w.signatures[d] = append(w.signatures[d], e.ManifestDigest)
	}
	return w.tells && err == nil, err
}

func (w *world) Listed(_ context.Context, image Image) ([]string, error) {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := w.in.Breaks("listed", d); err != nil {
		return nil, err
	}
	return slices.Clone(w.signatures[d]), nil
}

func (w *world) Recorded(_ context.Context, image Image, _, signature string) (Signature, bool, error) {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := w.in.Breaks("recorded", d); err != nil {
		return Signature{}, false, err
	}
	s := Signature{signature, w.by[signature], w.signed[signature]}
	return s, slices.Contains(w.signatures[d], signature) && s.By.Verifies(w.now()), nil
}

func (w *world) Relist(context.Context, Image, string) error { return nil }

func (w *world) CheckList(_ context.Context, image Image, _ bool) error {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
	_, err := w.in.Breaks("check", image.Descriptor.Digest)
	return err
}

func (w *world) ListsInTag(string) bool { return w.inTag }

func (w *world) Name() string { return "release" }
func (w *world) Leaf() string { return w.leaf }

func (w *world) Sign(_ context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	return w.signAs("release", subject, metadata)
}

func (w *world) signAs(name string, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
	w.operations = append(w.operations, subject.Digest)
	if _, err := w.in.Breaks("sign", subject.Digest); err != nil {
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

func (w *world) Check(ctx context.Context, subject ocispec.Descriptor, e state.Envelope) error {
	w.in.Mu.Lock()
	defer w.in.Mu.Unlock()
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

// scene is a world with a Notary server and a ledger.
type scene struct {
	*scenetest.Scene
	*world
	ledger string
	mutate func(*Engine)
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := scenetest.New(t)
	return &scene{Scene: s, world: newWorld(s.World), ledger: filepath.Join(t.TempDir(), "ledger.db")}
}

// of returns the digest of the image that Put makes under a tag.
func of(tag string) digest.Digest { return digest.FromString("image " + tag) }

// run is the life of one process: it opens the ledger, runs the engine and closes the ledger.
func (s *scene) run(guns ...string) (Summary, []Outcome, error) {
	s.T.Helper()
	return s.runCtx(context.Background(), nil, guns...)
}

func (s *scene) runCtx(ctx context.Context, stop chan struct{}, guns ...string) (Summary, []Outcome, error) {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	defer func() { s.Must(l.Close()) }()
	var mu sync.Mutex
	var outcomes []Outcome
	e := &Engine{
		Trust: s.Trust(), Registry: s, Keys: []Key{{Signer: s}}, Ledger: l, Workers: 4, Tool: "test/1", outageSpan: -1,
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
	summary, err := e.Run(ctx, stop, s.GUNs(guns...))
	return summary, outcomes, err
}

// once checks that each image has exactly one signature of ours.
func (s *scene) once(tags ...string) {
	s.T.Helper()
	for _, tag := range tags {
		if n := len(s.signatures[digest.FromString("image "+tag)]); n != 1 {
			s.T.Errorf("%s: got %d signatures, want 1", tag, n)
		}
	}
}

// want checks how many items ended with a result.
func (s *scene) want(got Summary, want map[Result]int) {
	s.T.Helper()
	for _, r := range []Result{ResultSigned, ResultReplayed, ResultAlready, ResultSkipped, ResultFailed} {
		if got.Results[r] != want[r] {
			s.T.Errorf("%s: got %d, want %d", r, got.Results[r], want[r])
		}
	}
}
