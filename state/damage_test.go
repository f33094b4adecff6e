package state_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

const (
	kindVar = "DCT2NOTATION_STATE_TEST_KIND"
	pageLen = 4096

	rebuilding = "hint: move the file away and run again; the ledger is rebuilt from trust data and what the registry shows"
)

// damaged returns the nth damaged version of file; the same one every time.
// low is the first byte that differs.
func damaged(file []byte, kind string, n int) (data []byte, low int) {
	random := rand.New(rand.NewPCG(uint64(n), uint64(len(kind))))
	data = bytes.Clone(file)
	switch kind {
	case "bit":
		low = random.IntN(len(data))
		data[low] ^= 1 << random.IntN(8)
	case "cut":
		low = random.IntN(len(data))
		data = data[:low]
	case "page":
		low = random.IntN(len(data)/pageLen) * pageLen
		clear(data[low : low+pageLen])
	case "starts":
		// The two pages a ledger starts from, thoroughly.
		low = random.IntN(2)*pageLen + random.IntN(96)
		data[low] ^= 1 << random.IntN(8)
	}
	return data, low
}

// playDamage opens one damaged file after the other and prints for each what
// came of it: "refused", "other error", or a hash of everything in it.
func playDamage() error {
	path := os.Getenv(pathVar)
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	from, err := strconv.Atoi(os.Getenv(baseVar))
	if err != nil {
		return err
	}
	victim := path + ".victim"
	for n := from; ; n++ {
		data, _ := damaged(file, os.Getenv(kindVar), n)
		if err := os.WriteFile(victim, data, 0o600); err != nil {
			return err
		}
		verdict, err := judge(victim)
		switch {
		case errors.Is(err, state.ErrDamaged) && strings.HasSuffix(err.Error(), rebuilding):
			verdict = "refused"
		case err != nil:
			verdict = "other error: " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		// The parent closes the pipe when it has enough; that ends us.
		if _, err := fmt.Println(verdict); err != nil {
			return nil
		}
	}
}

// judge reads everything, writes a little and opens the file again, because
// damage may show only when bbolt reuses what it takes for free pages.
func judge(path string) (string, error) {
	l, err := state.Open(path, state.Options{Tool: "test"})
	if err != nil {
		return "", err
	}
	defer l.Close()
	sum, err := contents(l)
	if err != nil {
		return "", err
	}
	for n := range 3 {
		if _, err := l.Plan([]state.Item{item(1_000_000 + n)}); err != nil {
			return "", err
		}
	}
	if err := l.Close(); err != nil {
		return "", err
	}
	l, err = state.Open(path, state.Options{Tool: "test"})
	if err != nil {
		return "", err
	}
	return sum, l.Close()
}

// contents is a hash of all that a ledger can tell.
func contents(l *state.Ledger) (string, error) {
	h := sha256.New()
	out := json.NewEncoder(h)
	items, err := all(l, 0)
	if err != nil {
		return "", err
	}
	for _, i := range items {
		e, _, err := l.Envelope(i.Key)
		if err != nil {
			return "", err
		}
		if err := out.Encode([]any{i, i.Key, e}); err != nil {
			return "", err
		}
	}
	var after uint64
	for {
		events, err := l.Events(after, 0)
		if err != nil {
			return "", err
		}
		if len(events) == 0 {
			break
		}
		after = events[len(events)-1].Seq
		if err := out.Encode(events); err != nil {
			return "", err
		}
	}
	counts, err := l.Counts()
	if err != nil {
		return "", err
	}
	repository, _, err := l.Repository("gun")
	if err != nil {
		return "", err
	}
	if err := out.Encode([]any{counts, repository}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), l.VerifyEvents()
}

// fullLedger makes a file with something of everything and returns the hashes
// of its content and of its content before the last commit.
func fullLedger(t *testing.T, size int) (path, now, before string) {
	t.Helper()
	l, path := newLedger(t)
	var items []state.Item
	for n := range size {
		items = append(items, item(n))
	}
	plan(t, l, items...)
	must(t, l.SetRepository(state.Repository{GUN: "gun", Root: []byte("root"), Pin: state.PinTOFU}))
	for n := 0; n < size; n += 2 {
		must(t, l.Sign(key(n), envelope(n)))
	}
	for n := 0; n < size; n += 10 {
		must(t, l.Confirm(key(n), signature(n)))
	}
	before, err := contents(l)
	must(t, err)
	must(t, l.Skip(key(1), "class", "reason"))
	now, err = contents(l)
	must(t, err)
	must(t, l.Close())
	return path, now, before
}

// TestDamageIsRefusedAndNeverReadAsSomethingElse is the promise that bbolt by
// itself does not keep. A damage may be harmless, where nothing is stored. Only
// in the two starting pages may it take back the last commit.
func TestDamageIsRefusedAndNeverReadAsSomethingElse(t *testing.T) {
	t.Parallel()
	size, runs := 120, map[string]int{"bit": 150, "cut": 40, "page": 40, "starts": 40}
	switch os.Getenv(fullVar) {
	case "":
	case "damage":
		runs = map[string]int{"bit": 3000, "cut": 900, "page": 900, "starts": 200}
	default:
		// 700 items make two MiB.
		size, runs = 700, map[string]int{"bit": 1500, "cut": 400, "page": 400, "starts": 400}
	}
	source, now, before := fullLedger(t, size)
	file, err := os.ReadFile(source)
	must(t, err)
	// Without the room that bbolt makes for later: nothing there can be damaged.
	used := len(bytes.TrimRight(file, "\x00"))
	file = file[:(used+pageLen-1)/pageLen*pageLen]
	must(t, os.WriteFile(source, file, 0o600))
	if got, err := judge(source); err != nil || got != now {
		t.Fatalf("undamaged: %v", err)
	}
	t.Logf("a file of %d KiB", len(file)>>10)
	for kind, count := range runs {
		// In several processes, because most of their time they wait for the disk.
		const each = 500
		for from := 0; from < count; from += each {
			t.Run(fmt.Sprintf("%s from %d", kind, from), func(t *testing.T) {
				t.Parallel()
				damageAndJudge(t, file, kind, from, min(from+each, count), now, before)
			})
		}
	}
}

// damageAndJudge has a child open damaged files of a kind, by their numbers. now and before
// are the hashes of what is in the file, and of what was before the last commit.
func damageAndJudge(t *testing.T, file []byte, kind string, from, to int, now, before string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	must(t, os.WriteFile(path, file, 0o600))
	tally := map[string]int{}
	c := child(t, "damage", pathVar+"="+path, baseVar+"="+strconv.Itoa(from), kindVar+"="+kind)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	lines := bufio.NewScanner(out)
	n := from
	for ; n < to && lines.Scan(); n++ {
		_, low := damaged(file, kind, n)
		switch verdict := lines.Text(); {
		case verdict == "refused":
			tally["refused"]++
		case verdict == now:
			tally["harmless"]++
		case verdict == before && low < 2*pageLen:
			tally["last commit taken back"]++
		default:
			t.Errorf("%s %d at byte %d: %s", kind, n, low, verdict)
		}
	}
	if n < to {
		t.Errorf("%s %d: the process died of it", kind, n)
	}
	c.Process.Kill()
	io.Copy(io.Discard, out)
	c.Wait()
	if tally["refused"] == 0 && kind != "starts" {
		t.Error("nothing was refused")
	}
	t.Logf("%s: %v", kind, tally)
}
