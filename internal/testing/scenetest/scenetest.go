// Package scenetest is the starting point for tests of signing and comparing: a real Notary server, and images in an
// in-memory registry that fails on request.
package scenetest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// App is the repository of tests that need only one.
const App = "registry.example.com/team/app"

// World is the images of a registry, the same in each repository. Its methods are package migrate's.
type World struct {
	Mu        sync.Mutex // guards the rest once something runs
	Images    map[digest.Digest]ocispec.Descriptor
	Manifests map[digest.Digest][]byte // for those whose bytes matter
	Tagged    map[string]digest.Digest // by tag
	Hidden    map[string]bool          // tags that exist and are not listed
	// Faults are called before a step, by its name: they return whether its effect happens, and its error.
	Faults map[string]func(d digest.Digest) (happens bool, err error)
}

// ErrGone makes the registry say that it has no such tag.
var ErrGone = errors.New("404")

// Breaks returns whether the effect of a step happens for an image, and the step's error.
func (w *World) Breaks(step string, d digest.Digest) (happens bool, err error) {
	if f := w.Faults[step]; f != nil {
		return f(d)
	}
	return true, nil
}

// Resolve returns the descriptor of an image.
func (w *World) Resolve(_ context.Context, _ string, d digest.Digest) (ocispec.Descriptor, error) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if _, err := w.Breaks("resolve", d); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, ok := w.Images[d]
	if !ok {
		return desc, failure.New(failure.Missing, &lookup.AbsentError{By: lookup.Registry, Err: errors.New("404")})
	}
	return desc, nil
}

// Tag returns the digest that a tag has.
func (w *World) Tag(_ context.Context, _, tag string) lookup.Answer[digest.Digest] {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	switch _, err := w.Breaks("tag", w.Tagged[tag]); {
	case errors.Is(err, ErrGone):
		return lookup.Absent[digest.Digest](lookup.Registry)
	case err != nil:
		return lookup.Unknown[digest.Digest](err)
	}
	if d, ok := w.Tagged[tag]; ok {
		return lookup.Found(d)
	}
	return lookup.Absent[digest.Digest](lookup.Registry)
}

// IsList reports true for tags that refer to nothing: the world keeps its signatures elsewhere.
func (w *World) IsList(_ context.Context, _, tag string) (bool, error) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if _, err := w.Breaks("list", w.Tagged[tag]); err != nil {
		return false, err
	}
	return w.Tagged[tag] == "", nil
}

// Tags calls each with the tags that are listed.
func (w *World) Tags(_ context.Context, _ string, each func(string) error) error {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if _, err := w.Breaks("tags", ""); err != nil {
		return err
	}
	for _, tag := range slices.Sorted(maps.Keys(w.Tagged)) {
		if w.Hidden[tag] {
			continue
		}
		if err := each(tag); err != nil {
			return err
		}
	}
	return nil
}

// Answers returns nil if the registry answers.
func (w *World) Answers(context.Context, string) error {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	_, err := w.Breaks("answers", "")
	return err
}

// Put makes an image in the registry under a tag, and returns its digest.
func (w *World) Put(tag string) digest.Digest {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	d := digest.FromString("image " + tag)
	w.Images[d] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 100}
	w.Tagged[tag] = d
	return d
}

// Index puts an index of members into the registry, with the digest of its bytes.
func (w *World) Index(members ...ocispec.Descriptor) ocispec.Descriptor {
	raw, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: members})
	if err != nil {
		panic(err)
	}
	return w.Bytes(ocispec.MediaTypeImageIndex, raw)
}

// Bytes puts a manifest with those bytes into the registry.
func (w *World) Bytes(mediaType string, raw []byte) ocispec.Descriptor {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	w.Images[desc.Digest], w.Manifests[desc.Digest] = desc, raw
	return desc
}

// Image makes an untagged image for a platform.
func (w *World) Image(name, architecture string) ocispec.Descriptor {
	w.Put(name)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	delete(w.Tagged, name)
	desc := w.Images[digest.FromString("image "+name)]
	desc.Platform = &ocispec.Platform{OS: "linux", Architecture: architecture}
	return desc
}

