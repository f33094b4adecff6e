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
	"github.com/dct2notation/dct2notation/internal/lookup"
)

// asking records the order in which tags and digests are requested.
type asking struct {
	*scene
	asked *[]string
}

func (a asking) Resolve(ctx context.Context, repository string, d digest.Digest) (ocispec.Descriptor, error) {
	*a.asked = append(*a.asked, "digest")
	return a.scene.Resolve(ctx, repository, d)
}

func (a asking) Tag(ctx context.Context, repository, tag string) lookup.Answer[digest.Digest] {
	*a.asked = append(*a.asked, tag)
	return a.scene.Tag(ctx, repository, tag)
}

// Tags come first, since their answer gives the digest, which then needs no request of its own. If
// a tag fails, the digest is requested, nothing is forbidden and no other tag is hidden.
func TestTagsAreLookedAtBeforeTheirDigest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		harm    func(*scene, digest.Digest)
		asked   []string
		classes []TagClass
		skip    failure.Class
		fails   bool
	}{
		{"all is well", func(*scene, digest.Digest) {}, []string{"a", "b", "c", "digest"}, []TagClass{TagOK, TagOK, TagOK}, "", false},
		{"one was moved, one is gone", func(s *scene, _ digest.Digest) {
			s.Tagged["a"] = digest.FromString("another")
			delete(s.Tagged, "b")
		}, []string{"a", "b", "c", "digest"}, []TagClass{TagMoved, TagGone, TagOK}, "", false},
		{"one fails", func(s *scene, d digest.Digest) {
			s.Tagged["b"] = digest.FromString("another")
			s.Faults["tag"] = func(to digest.Digest) (bool, error) {
				if to != d {
					return false, failure.New(failure.Transient, errors.New("500"))
				}
				return true, nil
			}
		}, []string{"a", "b", "digest", "c"}, []TagClass{TagOK, TagUnknown, TagOK}, "", false},
		{"all fail, and the digest does", func(s *scene, _ digest.Digest) {
			for _, step := range []string{"tag", "resolve"} {
				s.Faults[step] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Transient, errors.New("500")) }
			}
		}, []string{"a", "digest"}, nil, "", true},
		{"the digest is missing, whatever its tags say", func(s *scene, d digest.Digest) {
			delete(s.Images, d)
		}, []string{"a", "b", "c", "digest"}, nil, failure.Missing, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			r := s.Publish(App, "a")
			d := s.Tagged["a"]
			for _, tag := range []string{"b", "c"} {
				s.Tagged[tag] = d
				s.Must(r.Sign(tag, d.Encoded(), 100))
			}
			s.Must(r.Publish())
			trusted, err := s.Trust().Read(t.Context(), s.GUNs(App)[0], dct.Known{})
			s.Must(err)
			c.harm(s, d)
			var asked []string
			e := &Engine{Registry: asking{s, &asked}, Keys: []Key{{Signer: s}}, Workers: 1}
			work, err := gather(e.Scope, e.Keys, trusted)
			s.Must(err)
			x, err := e.inspector().inspect(t.Context(), work[0])
			if (err != nil) != c.fails || x.Skip != c.skip {
				t.Errorf("got skip %q, error %v, want skip %q, an error %t", x.Skip, err, c.skip, c.fails)
			}
			var classes []TagClass
			for i, now := range x.Tags {
				classes = append(classes, now.Class)
				if now.Tag != []string{"a", "b", "c"}[i] {
					t.Errorf("tag %d: got %s, want %s", i, now.Tag, []string{"a", "b", "c"}[i])
				}
			}
			if !slices.Equal(classes, c.classes) || !slices.Equal(asked, c.asked) {
				t.Errorf("got tags %v, asked for %v, want %v, asked for %v", classes, asked, c.classes, c.asked)
			}
		})
	}
}

// noted reports whether the notes have one of that kind.
func noted(notes []string, kind string) bool {
	return slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, kind+": ") })
}

// An image that ends with three signatures is warned about in the plan, in the run, and in a run
// that finds its signature already there.
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
				t.Errorf("%s: %s: got notes %v, want many-signatures %t", when, tag, notes[tag], want)
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

// broken lists one more entry for each image, which cannot be read.
type broken struct{ *scene }

func (b broken) Find(ctx context.Context, image Image, key string) (Found, error) {
	f, err := b.scene.Find(ctx, image, key)
	f.Broken, f.Why = 1, "not a signature manifest"
	return f, err
}

// An entry that cannot be read is reported, and does not prevent signing.
func TestMalformedReferrersAreReported(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	s.mutate = func(e *Engine) { e.Registry = broken{s} }
	if notes := s.plan(App).Repositories[0].Items[0].Notes; !noted(notes, "malformed-referrers") {
		t.Errorf("plan: got notes %v, want malformed-referrers", notes)
	}
	summary, outcomes, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	if !noted(outcomes[0].Notes, "malformed-referrers") {
		t.Errorf("run: got notes %v, want malformed-referrers", outcomes[0].Notes)
	}
}
