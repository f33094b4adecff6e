package verify

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// scene is a world with a Notary server, for verification.
type scene struct {
	*scenetest.Scene
	ledger string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return &scene{scenetest.New(t), filepath.Join(t.TempDir(), "ledger.db")}
}

func (s *scene) Manifest(_ context.Context, image migrate.Image) ([]byte, error) {
	return s.ManifestOf(image.Descriptor.Digest)
}

// multi is a scene in which DCT names an index of two images.
type multi struct {
	*scene
	*scenetest.Platforms
}

func newMulti(t *testing.T) *multi {
	t.Helper()
	s := newScene(t)
	return &multi{s, s.PublishPlatforms()}
}

// of returns the digest of the image that Put makes under a tag.
func of(tag string) digest.Digest { return digest.FromString("image " + tag) }

// described is a judge that waits for the description of an image, and lists nothing until then.
type described struct {
	judge interface {
		Judge(ctx context.Context, image migrate.Image) (Verdict, error)
	}
}

func (j described) Judge(ctx context.Context, repository string, _ digest.Digest, describe func(context.Context) (ocispec.Descriptor, error)) (Verdict, error) {
	desc, err := describe(ctx)
	if err != nil {
		return Verdict{}, err
	}
	return j.judge.Judge(ctx, migrate.Image{Repository: repository, Descriptor: desc})
}

type noJudge struct{}

func (noJudge) Judge(context.Context, migrate.Image) (Verdict, error) { return Verdict{}, nil }

// run makes a run that signs nothing. The ledger records what it has read.
func (s *scene) run(guns ...string) {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	e := &migrate.Engine{
		Trust: s.Trust(), Registry: struct{ migrate.Registry }{}, Keys: []migrate.Key{{Signer: noSigner{}}}, Ledger: l, Workers: 1,
		Filter: func(migrate.FilterItem) bool { return false }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	_, err = e.Run(context.Background(), nil, s.GUNs(guns...))
	s.Must(errors.Join(err, l.Close()))
}

type noSigner struct{ migrate.Signer }

func (noSigner) Name() string { return "release" }
func (noSigner) Leaf() string { return "leaf of release" }
