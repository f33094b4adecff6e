package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dct2notation/dct2notation/internal/e2e/powerloss"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

const powerLossImages = 5000

// TestPowerLossAtAnyMomentLosesNothingAcknowledged records what a ledger with eight workers writes,
// and opens what a disk may hold if the power fails at any moment. Everything acknowledged is
// there, with at most one more move of each item, and the history is a prefix of the final one. No
// image is refused and none ends the process. DCT2NOTATION_E2E_IMAGES asks for more images.
func TestPowerLossAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	images := number(t, "DCT2NOTATION_E2E_IMAGES", powerLossImages)
	random := seed(t)
	h := newHome(t)
	path, log := h.path("ledger.db"), h.path("calls")
	line := append([]string{"-o", log}, powerloss.Trace...)
	h.must(t, "strace", append(line, program("ledgerload"), "write", "-items", "36", "-workers", "8", "-sessions", "2", path)...)
	base := random.Uint64()
	var mu sync.Mutex
	tally := map[string]int{}
	var all sync.WaitGroup
	const children = 2
	for child := range children {
		all.Go(func() {
			verdicts, err := replay(t, log, path, base, child, children, images)
			mu.Lock()
			defer mu.Unlock()
			for verdict, n := range verdicts {
				tally[verdict] += n
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Logf("images: %v", tally)
	if judged := tally["good"] + tally["absent"]; judged != images || tally["good"] < images*9/10 {
		t.Errorf("got %d of %d images good, %d absent, want 9 of 10 good, the rest absent", tally["good"], images, tally["absent"])
	}
}

// replay has one process judge every nth image. It returns how many images got which verdict, and
// an error for the first that broke a promise or ended the process.
func replay(t *testing.T, log, path string, base uint64, child, children, images int) (map[string]int, error) {
	c := exec.Command(program("ledgerload"), "replay", "-log", log, "-dir", t.TempDir(), "-seed", fmt.Sprint(base),
		"-images", strconv.Itoa(images), "-from", strconv.Itoa(child), "-step", strconv.Itoa(children), path)
	c.Stderr, c.SysProcAttr = os.Stderr, servertest.UntilWeDie()
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	verdicts := map[string]int{}
	next := child
	var broken error
	for lines := bufio.NewScanner(out); lines.Scan(); next += children {
		n, verdict, _ := strings.Cut(lines.Text(), " ")
		if n != strconv.Itoa(next) {
			broken = fmt.Errorf("verdict %q, expected is image %d", lines.Text(), next)
		}
		verdicts[verdict]++
		if verdict != "good" && verdict != "absent" && broken == nil {
			broken = fmt.Errorf("image %s with seed %d: %s", n, base, verdict)
		}
	}
	if err := c.Wait(); err != nil {
		return verdicts, fmt.Errorf("image %d with seed %d ended the process: %w", next, base, err)
	}
	return verdicts, broken
}
