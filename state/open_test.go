package state_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

const pathVar = "DCT2NOTATION_STATE_TEST_PATH"

// playHolder holds the ledger until its standard input ends.
func playHolder() error {
	l, err := state.Open(os.Getenv(pathVar), state.Options{})
	if err != nil {
		return err
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return l.Close()
}

// playOpener prints how opening went.
func playOpener() error {
	l, err := state.Open(os.Getenv(pathVar), state.Options{})
	if err != nil {
		fmt.Print(err)
		return nil
	}
	fmt.Print("opened")
	return l.Close()
}

// startHolder starts a process that holds the ledger, and waits until it does.
func startHolder(t *testing.T, path string) (*exec.Cmd, io.Closer) {
	t.Helper()
	c := child(t, "hold", pathVar+"="+path)
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Process.Kill(); c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("got %q, %v, want the holder to say held", line, err)
	}
	return c, in
}

func TestALockedLedgerNamesItsHolderInTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	holder, in := startHolder(t, path)
	start := time.Now()
	_, err := state.Open(path, state.Options{})
	took := time.Since(start)
	var locked *state.LockedError
	if !errors.Is(err, state.ErrLocked) || !errors.As(err, &locked) {
		t.Fatalf("opening a held ledger: got %v, want %v", err, state.ErrLocked)
	}
	host, _ := os.Hostname()
	if locked.Holder.PID != holder.Process.Pid || locked.Holder.Host != host || locked.Holder.Start.IsZero() || locked.Holder.Command == "" {
		t.Errorf("got holder %+v, want process %d of %s", locked.Holder, holder.Process.Pid, host)
	}
	if !strings.Contains(err.Error(), fmt.Sprint(holder.Process.Pid)) || took > 3*time.Second {
		t.Errorf("got %v after %v, want process %d named within 3s", err, took, holder.Process.Pid)
	}
	in.Close()
	must(t, holder.Wait())
	openLedger(t, path)
}

func TestAKilledHolderFreesTheLedgerAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	holder, _ := startHolder(t, path)
	must(t, holder.Process.Kill())
	if err := holder.Wait(); err == nil {
		t.Error("got a good end, want an error")
	}
	if _, err := os.Stat(path + ".holder"); err != nil {
		t.Fatalf("the stale holder's file: got %v, want it there", err)
	}
	openLedger(t, path)
}

func TestAHostileHolderFileCannotSpeakToTheTerminal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	startHolder(t, path)
	must(t, os.WriteFile(path+".holder", []byte(`{"pid":7,"host":"a\u001b[2J","command":"b\nhint: rm -rf \u202e"}`), 0o600))
	_, err := state.Open(path, state.Options{})
	if !errors.Is(err, state.ErrLocked) {
		t.Fatal(err)
	}
	if text := err.Error(); strings.ContainsAny(text, "\x1b\u202e") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %q, want two lines without control characters", text)
	}
}

func TestCreatedFilesArePrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions on Windows")
	}
	path := filepath.Join(t.TempDir(), "new", "dir", "ledger.db")
	openLedger(t, path)
	for name, want := range map[string]os.FileMode{path: 0o600, path + ".holder": 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("got %v left behind, want nothing", left)
	}
}

func TestProcessesCreatingALedgerTogetherGetOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	var group sync.WaitGroup
	for range 4 {
		c := child(t, "open", pathVar+"="+path)
		group.Go(func() {
			if out, err := c.Output(); err != nil || string(out) != "opened" {
				t.Errorf("got %q, %v, want opened", out, err)
			}
		})
	}
	group.Wait()
	plan(t, openLedger(t, path), item(1))
}

func TestAPlantedLinkIsRefused(t *testing.T) {
	t.Parallel()
	l, victim := newLedger(t)
	must(t, l.Close())
	before, err := os.ReadFile(victim)
	must(t, err)
	for name, target := range map[string]string{"link": victim, "dangling": filepath.Join(t.TempDir(), "absent")} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.Symlink(target, path); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		if _, err := state.Open(path, state.Options{}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: got %v, want an error that says symbolic link", name, err)
		}
	}
	if after, err := os.ReadFile(victim); err != nil || string(after) != string(before) {
		t.Errorf("the link's target: got %d bytes, %v, want the %d of before", len(after), err, len(before))
	}
	// A link in the place of the holder's file is replaced.
	precious := filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(precious, []byte("precious"), 0o600))
	must(t, os.Symlink(precious, victim+".holder"))
	must(t, openLedger(t, victim).Close())
	if got, _ := os.ReadFile(precious); string(got) != "precious" {
		t.Errorf("through the holder's link: got %q, want precious", got)
	}
}

func TestWhatIsNoLedgerIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "short": "x", "text": strings.Repeat("not a ledger\n", 5000), "zeros": strings.Repeat("\x00", 1<<16),
	} {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := state.Open(path, state.Options{})
		if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "\nhint: move the file away") {
			t.Errorf("%s: got %v, want %v with path and hint", name, err, state.ErrDamaged)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%s: got %q, %v, want it unchanged", name, got, err)
		}
	}
	if _, err := state.Open(t.TempDir(), state.Options{}); err == nil {
		t.Error("opening a directory: got no error, want one")
	}
	if _, err := state.Open("", state.Options{}); err == nil {
		t.Error("opening nothing: got no error, want one")
	}
}

func TestALedgerThatIsReplacedWhileOpenStopsTheRun(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let go of open files")
	}
	for name, replace := range map[string]func(path string) error{
		"removed": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			l, err := state.Open(path+".new", state.Options{})
			if err != nil {
				return err
			}
			if err := l.Close(); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		l, path := newLedger(t)
		plan(t, l, item(1))
		must(t, replace(path))
		if err := l.Sign(key(1), envelope(1)); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("%s: signing: got %v, want %v", name, err, state.ErrReplaced)
		}
		if _, _, err := l.Item(key(1)); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("%s: reading afterwards: got %v, want %v", name, err, state.ErrReplaced)
		}
		if err := l.Close(); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("%s: closing: got %v, want %v", name, err, state.ErrReplaced)
		}
	}
	l, path := newLedger(t)
	must(t, os.Remove(path))
	if err := l.Close(); !errors.Is(err, state.ErrReplaced) {
		t.Errorf("removed before Close: got %v, want %v", err, state.ErrReplaced)
	}
}

const (
	baseVar = "DCT2NOTATION_STATE_TEST_BASE"

	// fullVar asks for the full numbers of kills and damages; "damage" asks for the number
	// of damages that every change is tested with, too many for the race detector.
	fullVar = "DCT2NOTATION_STATE_TEST_FULL"
)

// playMover takes items to their last stage with eight workers, forever, and prints each stage
// after the ledger has acknowledged it.
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
				ack(state.Confirmed, l.Confirm(key(n), signature(n), ""))
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
			t.Errorf("got %q, %v, want a number and a stage", lines.Text(), err)
		}
		if len(acked) == 0 {
			time.AfterFunc(delay, func() { c.Process.Kill() })
		}
		acked[n] = s
	}
	if err := c.Wait(); err == nil {
		t.Error("got an end by itself, want it killed")
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
			t.Fatalf("round %d: got nothing done, want some", round)
		}
		l, err := state.Open(path, state.Options{})
		if err != nil {
			t.Fatalf("seed %d, round %d: got %v, want no error", seed, round, err)
		}
		for n, s := range acked {
			got, _, err := l.Item(key(n))
			if err != nil || slices.Index(state.Stages(), got.Stage) < slices.Index(state.Stages(), s) {
				t.Errorf("seed %d, round %d, item %d: got %q, %v, want at least the acknowledged %q", seed, round, n, got.Stage, err, s)
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
			t.Errorf("%s, %s: got envelope in the outbox %v, %v, want it for signed and pushed only", i.Key, i.Stage, has, err)
		}
	}
	counts, err := l.Counts()
	must(t, err)
	for s, n := range counts {
		if seen[s] != n {
			t.Errorf("%s: got %d items, want %d as counted", s, seen[s], n)
		}
	}
	must(t, l.VerifyEvents())
}

// world returns what is in a directory: names, contents and times.
func world(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all = append(all, path+info.ModTime().String()+string(raw))
		return err
	}))
	return all
}

func TestReadingALedgerLeavesEverythingAsItIs(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.Bind(server("a"), false))
	must(t, l.Close())
	before := world(t, filepath.Dir(path))
	r, err := state.Open(path, state.Options{ReadOnly: true, Tool: "another"})
	must(t, err)
	if f, err := r.Fingerprint(); err != nil || !reflect.DeepEqual(f.NotaryServers, server("a").NotaryServers) {
		t.Errorf("fingerprint: got %v, %v, want server a", f, err)
	}
	if err := r.Bind(server("b"), true); err == nil {
		t.Error("a change of what is only read: got no error, want one")
	}
	during := world(t, filepath.Dir(path))
	must(t, r.Close())
	if !slices.Equal(before, during) || !slices.Equal(before, world(t, filepath.Dir(path))) {
		t.Error("got other files, want nothing written")
	}
}

// For root every file is writable: this can fail only as another user.
func TestALedgerThatIsNotWritableCanBeRead(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	must(t, l.Bind(server("a"), false))
	must(t, l.Close())
	must(t, os.Chmod(path, 0o400))
	must(t, os.Chmod(filepath.Dir(path), 0o500))
	t.Cleanup(func() { _, _ = os.Chmod(filepath.Dir(path), 0o700), os.Chmod(path, 0o600) }) // to be checked and removed
	r, err := state.Open(path, state.Options{ReadOnly: true})
	must(t, err)
	defer r.Close()
	if f, err := r.Fingerprint(); err != nil || !reflect.DeepEqual(f.NotaryServers, server("a").NotaryServers) {
		t.Errorf("fingerprint: got %v, %v, want server a", f, err)
	}
	if _, err := state.Open(path, state.Options{ReadOnly: true}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a second reader: got %v, want %v", err, state.ErrLocked)
	}
}

