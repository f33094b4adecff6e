//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRequestsOfTrustDataAreJudged shows that one request more than a repository may cost,
// on average, is never printed as a success.
func TestRequestsOfTrustDataAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		delegations     int
		cold, unchanged float64
		want            string
	}{
		{0, 4, 1, "met, met"},
		{3, 7, 1, "met, met"},
		{0, 4.1, 1, "MISSED, met"},
		{3, 7, 1.1, "met, MISSED"},
		{0, 7, 7, "MISSED, MISSED"},
	} {
		if got := requestVerdict(c.delegations, c.cold, c.unchanged); got != c.want {
			t.Errorf("%d delegations, %.1f and %.1f requests: got %q, want %q", c.delegations, c.cold, c.unchanged, got, c.want)
		}
	}
}

// TestFiguresOfTrustDataAreJudged shows that a miss of time or memory is named.
func TestFiguresOfTrustDataAreJudged(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	slow := measured{usage: usage{wall: 600 * time.Millisecond, peak: 50 << 20}}
	large := measured{usage: usage{wall: 400 * time.Millisecond, peak: 120 << 20}}
	printLarge(&out, slow, large)
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{"cold:      0.60 s (aim: under 0.5: MISSED), CPU 0.00 s, peak memory 50 MB (aim: under 100: met)", "unchanged: 0.40 s (aim: under 0.5: met), CPU 0.00 s, peak memory 120 MB (aim: under 100: MISSED)"} {
		if got := strings.TrimSpace(lines[len(lines)-3+i]); got != want {
			t.Errorf("got printed %q, want %q", got, want)
		}
	}
	few := measured{usage: usage{peak: 20 << 20}, count: 100}
	for peak, want := range map[int64]string{24 << 20: "1.20 times at 1000 repositories beside 100, 5 kB for each more, met", 30 << 20: "1.50 times at 1000 repositories beside 100, 11 kB for each more, MISSED"} {
		out.Reset()
		printGrowth(&out, few, measured{usage: usage{peak: peak}, count: 1000})
		if !strings.HasSuffix(strings.TrimSpace(out.String()), want) {
			t.Errorf("got printed %q, want it to end with %q", out.String(), want)
		}
	}
}