// ManifestOf returns the bytes of a manifest.
func (w *World) ManifestOf(d digest.Digest) ([]byte, error) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if _, err := w.Breaks("manifest", d); err != nil {
		return nil, err
	}
	return w.Manifests[d], nil
}

// Scene is a world with a Notary server.
type Scene struct {
	*World
	T       *testing.T
	Notary  *notarytest.Server
	Pins    dct.Pins
	Witness dct.TimeAttestation // the reader's; may be nil
}

// New starts a Notary server, which ends with the test.
func New(t *testing.T) *Scene {
	t.Helper()
	s, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &World{
		Images: map[digest.Digest]ocispec.Descriptor{}, Manifests: map[digest.Digest][]byte{}, Tagged: map[string]digest.Digest{},
		Faults: map[string]func(digest.Digest) (bool, error){},
	}
	return &Scene{World: w, T: t, Notary: s, Pins: dct.Pins{Certs: map[string][]string{}}}
}

type doer struct{ *http.Client }

// Must ends the test if there is an error.
func (s *Scene) Must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// Publish signs the tags in DCT with the digests that the registry has for them.
func (s *Scene) Publish(gun string, tags ...string) *notarytest.Repository {
	s.T.Helper()
	r, err := s.Notary.NewRepository(gun)
	s.Must(err)
	for _, tag := range tags {
		s.Must(r.Sign(tag, s.Put(tag).Encoded(), 100))
	}
	s.Must(r.Publish())
	s.Pins.Certs[gun] = r.RootKeyIDs()
	return r
}

// Trust returns a reader of the Notary server.
func (s *Scene) Trust() *dct.Reader {
	return &dct.Reader{Pins: s.Pins, TimeAttestation: s.Witness, Source: &dct.Server{
		URL:  func(string) string { return s.Notary.URL() },
		HTTP: func(string) dct.Doer { return doer{http.DefaultClient} },
	}}
}

// GUNs parses names of repositories.
func (s *Scene) GUNs(names ...string) []dct.GUN {
	s.T.Helper()
	var guns []dct.GUN
	for _, n := range names {
		g, err := dct.ParseGUN(n)
		s.Must(err)
		guns = append(guns, g)
	}
	return guns
}

// BreakFor makes a step fail with err for one image; happens says whether its effect still happens.
func (s *Scene) BreakFor(step, tag string, happens bool, err error) {
	target := digest.FromString("image " + tag)
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.Faults[step] = func(d digest.Digest) (bool, error) {
		if d == target {
			return happens, err
		}
		return true, nil
	}
}

// Heal ends all faults.
func (s *Scene) Heal() {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.Faults = map[string]func(digest.Digest) (bool, error){}
}

// Platforms is an index of two images and an attestation, which DCT names, and another image.
type Platforms struct {
	Repo               *notarytest.Repository
	List, AMD64, ARM64 ocispec.Descriptor
	Attestation        ocispec.Descriptor

	scene *Scene
}

// PublishPlain publishes App with an image under plain, for a test that adds an index of its own.
func (s *Scene) PublishPlain() *Platforms {
	s.T.Helper()
	return &Platforms{scene: s, Repo: s.Publish(App, "plain")}
}

// PublishPlatforms publishes App with an index under v1 and another image under plain.
func (s *Scene) PublishPlatforms() *Platforms {
	s.T.Helper()
	p := s.PublishPlain()
	p.AMD64, p.ARM64, p.Attestation = s.Image("amd64", "amd64"), s.Image("arm64", "arm64"), s.Image("attestation", "unknown")
	p.Attestation.Platform.OS = "unknown"
	p.Attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	p.List = s.Index(p.AMD64, p.ARM64, p.Attestation)
	p.SignTag("v1", p.List)
	return p
}

// SignTag gives a digest a tag, in DCT and in the registry.
func (p *Platforms) SignTag(tag string, d ocispec.Descriptor) {
	p.scene.T.Helper()
	p.scene.Tagged[tag] = d.Digest
	p.scene.Must(p.Repo.Sign(tag, d.Digest.Encoded(), d.Size))
	p.scene.Must(p.Repo.Publish())
}