func TestReadingMakesNoLedger(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "below", "ledger.db")
	if _, err := state.Open(path, state.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: got %v, want %v", err, fs.ErrNotExist)
	}
}

// A holder that reads does not hide that it holds the ledger.
func TestLedgerThatIsHeldIsNotRead(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	must(t, l.Close())
	startHolder(t, path)
	holder, err := os.ReadFile(path + ".holder")
	must(t, err)
	if _, err := state.Open(path, state.Options{ReadOnly: true}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("got %v, want %v", err, state.ErrLocked)
	}
	if now, err := os.ReadFile(path + ".holder"); err != nil || !bytes.Equal(now, holder) {
		t.Errorf("the holder's file: got %q, %v, want %q", now, err, holder)
	}
}

func TestSurveyFindsThePlaceAndChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := state.Survey(filepath.Join(dir, "a", "b", "ledger.db"))
	must(t, err)
	if p.Exists || p.Dir != dir || len(world(t, dir)) != 0 {
		t.Errorf("got place %+v, left %v, want none in %s, nothing left", p, world(t, dir), dir)
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if p, err := state.Survey(file); err != nil || !p.Exists {
		t.Errorf("got place %+v, %v, want one that exists", p, err)
	}
	if _, err := state.Survey(filepath.Join(file, "ledger.db")); err == nil {
		t.Error("a file as a directory: got no error, want one")
	}
}

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
	case "entries":
		// The header of a page and what says where its entries are.
		page := random.IntN(len(data)/pageLen) * pageLen
		entries := int(binary.NativeEndian.Uint16(data[page+10:]))
		low = page + random.IntN(min(16+16*entries, pageLen))
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

// playDamage opens one damaged file after the other and prints the outcome of each: "refused",
// "other error", or a hash of everything in it.
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

// judge reads everything, writes a little and opens the file again: damage may show only when
// bbolt reuses pages that it takes for free.
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

// contents returns a hash of everything in a ledger.
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
		must(t, l.Confirm(key(n), signature(n), ""))
	}
	before, err := contents(l)
	must(t, err)
	must(t, l.Skip(key(1), "class", "reason"))
	now, err = contents(l)
	must(t, err)
	must(t, l.Close())
	return path, now, before
}

// TestDamageIsRefusedAndNeverReadAsSomethingElse is the promise that bbolt alone does not keep.
// Damage may be harmless where nothing is stored. Only in the two starting pages may it undo the
// last commit.
func TestDamageIsRefusedAndNeverReadAsSomethingElse(t *testing.T) {
	t.Parallel()
	size, runs := 120, map[string]int{"bit": 150, "entries": 100, "cut": 40, "page": 40, "starts": 40}
	switch os.Getenv(fullVar) {
	case "":
	case "damage":
		runs = map[string]int{"bit": 2000, "entries": 2000, "cut": 500, "page": 500, "starts": 200}
	default:
		// 700 items make two MiB.
		size, runs = 700, map[string]int{"bit": 1500, "entries": 1500, "cut": 400, "page": 400, "starts": 400}
	}
	source, now, before := fullLedger(t, size)
	file, err := os.ReadFile(source)
	must(t, err)
	// Without the space that bbolt reserves for later: nothing there can be damaged.
	used := len(bytes.TrimRight(file, "\x00"))
	file = file[:(used+pageLen-1)/pageLen*pageLen]
	must(t, os.WriteFile(source, file, 0o600))
	if got, err := judge(source); err != nil || got != now {
		t.Fatalf("undamaged: got %v, %v, want %v", got, err, now)
	}
	t.Logf("a file of %d KiB", len(file)>>10)
	for kind, count := range runs {
		// In several processes, because they mostly wait for the disk.
		const each = 500
		for from := 0; from < count; from += each {
			t.Run(fmt.Sprintf("%s from %d", kind, from), func(t *testing.T) {
				t.Parallel()
				damageAndJudge(t, file, kind, from, min(from+each, count), now, before)
			})
		}
	}
}

// damageAndJudge has a child open damaged files of a kind, by their numbers. now and before are
// the hashes of the file's content, and of its content before the last commit.
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
			t.Errorf("%s %d at byte %d: got %s, want it refused or harmless", kind, n, low, verdict)
		}
	}
	if n < to {
		t.Errorf("%s %d: got a process that died of it, want an answer", kind, n)
	}
	c.Process.Kill()
	io.Copy(io.Discard, out)
	c.Wait()
	if tally["refused"] == 0 && kind != "starts" {
		t.Error("got nothing refused, want some")
	}
	t.Logf("%s: %v", kind, tally)
}
