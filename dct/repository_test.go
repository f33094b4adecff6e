package dct_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// Promise 1: nothing of refused trust data reaches the key, whatever is wrong with it. Accepted
// trust data does reach it, which shows that the counter works.
func TestNoRefusedVectorReachesTheKey(t *testing.T) {
	t.Parallel()
	refused := 0
	dct.EachVector(t, func(v dct.VectorCase) {
		var w world
		e := &migrate.Engine{Trust: v.Reader, Registry: &w, Ledger: ledger{&w, v.Known}, Keys: []migrate.Key{{Signer: &w}}, Workers: 1}
		ctx, cancel := context.WithCancel(t.Context())
		if v.Expect == "timeout" {
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		}
		defer cancel()
		summary, err := e.Run(ctx, nil, []dct.GUN{v.GUN})
		switch n := w.operations.Load(); {
		case v.Expect != "ok":
			refused++
			if n != 0 || err == nil {
				t.Errorf("%s: got %d key operations, %v, want none and an error", v.Name, n, err)
			}
		case err != nil || int(n) != summary.Items:
			t.Errorf("%s: got %d key operations, %v, want %d", v.Name, n, err, summary.Items)
		}
	})
	if refused < 100 {
		t.Errorf("got %d vectors refused, want at least 100", refused)
	}
}

// world is a registry that has every image, and a key.
type world struct{ operations atomic.Int32 }

func (w *world) Resolve(_ context.Context, _ string, d digest.Digest) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 9}, nil
}
func (w *world) Tag(context.Context, string, string) lookup.Answer[digest.Digest] {
	return lookup.Absent[digest.Digest](lookup.Registry)
}
func (w *world) IsList(context.Context, string, string) (bool, error)   { return false, nil }
func (w *world) Tags(context.Context, string, func(string) error) error { return nil }
func (w *world) Manifest(context.Context, migrate.Image) ([]byte, error) {
	return nil, errors.New("not asked for")
}
func (w *world) Find(context.Context, migrate.Image, string) (migrate.Found, error) {
	return migrate.Found{}, nil
}
func (w *world) Recorded(context.Context, migrate.Image, string, string) (migrate.Signature, bool, error) {
	return migrate.Signature{}, false, nil
}
func (w *world) CheckList(context.Context, migrate.Image, bool) error { return nil }
func (w *world) Relist(context.Context, migrate.Image, string) error  { return nil }
func (w *world) Answers(context.Context, string) error                { return nil }
func (w *world) ListsInTag(string) bool                               { return false }
func (w *world) Push(context.Context, migrate.Image, state.Envelope, bool) (bool, error) {
	return false, nil
}
func (w *world) Listed(context.Context, migrate.Image) ([]string, error) {
	return []string{"sha256:0", ""}, nil
}

func (w *world) Name() string { return "release" }
func (w *world) Leaf() string { return "leaf" }
func (w *world) Sign(context.Context, ocispec.Descriptor, map[string]string) (state.Envelope, error) {
	w.operations.Add(1)
	return state.Envelope{ManifestDigest: "sha256:0"}, nil
}
func (w *world) Check(context.Context, ocispec.Descriptor, state.Envelope) error { return nil }

// ledger knows what the vector says of the repository, and keeps nothing.
type ledger struct {
	*world
	known dct.Known
}

func (l ledger) Repository(gun string) (state.Repository, bool, error) {
	r := state.Repository{GUN: gun, Root: l.known.Root, Roles: map[string]state.Floor{}}
	for role, f := range l.known.Floors {
		r.Roles[role] = state.Floor(f)
	}
	return r, len(r.Root) > 0, nil
}
func (l ledger) SetRepository(state.Repository) error       { return nil }
func (l ledger) ReplaceRoot(state.Repository, string) error { return nil }
func (l ledger) Plan(items []state.Item) ([]state.Item, error) {
	for i := range items {
		items[i].Stage = state.Planned
	}
	return items, nil
}
func (l ledger) Sign(state.Key, state.Envelope) error                             { return nil }
func (l ledger) Push(state.Key, string) error                                     { return nil }
func (l ledger) Confirm(state.Key, string, string) error                          { return nil }
func (l ledger) Adopt(state.Key, string, state.SignedBy, map[string]string) error { return nil }
func (l ledger) Reopen(state.Key) (state.Stage, error)                            { return state.Planned, nil }
func (l ledger) Skip(state.Key, string, string) error                             { return nil }
func (l ledger) Fail(state.Key, string, string) error                             { return nil }
func (l ledger) Discard(state.Key, string) error                                  { return nil }
func (l ledger) Item(state.Key) (state.Item, bool, error)                         { return state.Item{}, false, nil }
func (l ledger) Envelope(state.Key) (state.Envelope, bool, error)                 { return state.Envelope{}, true, nil }
func (l ledger) Beside(string, func(string) bool) ([]state.Item, error)           { return nil, nil }
