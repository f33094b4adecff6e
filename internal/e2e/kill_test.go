package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	killsPerKind  = 250
	killsRenewing = 60
	killsNaive    = 40 // in each round, until it is noticed
	roundsNaive   = 12
	itemsPerKind  = 160 // at the start; more are published whenever a run comes to its end
	killWorkers   = 4
	killFrom      = 20 * time.Millisecond
	killTo        = 200 * time.Millisecond
	killPatient   = 2 * time.Second
	killPause     = 500 * time.Millisecond // for which a run waits before it believes that there is no referrers API
	troubleOneIn  = 40                     // requests to the registry
	signatureTime = 10                     // milliseconds that a key operation takes on top
)

// TestKillAnywhere kills the real program at random moments, again and again, while the registry
// refuses requests, breaks connections and loses answers, and the key's service throttles. Then it
// asks the registry: no item is lost, none is signed twice, nothing is signed that DCT did not
// vouch for, and no more key operations are wasted than workers were killed during one. The
// registry carries out some writes after their sender has died. DCT2NOTATION_E2E_KILLS asks for
// more kills.
//
// It is not parallel: on a busy machine, the moments would mean nothing.
func TestKillAnywhere(t *testing.T) {
	for kind, referrers := range map[string]bool{"referrers-api": true, "tag-schema": false} {
		t.Run(kind, func(t *testing.T) {
			kills := number(t, "DCT2NOTATION_E2E_KILLS", killsPerKind)
			k := newKilling(t, killingWorld{program: "dct2notation", referrers: referrers, items: itemsPerKind, faults: throttling, rand: seed(t)})
			k.faulty.on.Store(true)
			k.kill(kills)
			v := k.verdict()
			t.Log(v)
			t.Logf("troubles made: %v; runs that ended by themselves, by exit code: %v", k.faulty.count(), k.ends)
			if !v.good() {
				t.Errorf("got a promise broken: %s, want it kept", v)
			}
			if v.kills < kills || v.items < itemsPerKind || v.operations < v.items || v.throttled == 0 || len(k.faulty.count()) < len(troubles) {
				t.Errorf("got too little tried, or not counted: %s, troubles %v, want %d kills", v, k.faulty.count(), kills)
			}
			k.judge()
		})
	}
}

// TestKillWhileCertificatesAreRenewed does the same with fewer kills. The key gets another
// certificate after every third signature, so that what a killed run left was signed by an earlier
// one.
func TestKillWhileCertificatesAreRenewed(t *testing.T) {
	kills := number(t, "DCT2NOTATION_E2E_KILLS", killsRenewing)
	k := newKilling(t, killingWorld{program: "dct2notation", referrers: true, items: itemsPerKind, rand: seed(t), renews: 3})
	k.kill(kills)
	v := k.verdict()
	t.Log(v)
	if !v.good() || v.kills < kills || v.operations < v.items {
		t.Errorf("got %s, want each image signed once, after %d kills", v, kills)
	}
	k.judge()
}

// TestKillFindsTheNaiveOrder shows that the test above can fail: the same oracle detects a program
// that signs and pushes before it records. The registry has the referrers API. Without it, each run
// waits half a second before it looks, and by then whatever a killed run sent has arrived.
func TestKillFindsTheNaiveOrder(t *testing.T) {
	k := newKilling(t, killingWorld{program: "dct2notation-failpoint", referrers: true, items: itemsPerKind, rand: seed(t)})
	k.extra = append(k.extra, "DCT2NOTATION_TEST_SIGN_BEFORE_RECORD=1")
	for range roundsNaive {
		k.kill(killsNaive)
		v := k.verdict()
		t.Log(v)
		if v.duplicate > 0 || v.operations > v.bound() {
			return
		}
	}
	t.Error("signing before recording: got it unnoticed, want it noticed")
}

// number returns the number in the environment, which may ask for more than every change can wait
// for, or else the usual one.
func number(t *testing.T, variable string, usual int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s: got %q, want a number of tries", variable, s)
	}
	return n
}

// seed returns a new seed, or that of DCT2NOTATION_E2E_SEED to choose the same moments again. What
// the program does at those moments also depends on the machine.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("DCT2NOTATION_E2E_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("DCT2NOTATION_E2E_SEED: got error %v, want none", err)
		}
	}
	t.Logf("DCT2NOTATION_E2E_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}
