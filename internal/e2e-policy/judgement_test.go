package e2epolicy

import "testing"

// The consumers' own commands judge by the files written after a migration: what was migrated
// passes, and nothing else.
func TestRatifyAndKyvernoJudge(t *testing.T) {
	t.Parallel()
	for kind := range registries {
		for how, stamped := range map[string]bool{"plain": false, "countersigned": true} {
			t.Run(kind+"/"+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, kind, stamped)
				t.Run("ratify", w.ratifyJudges)
				t.Run("kyverno", w.kyvernoJudges)
			})
		}
	}
}
