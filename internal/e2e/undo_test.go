package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/kmstest"
)

// undo runs the verb and returns how it ended. It needs neither the Notary server nor the key.
func (m *migration) undo(t testing.TB, args ...string) result {
	t.Helper()
	return m.run(t, "dct2notation", slices.Concat([]string{"undo"}, m.registry.flags(), args)...)
}

// TestUndoneIsUndoneForNotationToo has the real notation command look at what is left, of ours
// and of a stranger's.
func TestUndoneIsUndoneForNotationToo(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	for kind, start := range deletingKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, start(t), "undo")
			_, s.key = installKMS(t, s.home, issue(t, s.ca, "release", kmstest.EC256), kmstest.Behaviour{})
			s.strangerSigns(t, s.v2)
			for range 2 { // signing again after undoing is signing as ever
				if got := s.runCounts(t, s.gun); got["signed"] != 2 {
					t.Errorf("run gives %v, want 2 signed", got)
				}
				s.accepted(t, s.v1, "v1", "targets/releases")
				s.accepted(t, s.v2, "v2", "targets")
				if r := s.undo(t, "--dry-run", s.gun); r.code != 0 || !strings.Contains(r.stdout, "would remove 2, ") {
					t.Errorf("dry run: %s", r)
				}
				s.accepted(t, s.v1, "v1", "targets/releases")
				if r := s.undo(t, "--yes", s.gun); r.code != 0 || !strings.Contains(r.stdout, "removed 2, ") {
					t.Fatalf("undo: %s", r)
				}
				s.refused(t, s.v1)
				s.refused(t, s.v2)
				if ours, theirs := s.signatures(t, s.reference(s.v1)), s.signatures(t, s.reference(s.v2)); ours != 0 || theirs != 1 {
					t.Errorf("notation inspect shows %d signatures of v1 and %d of v2, want 0 and the stranger's", ours, theirs)
				}
				s.verify(t, 4, s.gun, map[string]class{"v1": {"dct-only", false}, "v2": {"untrusted", false}})
			}
		})
	}
}

// TestUndoWhereDeletingIsDisabled: docker-registry's own default.
func TestUndoWhereDeletingIsDisabled(t *testing.T) {
	t.Parallel()
	s := newStory(t, startNotary(t, nil), startDockerRegistry(t, nil, "", ""), "undo")
	_, s.key = installKMS(t, s.home, issue(t, s.ca, "release", kmstest.EC256), kmstest.Behaviour{})
	s.runCounts(t, s.gun)
	if r := s.undo(t, "--yes", s.gun); r.code != 3 || !strings.Contains(r.stdout, "hint: docker-registry deletes only where") {
		t.Errorf("undo: %s", r)
	}
	s.accepted(t, s.v1, "v1", "targets/releases")
	s.accepted(t, s.v2, "v2", "targets")
}
