package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	killsPerKind  = 110
	killsNaive    = 40 // in each round, until it is noticed
	roundsNaive   = 6
	itemsPerKind  = 160 // at the start; more are published whenever a run comes to its end
	killWorkers   = 4
	killFrom      = 20 * time.Millisecond
	killTo        = 200 * time.Millisecond
	signatureTime = 10 // milliseconds that a key operation takes on top
)

// TestKillAnywhere kills the real program at random moments, again and again, and then
// asks the registry: no item lost, none signed twice, nothing signed that DCT did not
// vouch for, and no more key operations wasted than workers were killed with one in hand.
// The registry carries out some writes when their sender is dead already.
//
// It is not parallel: the moments would say nothing on a busy machine.
func TestKillAnywhere(t *testing.T) {
	for kind, referrers := range map[string]bool{"referrers-api": true, "tag-schema": false} {
		t.Run(kind, func(t *testing.T) {
			k := newKilling(t, "dct2notation", referrers, seed(t))
			k.kill(killsPerKind)
			v := k.verdict()
			t.Log(v)
			if !v.good() {
				t.Errorf("promise broken: %s", v)
			}
			if v.kills < killsPerKind || v.items < itemsPerKind || v.operations < v.items {
				t.Errorf("too little was tried, or not counted: %s", v)
			}
			k.judge()
		})
	}
}

// TestKillFindsTheNaiveOrder shows that the test above would notice: a program that signs
// and pushes before it records is found out by the same oracle.
func TestKillFindsTheNaiveOrder(t *testing.T) {
	for kind, referrers := range map[string]bool{"referrers-api": true, "tag-schema": false} {
		t.Run(kind, func(t *testing.T) {
			k := newKilling(t, "dct2notation-failpoint", referrers, seed(t))
			k.extra = append(k.extra, "DCT2NOTATION_TEST_SIGN_BEFORE_RECORD=1")
			for range roundsNaive {
				k.kill(killsNaive)
				v := k.verdict()
				t.Log(v)
				if v.duplicate > 0 || v.operations > v.bound() {
					return
				}
			}
			t.Error("signing before recording was not noticed")
		})
	}
}

// seed is the run's own, or that of DCT2NOTATION_E2E_SEED to choose the same moments again.
// What the program does in them depends on the machine as well.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("DCT2NOTATION_E2E_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("DCT2NOTATION_E2E_SEED: %v", err)
		}
	}
	t.Logf("DCT2NOTATION_E2E_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}
