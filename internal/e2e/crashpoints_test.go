package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// effects are what a run does to the world, item by item. A run can be crashed before and after
// each. If the registry has the referrers API, nobody pushes an index.
var effects = []string{"key", "commit", "blob", "config", "manifest", "index", "pushed", "confirm"}

// crashItems is large enough that some items are in other stages when one is at its crash point.
const crashItems = 10

// TestCrashAtEveryPoint crashes the program before and after each of its effects, at the first item
// and at the second, and runs it again. Each image has one signature, nothing else has any, and no
// more key operations are lost than there are workers.
func TestCrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	for kind, referrers := range map[string]bool{"referrers-api": true, "tag-schema": false} {
		for _, effect := range effects {
			if referrers && effect == "index" {
				continue
			}
			for _, side := range []string{"before", "after"} {
				for nth := 1; nth <= 2; nth++ {
					point := fmt.Sprintf("%s-%s:%d", side, effect, nth)
					t.Run(kind+" "+point, func(t *testing.T) {
						t.Parallel()
						k := newKilling(t, killingWorld{program: "dct2notation-failpoint", referrers: referrers, items: crashItems})
						k.crash(point)
						v := k.verdict()
						if !v.good() || v.operations < v.items {
							t.Errorf("got a promise broken: %s, want it kept", v)
						}
						k.judge()
					})
				}
			}
		}
	}
}

// crash runs the program until it dies at that point, and then to its end.
func (k *killing) crash(point string) {
	k.t.Helper()
	clean := slices.Clone(k.extra)
	k.extra = append(k.extra, "DCT2NOTATION_TEST_CRASH="+point)
	if k.runAtMost(time.Minute) {
		k.t.Fatalf("the run did not crash at %s", point)
	}
	k.extra = clean
	if !k.runAtMost(time.Minute) {
		k.t.Fatal("the second run did not end")
	}
	k.late.wait()
}

// TestTheProductHasNoCrashPoints shows that the released program cannot be crashed in this way.
func TestTheProductHasNoCrashPoints(t *testing.T) {
	t.Parallel()
	k := newKilling(t, killingWorld{program: "dct2notation", referrers: true, items: 2})
	k.extra = append(k.extra, "DCT2NOTATION_TEST_CRASH=before-key:1", "DCT2NOTATION_TEST_SIGN_BEFORE_RECORD=1")
	if !k.runAtMost(time.Minute) || k.kills > 0 {
		t.Error("got a crash, want none")
	}
}
