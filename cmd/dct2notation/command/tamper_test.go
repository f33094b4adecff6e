package command

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// The numbers that can be asked for: how many tampers, and those of an earlier seed.
const (
	tampersVar    = "DCT2NOTATION_TAMPERS"
	tamperSeedVar = "DCT2NOTATION_TAMPER_SEED"

	tampersUsually = 100
	tampersBetween = 25 // two looks whether all is well again
)

// Promise 6: whatever is changed behind the migration's back on either side, verify says so
// of the tags that it concerns, in a class that fits, and of no others; and it does not
// cry wolf over what harms nobody.
func TestEveryTamperIsFound(t *testing.T) {
	number := func(name string, usual uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return usual
		}
		n, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		return n
	}
	seed := number(tamperSeedVar, rand.Uint64())
	random := rand.New(rand.NewPCG(seed, 0))
	g := newGround(t)
	must(t, g.agrees())
	order := random.Perm(len(tampers))
	for i := range int(number(tampersVar, tampersUsually)) {
		k := tampers[order[i%len(order)]] // each kind as often as the next
		p := g.places[random.IntN(len(g.places))]
		s := &scene{place: p, mark: p.marks[random.IntN(len(p.marks))], Rand: random}
		f := k.do(s)
		level, ledger := "strict", ""
		if f.level != "" {
			level = f.level
		}
		if f.ledger {
			ledger = p.ledger
		}
		code, v := g.verify(level, ledger)
		if err := f.compare(g, p, code, v); err != nil {
			t.Fatalf("tamper %d, %s in %s, of %v: %v\n%s=%d%s", i, k.name, p.name, s.mark.tags, err, tamperSeedVar, seed, differences(v))
		}
		g.restore()
		if i%tampersBetween == tampersBetween-1 {
			if err := g.agrees(); err != nil {
				t.Fatalf("after tamper %d, %s in %s, was taken back: %v\n%s=%d", i, k.name, p.name, err, tamperSeedVar, seed)
			}
		}
	}
	if err := g.agrees(); err != nil {
		t.Errorf("when all was taken back: %v\n%s=%d", err, tamperSeedVar, seed)
	}
}

// differences are the rows on which the sides do not agree.
func differences(v report.Verification) (text string) {
	for _, r := range v.Repositories {
		text += fmt.Sprintf("\n%s %s %s", r.GUN, r.Class, r.Reason)
		for _, row := range r.Tags {
			if row.Class != verify.Agree || len(row.Flags) > 0 {
				text += fmt.Sprintf("\n  %s %s %v %s", row.Tag, row.Class, row.Flags, row.Reason)
			}
		}
	}
	return text
}

// rows checks what was said of one repository.
func (f finding) rows(p *place, r verify.Repository) error {
	if r.GUN != p.trust.GUN() || r.Class != f.whole {
		return fmt.Errorf("%s is %s %s, want %s", r.GUN, r.Class, r.Reason, f.whole)
	}
	if f.whole != "" {
		if len(r.Tags) > 0 {
			return fmt.Errorf("%s is %s, and has tags", p.name, r.Class)
		}
		return nil
	}
	left := map[string]bool{}
	for _, tag := range p.tags() {
		left[tag] = true
	}
	for tag := range f.tags {
		left[tag] = true
	}
	delete(left, f.gone)
	for _, row := range r.Tags {
		allowed, meant := f.tags[row.Tag]
		if !meant {
			allowed = []verify.Class{verify.Agree}
		}
		switch {
		case !left[row.Tag]:
			return fmt.Errorf("%s: a row too many, %+v", p.name, row)
		case !slices.Contains(allowed, row.Class):
			return fmt.Errorf("%s: want one of %s, got %+v", p.name, allowed, row)
		case !meant && (len(row.Flags) > 0 && !f.alien || row.Reason != "" || !row.Bound):
			return fmt.Errorf("%s: nothing was done to %+v", p.name, row)
		case meant && (row.Class == verify.Agree) != (row.Reason == ""):
			return fmt.Errorf("%s: no reason, or one for nothing: %+v", p.name, row)
		}
		if meant {
			if f.beside != "" && !slices.Contains(row.Classes, f.beside) {
				return fmt.Errorf("%s: want the class %s, too: %+v", p.name, f.beside, row)
			}
			for _, flag := range f.flags {
				if !slices.Contains(row.Flags, flag) {
					return fmt.Errorf("%s: want the flag %s: %+v", p.name, flag, row)
				}
			}
		}
		delete(left, row.Tag)
	}
	if len(left) > 0 {
		return fmt.Errorf("%s: nothing is said of %v", p.name, left)
	}
	return nil
}
