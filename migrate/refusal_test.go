package migrate

import (
	"context"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// swapped is a registry that has another image under each digest, and says so.
type swapped struct{ Registry }

func (s swapped) Resolve(context.Context, string, digest.Digest) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("evil"), Size: 100}, nil
}

// Where the last check before the key says no, the run ends, and the key is not blamed: it
// was not asked.
func TestRefusalOfOurOwnIsNotTheKeys(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2", "v3")
	s.mutate = func(e *Engine) { e.Registry = swapped{s} }
	_, outcomes, err := s.run(App)
	if !errors.Is(err, ErrNotVouched) || errors.Is(err, ErrKeyAstray) || len(s.operations) != 0 {
		t.Errorf("error %v after %d key operations", err, len(s.operations))
	}
	for _, o := range outcomes {
		if o.Class != failure.Security {
			t.Errorf("%s: %s", o.Class, o.Reason)
		}
	}
}

// What any of the targets of a digest rests on that is past its date is noted and signed, not
// only that of the first.
func TestAgeOfEveryTargetIsNoted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	repo := s.Publish(App, "v1")
	ctx, gun := context.Background(), s.GUNs(App)[0]
	fresh, err := s.Trust().Read(ctx, gun, dct.Known{})
	s.Must(err)
	s.Must(repo.Expire("targets"))
	reader := s.Trust()
	reader.AllowExpired = []string{"targets"}
	aged, err := reader.Read(ctx, gun, dct.Known{})
	s.Must(err)
	for _, targets := range [][]dct.Target{
		append(fresh.Targets(), aged.Targets()...), append(aged.Targets(), fresh.Targets()...), append(aged.Targets(), aged.Targets()...),
	} {
		w := Work{Targets: targets}
		if notes := w.item().Notes; len(notes) != 1 || notes[0] != "allowed-expired: targets" {
			t.Errorf("notes %q", notes)
		}
		if got := w.metadata("test/1")[MetadataExpired]; got != "targets" {
			t.Errorf("signed as expired: %q", got)
		}
	}
}
