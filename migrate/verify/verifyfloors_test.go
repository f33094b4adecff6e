package verify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/state"
)

// remembering verifies the repository, held to what the scene's ledger remembers.
func (s *scene) remembering(judge verdicts) (got Repository) {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{ReadOnly: true})
	s.Must(err)
	defer func() { s.Must(l.Close()) }()
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: judge, Workers: 4, Before: l.Repository}
	// The ledger has it by the name in DCT, wherever the images are.
	v.Scope.Place = func(dct.GUN) string { return "registry.example.com/mirror/app" }
	err = v.Verify(context.Background(), s.GUNs(scenetest.App), func(r Repository) error {
		got = r
		return nil
	})
	if (got.Class != "") != errors.Is(err, dct.ErrNothingRead) { // there is only this one
		s.T.Errorf("%s, and the error %v", got.Class, err)
	}
	return got
}

// served is what the Notary server has of the repository now.
func (s *scene) served() map[string]notarytest.Version {
	files := map[string]notarytest.Version{}
	for _, role := range s.Notary.Roles(scenetest.App) {
		history := s.Notary.History(scenetest.App, role)
		files[role] = history[len(history)-1]
	}
	return files
}

// trusted is a judge to whom everything is signed.
func trusted(tags ...string) verdicts {
	judge := verdicts{}
	for _, tag := range tags {
		judge[digest.FromString("image "+tag)] = func() (Verdict, error) { return Verdict{Signatures: 1, Trusted: true}, nil }
	}
	return judge
}

// A Notary server that was rolled back vouches again for what was revoked, with signatures
// that are valid. What runs have seen is what tells.
func TestRolledBackTrustDataNeverAgrees(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	judge := trusted("kept", "revoked")
	r := s.Publish(scenetest.App, "kept", "revoked")
	before := s.served()
	s.Must(r.Remove("revoked"))
	s.Must(r.Publish())
	s.run(scenetest.App)
	if got := s.remembering(judge); got.Totals[Agree] != 1 || got.Totals[NotationOnly] != 1 {
		t.Errorf("as the run has seen it: %+v", got)
	}
	for role, f := range before {
		s.Notary.Put(scenetest.App, role, f.Number, f.Raw)
	}
	if got := s.comparing(judge, func(*Verification) {}); got.Class != "" || got.Totals[Agree] != 2 {
		t.Errorf("without a ledger: %+v", got)
	}
	got := s.remembering(judge)
	if got.Class != Untrusted || len(got.Tags) != 0 || !strings.Contains(got.Reason, "is lower than current version") {
		t.Errorf("rolled back: %+v", got)
	}
}

// migrate.Trust data that went on since the run is compared as ever.
func TestNewerTrustDataThanTheRunsIsCompared(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(scenetest.App, "v1")
	s.run(scenetest.App)
	s.Must(r.Sign("v2", s.Put("v2").Encoded(), 100))
	s.Must(r.Publish())
	if got := s.remembering(trusted("v1", "v2")); got.Class != "" || got.Totals[Agree] != 2 {
		t.Errorf("%+v", got)
	}
}

// Where no pin is configured, the root that a run has trusted is the one, as it is in a run.
func TestAnotherRootThanTheRunsIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	s.Pins = dct.Pins{TOFU: true}
	s.run(scenetest.App)
	s.Pins = dct.Pins{}
	if got := s.remembering(trusted("v1")); got.PinnedBy != dct.PinnedEarlier || got.Totals[Agree] != 1 {
		t.Errorf("the same root: %+v", got)
	}
	s.Notary.Delete(scenetest.App)
	again, err := s.Notary.NewRepository(scenetest.App)
	s.Must(err)
	s.Must(again.Sign("v1", s.Put("v1").Encoded(), 100))
	s.Must(again.Publish())
	s.Pins = dct.Pins{TOFU: true}
	if got := s.comparing(trusted("v1"), func(*Verification) {}); got.Totals[Agree] != 1 {
		t.Errorf("without a ledger: %+v", got)
	}
	if got := s.remembering(trusted("v1")); got.Class != Untrusted || len(got.Tags) != 0 {
		t.Errorf("another root: %+v", got)
	}
}

// A ledger that cannot be read does not count as one that remembers nothing.
func TestWhatRunsHaveSeenMustBeReadable(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	damaged := func(string) (state.Repository, bool, error) { return state.Repository{}, false, errors.New("damaged") }
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: trusted("v1"), Workers: 1, Before: damaged}
	err := v.Verify(context.Background(), s.GUNs(scenetest.App), func(r Repository) error {
		t.Errorf("compared: %+v", r)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), scenetest.App) {
		t.Errorf("error %v", err)
	}
}
