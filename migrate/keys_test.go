package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// named is another key of the world.
type named struct {
	*scene
	name   string
	denied bool
}

func (k *named) Name() string { return k.name }
func (k *named) Leaf() string { return "leaf of " + k.name }

func (k *named) Sign(_ context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	if k.denied {
		return state.Envelope{}, failure.New(failure.Denied, errors.New("denied"))
	}
	return k.signAs(k.name, subject, metadata)
}

func (k *named) Check(ctx context.Context, subject ocispec.Descriptor, e state.Envelope) error {
	if !strings.Contains(string(e.Blob), " by "+k.name+" ") {
		return errors.New("envelope of another key")
	}
	return k.scene.Check(ctx, subject, e)
}

// signers publishes the tags in alice's role, in bob's, or in both, and all of them in releases.
func (s *scene) signers(gun string, tags map[string][]string) {
	s.T.Helper()
	r, err := s.Notary.NewRepository(gun)
	s.Must(err)
	s.Must(r.AddSigner("alice"))
	s.Must(r.AddSigner("bob"))
	for tag, roles := range tags {
		s.Must(r.Sign(tag, s.Put(tag).Encoded(), 100, append(slices.Clone(roles), "targets/releases")...))
	}
	s.Must(r.Publish())
	s.Pins.Certs[gun] = r.RootKeyIDs()
}

// by returns the names of the keys that signed an image, sorted.
func (s *scene) by(tag string) []string {
	var names []string
	for _, signature := range s.signatures[digest.FromString("image "+tag)] {
		names = append(names, s.signedBy[signature])
	}
	slices.Sort(names)
	return names
}

// Each key signs what the roles assigned to it vouch for, and nothing else.
func TestEachKeySignsForItsRoles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.signers(App, map[string][]string{"v1": {"targets/alice"}, "v2": {"targets/bob"}, "v3": {"targets/alice", "targets/bob"}, "v4": nil})
	release, alice := &named{scene: s, name: "release"}, &named{scene: s, name: "alice"}
	s.mutate = func(e *Engine) { e.Keys = []Key{{Signer: release}, {Signer: alice, Roles: []string{"targets/alice"}}} }
	for range 2 { // the second finds everything done
		summary, outcomes, err := s.run(App)
		s.Must(err)
		if !summary.Complete() || summary.Items != 6 {
			t.Errorf("got %+v, want it complete with 6 items", summary)
		}
		for _, o := range outcomes {
			if o.Key != "release" && o.Key != "alice" {
				t.Errorf("outcome: got key %q, want release or alice", o.Key)
			}
		}
	}
	for tag, want := range map[string]string{"v1": "alice release", "v2": "release", "v3": "alice release", "v4": "release"} {
		if got := strings.Join(s.by(tag), " "); got != want {
			t.Errorf("%s: got it signed by %q, want %q", tag, got, want)
		}
	}
	if len(s.operations) != 6 {
		t.Errorf("got %d key operations, want 6", len(s.operations))
	}
}

// After a kill half way, each key's envelopes are replayed as its own.
func TestEnvelopesOfSeveralKeysAreReplayedAsTheirOwn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.signers(App, map[string][]string{"v1": {"targets/alice"}, "v2": {"targets/alice"}})
	release, alice := &named{scene: s, name: "release"}, &named{scene: s, name: "alice"}
	s.mutate = func(e *Engine) { e.Keys = []Key{{Signer: release}, {Signer: alice, Roles: []string{"targets/alice"}}} }
	s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
	_, _, err := s.run(App)
	s.Must(err)
	s.Heal()
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultReplayed: 2, ResultAlready: 2})
	if got := strings.Join(s.by("v1"), " "); got != "alice release" || len(s.operations) != 4 {
		t.Errorf("got it signed by %q with %d key operations, want by alice and release with 4", got, len(s.operations))
	}
}

