package powerloss_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/e2e/powerloss"
)

// hex writes a string as strace does with -xx.
func hex(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	return b.String()
}

func file(path string) string { return "5<" + hex(path) + ">" }

func pwrite(path, data string, offset int) string {
	return fmt.Sprintf(`pwrite64(%s, "%s", %d, %d) = %d`, file(path), hex(data), len(data), offset, len(data))
}

// record parses a log of the given calls. Each is of thread 7 unless it names one.
func record(t *testing.T, calls ...string) *powerloss.Recording {
	t.Helper()
	for i, c := range calls {
		if c[0] < '0' || c[0] > '9' {
			calls[i] = "7  " + c
		}
	}
	r, err := powerloss.Parse(strings.NewReader(strings.Join(calls, "\n")+"\n"), "/d/f")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// images returns many images of the last moment, as "absent" or the file's content.
func images(r *powerloss.Recording, how powerloss.How) map[string]int {
	seen := map[string]int{}
	for n := range 400 {
		image := r.Image(r.Len()-1, how, rand.New(rand.NewPCG(1, uint64(n))))
		if !image.Exists {
			seen["absent"]++
			continue
		}
		seen[string(image.Data)]++
	}
	return seen
}

var made = []string{
	pwrite("/d/.tmp", "aaaa", 0), `fsync(` + file("/d/.tmp") + `) = 0`,
	`linkat(AT_FDCWD<` + hex("/") + `>, "` + hex("/d/.tmp") + `", AT_FDCWD<` + hex("/") + `>, "` + hex("/d/f") + `", 0) = 0`,
}

var kept = append(made[:3:3], `fsync(`+file("/d")+`) = 0`)

func TestWhatWasFlushedIsInEveryImage(t *testing.T) {
	t.Parallel()
	calls := append(kept[:4:4], pwrite("/d/f", "bb", 1), `7 fdatasync(`+file("/d/f")+`) = 0`, pwrite("/d/g", "xx", 0))
	for _, how := range []powerloss.How{powerloss.Lost, powerloss.Torn, powerloss.Garbled} {
		if seen := images(record(t, calls...), how); len(seen) != 1 || seen["abba"] == 0 {
			t.Errorf("%v: got %v, want abba alone", how, seen)
		}
	}
}

func TestWhatWasNotFlushedIsInSomeImages(t *testing.T) {
	t.Parallel()
	for name, calls := range map[string][]string{
		"no flush":               {pwrite("/d/f", "bb", 1)},
		"a flush that failed":    {pwrite("/d/f", "bb", 1), `fdatasync(` + file("/d/f") + `) = -1 EIO (Input/output error)`},
		"a flush under way":      {pwrite("/d/f", "bb", 1), `fdatasync(` + file("/d/f") + ` <unfinished ...>`},
		"a flush begun before":   {`8 fdatasync(` + file("/d/f") + ` <unfinished ...>`, pwrite("/d/f", "bb", 1), `8 <... fdatasync resumed>) = 0`},
		"a flush of another one": {pwrite("/d/f", "bb", 1), `fsync(` + file("/d/g") + `) = 0`},
	} {
		r := record(t, append(kept[:4:4], calls...)...)
		if seen := images(r, powerloss.Torn); len(seen) != 2 || seen["abba"] == 0 || seen["aaaa"] == 0 {
			t.Errorf("%s: got %v, want abba and aaaa", name, seen)
		}
		if seen := images(r, powerloss.Lost); len(seen) != 1 || seen["aaaa"] == 0 {
			t.Errorf("%s, all lost: got %v, want aaaa alone", name, seen)
		}
	}
}

func TestANameIsThereForSureWhenItsFolderWasFlushed(t *testing.T) {
	t.Parallel()
	if seen := images(record(t, made[:2]...), powerloss.Torn); seen["absent"] != 400 {
		t.Errorf("not linked: got %v, want 400 absent", seen)
	}
	if seen := images(record(t, made...), powerloss.Torn); seen["absent"] == 0 || seen["aaaa"] == 0 {
		t.Errorf("not flushed: got %v, want some absent, some aaaa", seen)
	}
	if seen := images(record(t, kept...), powerloss.Torn); seen["aaaa"] != 400 {
		t.Errorf("flushed: got %v, want 400 aaaa", seen)
	}
}

func TestWritesAreTornBySectorAndComeInAnyOrder(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 1024), strings.Repeat("b", 1024)
	r := record(t, append(kept[:4:4], pwrite("/d/f", a, 0), pwrite("/d/f", b, 0))...)
	sectors := map[string]int{}
	for data := range images(r, powerloss.Torn) {
		if len(data) == 1024 {
			sectors[data[100:101]+data[600:601]]++
		}
	}
	for _, want := range []string{"aa", "bb", "ab", "ba", "\x00a", "\x00b"} {
		if sectors[want] == 0 {
			t.Errorf("got sectors %v, want an image with %q", sectors, want)
		}
	}
	garbled := 0
	for data := range images(r, powerloss.Garbled) {
		if strings.Trim(data, "ab\x00") != "" {
			garbled++
		}
	}
	if garbled == 0 {
		t.Error("got no image with nonsense, want one")
	}
}

func TestWhatWasSaidByThen(t *testing.T) {
	t.Parallel()
	r := record(t, `write(1<`+hex("pipe:[1]")+`>, "`+hex("1 1\n")+`", 4) = 4`, `write(2<x>, "`+hex("no")+`", 2) = 2`,
		`write(1<`+hex("pipe:[1]")+`>, "`+hex("1 2\n")+`", 4 <unfinished ...>`)
	var said []string
	for moment := range r.Len() {
		said = append(said, string(r.Image(moment, powerloss.Lost, nil).Said))
	}
	if got := fmt.Sprintf("%q", said); got != `["" "1 1\n" "1 1\n1 2\n"]` {
		t.Error(got)
	}
}

func TestAGrownFileMayNotHaveGrown(t *testing.T) {
	t.Parallel()
	r := record(t, append(kept[:4:4], `ftruncate(`+file("/d/f")+`, 8192) = 0`)...)
	sizes := map[int64]int{}
	for n := range 100 {
		sizes[r.Image(r.Len()-1, powerloss.Torn, rand.New(rand.NewPCG(1, uint64(n)))).Size]++
	}
	if len(sizes) != 2 || sizes[4] == 0 || sizes[8192] == 0 {
		t.Errorf("got sizes %v, want 4 and 8192", sizes)
	}
}

func TestACutLogIsRefused(t *testing.T) {
	t.Parallel()
	for _, log := range []string{
		`7 pwrite64(` + file("/d/f") + `, "` + hex("ab") + `"..., 9, 0) = 9`,
		`7 <... fsync resumed>) = 0`,
	} {
		if _, err := powerloss.Parse(strings.NewReader(log+"\n"), "/d/f"); err == nil {
			t.Errorf("%s: got it believed, want an error", log)
		}
	}
}
