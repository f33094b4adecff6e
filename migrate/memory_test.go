package migrate

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Promise 2, from run to run: what a run saw of the trust data is in the ledger, and the
// next run refuses less. Nothing but the ledger tells these from a first sight.
func TestNeverASilentDowngrade_FromRunToRun(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(s *scene) error{
		"a delegation withheld": func(s *scene) error {
			r := s.delegated()
			_, _, err := s.run(App)
			s.Must(err)
			return r.DropFromSnapshot("targets/releases")
		},
		"an older delegation": func(s *scene) error {
			r := s.delegated()
			old := s.Notary.Raw(App, "targets/releases")
			s.Must(r.Sign("v3", s.Put("v3").Encoded(), 100))
			s.Must(r.Publish())
			_, _, err := s.run(App)
			s.Must(err)
			return r.Replace("targets/releases", old)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Must(harm(s))
			before := len(s.operations)
			summary, _, err := s.run(App)
			if !errors.Is(err, dct.ErrNothingRead) || summary.Unread[failure.Security] != 1 || len(s.operations) != before {
				t.Errorf("error %v, %d more key operations, summary %+v", err, len(s.operations)-before, summary)
			}
		})
	}
}

// delegated publishes a tag whose digest in targets is older than that in releases.
func (s *scene) delegated() interface {
	Sign(tag, sha256hex string, size int64, roles ...string) error
	Publish() error
	DropFromSnapshot(role string) error
	Replace(role string, raw []byte) error
} {
	s.T.Helper()
	r := s.Publish(App, "v1")
	s.Must(r.AddSigner("alice"))
	s.Must(r.Sign("v1", s.Put("v2").Encoded(), 100))
	s.Must(r.Publish())
	return r
}

// A root that was accepted at first sight is the one that the next run asks for.
func TestRootOfFirstSightIsRemembered(t *testing.T) {
	t.Parallel()
	s, attacker := newScene(t), newScene(t)
	s.Publish(App, "v1")
	attacker.Publish(App, "evil")
	s.Pins = dct.Pins{TOFU: true}
	_, _, err := s.run(App)
	s.Must(err)
	s.Pins = dct.Pins{}
	_, _, err = s.run(App)
	s.Must(err)
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	kept, ok, err := l.Repository(App)
	s.Must(errors.Join(err, l.Close()))
	if !ok || kept.Pin != state.PinTOFU || len(kept.Roles) != 4 {
		t.Errorf("kept %+v", kept)
	}
	s.Notary, s.Pins = attacker.Notary, dct.Pins{TOFU: true}
	s.Put("evil")
	summary, _, _ := s.run(App)
	if summary.Unread[failure.Security] != 1 || len(s.signatures[digest.FromString("image evil")]) != 0 {
		t.Errorf("another root: %+v", summary)
	}
}