// Images for which no key is configured fail, by the name of their repository. No other configured
// key signs anything of that repository.
func TestNoKeyIsNoDefault(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/other"
	s := newScene(t)
	s.signers(App, map[string][]string{"v1": {"targets/alice"}, "v2": {"targets/bob"}})
	s.Publish(other, "o1")
	alice := &named{scene: s, name: "alice"}
	s.mutate = func(e *Engine) {
		e.Keys = []Key{
			{Signer: alice, Roles: []string{"targets/alice"}, In: func(g dct.GUN) bool { return g.String() == App }},
			{Signer: s, In: func(g dct.GUN) bool { return g.String() == other }},
		}
	}
	summary, _, err := s.run(App, other)
	s.Must(err)
	if summary.Unread[failure.NoKey] != 1 || summary.Complete() || summary.Results[ResultSigned] != 1 {
		t.Errorf("got %+v, want incomplete, one %s, one signed", summary, failure.NoKey)
	}
	if len(s.by("v1")) != 0 || strings.Join(s.by("o1"), " ") != "release" {
		t.Errorf("got v1 by %v, o1 by %v, want none, release", s.by("v1"), s.by("o1"))
	}
	mutate := s.mutate
	p := s.plan(App, other)
	if r := p.Repositories[0]; r.Error == nil || r.Error.Class != failure.NoKey || !strings.Contains(r.Error.Reason, App) || !strings.Contains(r.Error.Reason, "v2") {
		t.Errorf("plan: got %+v, want %s that names %s and v2", p.Repositories[0], failure.NoKey, App)
	}
	for name, keys := range map[string][]Key{"no key": nil, "two keys of one name": {{Signer: s}, {Signer: s}}} {
		s.mutate = func(e *Engine) { e.Keys = keys }
		if _, _, err := s.run(other); err == nil || !strings.HasPrefix(err.Error(), "keys: ") {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	// If the tag is excluded, it needs no key.
	s.mutate = func(e *Engine) { mutate(e); e.Scope.Wanted = func(tag string) bool { return tag != "v2" } }
	summary, _, err = s.run(App)
	s.Must(err)
	if !summary.Done() || summary.LeftOut != 1 || strings.Join(s.by("v1"), " ") != "alice" {
		t.Errorf("got %+v, v1 by %v, want done with one left out, and alice", summary, s.by("v1"))
	}
}

// A denied key ends the run although another key goes on signing.
func TestDeniedKeyIsSeenBesideAnother(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	tags := map[string][]string{}
	for _, tag := range strings.Fields("a b c d e f g h i j") {
		tags[tag] = []string{"targets/alice"}
	}
	s.signers(App, tags)
	release, alice := &named{scene: s, name: "release"}, &named{scene: s, name: "alice", denied: true}
	s.mutate = func(e *Engine) {
		e.Workers = 1
		e.Keys = []Key{{Signer: release}, {Signer: alice, Roles: []string{"targets/alice"}}}
	}
	if _, _, err := s.run(App); !errors.Is(err, ErrStopped) {
		t.Errorf("got error %v, want %v", err, ErrStopped)
	}
}

// A plan limits the keys as well as the digests.
func TestPlanBoundsEachKey(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.signers(App, map[string][]string{"v1": {"targets/alice"}})
	release, alice := &named{scene: s, name: "release"}, &named{scene: s, name: "alice"}
	both := func(e *Engine) { e.Keys = []Key{{Signer: release}, {Signer: alice, Roles: []string{"targets/alice"}}} }
	s.mutate = both
	p := s.plan(App)
	if len(p.Keys) != 2 || len(p.Repositories[0].Items) != 2 {
		t.Fatalf("plan: got %+v, want 2 keys and 2 items", p)
	}
	p.Repositories[0].Items = slices.DeleteFunc(p.Repositories[0].Items, func(it PlanItem) bool { return it.Key == "alice" })
	s.mutate = func(e *Engine) { both(e); e.Plan = p }
	summary, _, err := s.run(App)
	s.Must(err)
	if summary.Skipped[failure.NotPlanned] != 1 || strings.Join(s.by("v1"), " ") != "release" {
		t.Errorf("got %+v, v1 by %v, want one %s, and release", summary, s.by("v1"), failure.NotPlanned)
	}
}
