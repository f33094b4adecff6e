package state_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

const (
	baseVar = "DCT2NOTATION_STATE_TEST_BASE"

	// fullVar asks for the full numbers of kills and damages; "damage" asks for the number
	// of damages that every change is tested with, too many for the race detector.
	fullVar = "DCT2NOTATION_STATE_TEST_FULL"
)

// playMover leads items to their end with eight workers, for ever, and prints
// each stage after the ledger has acknowledged it.
func playMover() error {
	base, err := strconv.Atoi(os.Getenv(baseVar))
	if err != nil {
		return err
	}
	l, err := state.Open(os.Getenv(pathVar), state.Options{})
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for n := base + w; ; n += 8 {
				ack := func(s state.Stage, err error) {
					if err != nil {
						fmt.Fprintln(os.Stderr, err)
						os.Exit(1)
					}
					// One write, which a pipe takes whole.
					os.Stdout.WriteString(fmt.Sprintf("%d %s\n", n, s))
				}
				_, err := l.Plan([]state.Item{item(n)})
				ack(state.Planned, err)
				ack(state.Signed, l.Sign(key(n), envelope(n)))
				ack(state.Pushed, l.Push(key(n), signature(n)))
				ack(state.Confirmed, l.Confirm(key(n), signature(n)))
			}
		})
	}
	group.Wait()
	return nil
}

// mover runs a mover and kills it at a random moment of its work; it returns
// the last acknowledged stage of each item.
func mover(t *testing.T, path string, base int, delay time.Duration) map[int]state.Stage {
	t.Helper()
	c := child(t, "moves", pathVar+"="+path, fmt.Sprintf("%s=%d", baseVar, base))
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	acked := map[int]state.Stage{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n int
		var s state.Stage
		if _, err := fmt.Sscanf(lines.Text(), "%d %s", &n, &s); err != nil {
			t.Errorf("%q: %v", lines.Text(), err)
		}
		if len(acked) == 0 {
			time.AfterFunc(delay, func() { c.Process.Kill() })
		}
		acked[n] = s
	}
	if err := c.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	return acked
}

func TestAKillAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	kills := 12
	if os.Getenv(fullVar) != "" {
		kills = 100
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "ledger.db")
	total := 0
	for round := range kills {
		acked := mover(t, path, round*1_000_000, time.Duration(random.IntN(30_000))*time.Microsecond)
		total += len(acked)
		if len(acked) == 0 {
			t.Fatalf("round %d: it did nothing", round)
		}
		l, err := state.Open(path, state.Options{})
		if err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		for n, s := range acked {
			got, _, err := l.Item(key(n))
			if err != nil || slices.Index(state.Stages(), got.Stage) < slices.Index(state.Stages(), s) {
				t.Errorf("seed %d, round %d: item %d is %q, acknowledged was %q; %v", seed, round, n, got.Stage, s, err)
			}
		}
		checkWhole(t, l)
		must(t, l.Close())
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d kills, %d items", kills, total)
}

// checkWhole checks what must hold in any ledger.
func checkWhole(t *testing.T, l *state.Ledger) {
	t.Helper()
	items, err := all(l, 0)
	must(t, err)
	seen := map[state.Stage]int{}
	for _, i := range items {
		seen[i.Stage]++
		_, has, err := l.Envelope(i.Key)
		if err != nil || has != (i.Stage == state.Signed || i.Stage == state.Pushed) {
			t.Errorf("%s is %s, envelope in the outbox: %v, %v", i.Key, i.Stage, has, err)
		}
	}
	counts, err := l.Counts()
	must(t, err)
	for s, n := range counts {
		if seen[s] != n {
			t.Errorf("%d items are %s, counted were %d", seen[s], s, n)
		}
	}
	must(t, l.VerifyEvents())
}
