package migrate

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// noted reports whether a note of that kind is among the notes.
func noted(notes []string, kind string) bool {
	return slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, kind+": ") })
}

// An image that ends with three signatures is warned about, in the plan and in the run, and
// in a run that finds its signature there.
func TestManySignaturesAreWarnedAbout(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "two", "three")
	s.signatures[digest.FromString("image two")] = []string{"foreign1"}
	s.signatures[digest.FromString("image three")] = []string{"foreign1", "foreign2"}
	check := func(when string, notes map[string][]string) {
		t.Helper()
		for tag, want := range map[string]bool{"two": false, "three": true} {
			if noted(notes[tag], "many-signatures") != want {
				t.Errorf("%s: %s has notes %v", when, tag, notes[tag])
			}
		}
	}
	planned := func() map[string][]string {
		notes := map[string][]string{}
		for _, it := range s.plan(App).Repositories[0].Items {
			notes[it.Tags[0].Tag] = it.Notes
		}
		return notes
	}
	ran := func() map[string][]string {
		t.Helper()
		_, outcomes, err := s.run(App)
		s.Must(err)
		notes := map[string][]string{}
		for _, o := range outcomes {
			notes[o.Tags[0]] = o.Notes
		}
		return notes
	}
	check("plan", planned())
	check("run", ran())
	check("plan after the run", planned())
	s.ledger += ".new"
	check("run with a new ledger", ran())
}

// broken lists an entry more for each image, which cannot be read.
type broken struct{ *scene }

func (b broken) Find(ctx context.Context, image Image, key string) (Found, error) {
	f, err := b.scene.Find(ctx, image, key)
	f.Broken, f.Why = 1, "not a signature manifest"
	return f, err
}

// An entry that cannot be read is reported, and keeps nothing from being signed.
func TestMalformedReferrersAreReported(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	s.mutate = func(e *Engine) { e.Registry = broken{s} }
	if notes := s.plan(App).Repositories[0].Items[0].Notes; !noted(notes, "malformed-referrers") {
		t.Errorf("plan: %v", notes)
	}
	summary, outcomes, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	if !noted(outcomes[0].Notes, "malformed-referrers") {
		t.Errorf("run: %v", outcomes[0].Notes)
	}
}
