package undo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// scene is a world with a Notary server, a ledger and signatures by one key, in memory. It has only
// what the runs need that are undone afterwards.
type scene struct {
	*scenetest.Scene
	ledger     string
	mutate     func(*migrate.Engine)
	signatures map[digest.Digest][]string   // what is listed, by image
	signed     map[string]map[string]string // metadata of the key's signatures, by signature
	operations int
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return &scene{
		Scene: scenetest.New(t), ledger: filepath.Join(t.TempDir(), "ledger.db"),
		signatures: map[digest.Digest][]string{}, signed: map[string]map[string]string{},
	}
}

// of returns the digest of the image that Put makes under a tag.
func of(tag string) digest.Digest { return digest.FromString("image " + tag) }

// run is the life of one process: it opens the ledger, runs the engine and closes the ledger.
func (s *scene) run(guns ...string) (migrate.Summary, []migrate.Outcome, error) {
	s.T.Helper()
	l := s.open()
	defer func() { s.Must(l.Close()) }()
	e := &migrate.Engine{
		Trust: s.Trust(), Registry: s, Keys: []migrate.Key{{Signer: s}}, Ledger: l, Workers: 4, Tool: "test/1",
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if s.mutate != nil {
		s.mutate(e)
	}
	summary, err := e.Run(context.Background(), nil, s.GUNs(guns...))
	return summary, nil, err
}

func (s *scene) Name() string { return "release" }
func (s *scene) Leaf() string { return "leaf of release" }

func (s *scene) by() state.SignedBy {
	return state.SignedBy{Identity: s.Leaf(), Leaf: s.Leaf(), ChainEnds: time.Now().AddDate(1, 0, 0)}
}

func (s *scene) Sign(_ context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.operations++
	blob := fmt.Sprintf("signature %d of %s", s.operations, subject.Digest)
	name := digest.FromString(blob).String()
	s.signed[name] = metadata
	return state.Envelope{
		MediaType: "application/jose+json", Blob: []byte(blob), Manifest: []byte("{}" + blob),
		ManifestDigest: name, LeafThumbprint: s.Leaf(), Metadata: metadata, SignedBy: s.by(),
	}, nil
}

func (s *scene) Check(context.Context, ocispec.Descriptor, state.Envelope) error { return nil }

func (s *scene) Manifest(_ context.Context, image migrate.Image) ([]byte, error) {
	return s.ManifestOf(image.Descriptor.Digest)
}

func (s *scene) Find(_ context.Context, image migrate.Image, _ string) (migrate.Found, error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	var f migrate.Found
	for _, name := range s.signatures[image.Descriptor.Digest] {
		if metadata, ours := s.signed[name]; ours {
			f.Ours = append(f.Ours, migrate.Signature{Digest: name, By: s.by(), Metadata: metadata})
		} else {
			f.Others++
		}
	}
	return f, nil
}

func (s *scene) Push(_ context.Context, image migrate.Image, e state.Envelope, _ bool) (bool, error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	d := image.Descriptor.Digest
	happens, err := s.Breaks("push", d)
	if happens && !slices.Contains(s.signatures[d], e.ManifestDigest) {
		s.signatures[d] = append(s.signatures[d], e.ManifestDigest)
	}
	return false, err
}

func (s *scene) Listed(_ context.Context, image migrate.Image) ([]string, error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	d := image.Descriptor.Digest
	if _, err := s.Breaks("listed", d); err != nil {
		return nil, err
	}
	return slices.Clone(s.signatures[d]), nil
}

func (s *scene) Recorded(_ context.Context, image migrate.Image, _, name string) (migrate.Signature, bool, error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return migrate.Signature{Digest: name, By: s.by(), Metadata: s.signed[name]}, slices.Contains(s.signatures[image.Descriptor.Digest], name), nil
}

func (s *scene) Relist(context.Context, migrate.Image, string) error { return nil }

func (s *scene) CheckList(context.Context, migrate.Image, bool) error { return nil }

func (s *scene) ListsInTag(string) bool { return false }

// once checks that each image has exactly one signature of ours.
func (s *scene) once(tags ...string) {
	s.T.Helper()
	for _, tag := range tags {
		if n := len(s.signatures[of(tag)]); n != 1 {
			s.T.Errorf("%s: got %d signatures, want 1", tag, n)
		}
	}
}

// want checks how many items ended with a result.
func (s *scene) want(got migrate.Summary, want map[migrate.Result]int) {
	s.T.Helper()
	for _, r := range []migrate.Result{migrate.ResultSigned, migrate.ResultReplayed, migrate.ResultAlready, migrate.ResultSkipped, migrate.ResultFailed} {
		if got.Results[r] != want[r] {
			s.T.Errorf("%s: got %d, want %d", r, got.Results[r], want[r])
		}
	}
}