func TestEarlierRequestsDoNotCount(t *testing.T) {
	t.Parallel()
	got := Counts{Registry: 10, Notary: 20, Trust: 15, Connections: 5}.since(Counts{Registry: 1, Notary: 2, Trust: 3, Connections: 4})
	if want := (Counts{Registry: 9, Notary: 18, Trust: 12, Connections: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestRatioIsForEachRepository shows that a contestant who read fewer repositories is no
// faster for it, and that authentication and connections are told apart from trust data.
func TestRatioIsForEachRepository(t *testing.T) {
	t.Parallel()
	theirs := measured{usage: usage{wall: 10 * time.Second}, count: 50, requests: Counts{Notary: 300, Trust: 200, Connections: 300}}
	ours := measured{usage: usage{wall: 10 * time.Second}, count: 200, requests: Counts{Notary: 1200, Trust: 800, Connections: 200}}
	var out strings.Builder
	printBeside(&out, "ours", ours, &theirs)
	want := "ours 200 4.0 (2.0) 1.0 50.0 ms 0.0 ms 4.0x 90.0 ms 4.9x"
	if got := strings.Join(strings.Fields(out.String()), " "); got != want {
		t.Errorf("got printed %q, want %q", got, want)
	}
}

// TestDisturbedReadingIsTold shows that neither the program nor the servers count as
// others, and that others are named.
func TestDisturbedReadingIsTold(t *testing.T) {
	t.Parallel()
	m := measured{usage: usage{wall: time.Second, tree: 100 * time.Millisecond}, servers: 100 * time.Millisecond}
	m.busy = m.share(200*time.Millisecond) + 0.05
	var out strings.Builder
	printOthers(&out, m)
	if out.Len() > 0 {
		t.Errorf("5 %% of the CPU: got told %q, want nothing", out.String())
	}
	m.busy += 0.25
	printOthers(&out, m)
	if !strings.Contains(out.String(), "other programs used 30 %") {
		t.Errorf("30 %% of the CPU: got told %q, want it said", out.String())
	}
}

// TestOnlyTagsAreListed shows that notary list counts as a reading only by the tags that it
// prints: it ends well also where there are none.
func TestOnlyTagsAreListed(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0a", 32)
	for said, want := range map[string]int{
		"": 0, "\nNo targets present in this repository.\n\n": 0,
		"NAME    DIGEST    SIZE (BYTES)    ROLE\n----    ------    ------------    ----\nv0      " + sum + "    1000    targets\nv1      " + sum + "    1000    targets\n": 2,
	} {
		if got := listed(said); got != want {
			t.Errorf("%q: got %d tags, want %d", said, got, want)
		}
	}
}

func TestAllMustHaveTheWantedOutcome(t *testing.T) {
	t.Parallel()
	const said = `{"kind": "dct2notation.snapshot", "added": 9, "unchanged": 0, "failed": 1}`
	if err := readAll([]byte(said), "added", 9); err != nil {
		t.Error(err)
	}
	for want, n := range map[string]int{"added": 10, "unchanged": 9, "other": 0} {
		if err := readAll([]byte(said), want, n); err == nil {
			t.Errorf("%s: got no error, want one: it is not %d repositories as %s", said, n, want)
		}
	}
}

// TestMiddleTimeComesWithTheLargestMemory shows that neither a disturbed call nor a lucky
// one decides.
func TestMiddleTimeComesWithTheLargestMemory(t *testing.T) {
	t.Parallel()
	of := func(wall time.Duration, peak int64) measured { return measured{usage: usage{wall: wall, peak: peak}} }
	got := typical([]measured{of(9, 1), of(1, 5), of(3, 2)})
	if got.wall != 3 || got.peak != 5 {
		t.Errorf("got %d with %d, want 3 with 5", got.wall, got.peak)
	}
}

func TestFoldersAreMeasuredWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "one"), filepath.Join(below, "two")} {
		if err := os.WriteFile(path, make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := sizeOf(dir)
	if err != nil || s.files != 2 || s.bytes != 10000 || s.disk < 8192 {
		t.Errorf("got %+v, error %v, want 2 files of 10000 bytes, and more on the disk", s, err)
	}
	if _, err := sizeOf(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there: got no error, want one")
	}
}

// TestSignersPublishDelegations shows that a repository with signers costs what the aim
// says of it: a file for each signer and one for targets/releases. Without images, the
// registry has nothing.
func TestSignersPublishDelegations(t *testing.T) {
	t.Parallel()
	r, s := control(t)
	for _, signers := range []int{0, 2} {
		what := Publication{Name: string(rune('a' + signers)), Repositories: 2, Images: 4, Signers: signers, TrustOnly: true}
		p, err := r.publishAll(what)
		if err != nil {
			t.Fatal(err)
		}
		for _, gun := range p.GUNs {
			if roles := s.notary.Roles(gun); len(roles) != 4+what.delegations() {
				t.Errorf("%d signers: got roles %v, want %d", signers, roles, 4+what.delegations())
			}
		}
		for _, of := range s.stored[what.Name] {
			if _, err := s.registry.Resolve(of.repository, of.digest); err == nil {
				t.Errorf("got %s@%s in the registry, want it not there", of.repository, of.digest)
			}
		}
	}
	counts, err := r.counts()
	if err != nil || counts != (Counts{}) {
		t.Errorf("got %+v, error %v, want none: publishing is no request", counts, err)
	}
}

func TestOnePartIsChosenByItsName(t *testing.T) {
	t.Parallel()
	parts := []part{{name: "memory"}, {name: "trust"}}
	for only, want := range map[string]int{"": 2, "trust": 1} {
		if got, err := choose(only, parts); err != nil || len(got) != want || got[len(got)-1].name != "trust" {
			t.Errorf("%q: got %d parts, error %v, want %d", only, len(got), err, want)
		}
	}
	if got, err := choose("thrust", parts); err == nil {
		t.Errorf("an unknown part: got %v, want an error", got)
	}
}
