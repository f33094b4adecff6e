package report

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// shard returns a saved result of a shard with one repository.
func shard(t *testing.T, of, name, campaign string, rows []Row, end End) *Saved {
	t.Helper()
	h := NewHead(of, "dct2notation/test", "a b shard="+name, time.Unix(1e9, 0))
	h.Shard, h.Campaign = name, campaign
	var b bytes.Buffer
	l, err := NewLines(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	section := Section{Repository: "r/" + name}
	if end.Error != "" && end.Error != ErrPart.Error() && end.Error != ErrChosen.Error() {
		_, _ = fmt.Sscanf(end.Error, "not all: %d tags", &section.LeftOut)
	}
	err = l.Section(section)
	for _, r := range rows {
		r.Repository = section.Repository
		err = errors.Join(err, l.Row(r))
	}
	if err = errors.Join(err, l.End(end)); err != nil {
		t.Fatal(err)
	}
	return loaded(t, b.Bytes())
}

func TestMerge(t *testing.T) {
	t.Parallel()
	good := []Row{{Tags: []string{"v1"}, Class: "agree"}}
	bad := []Row{{Tags: []string{"v1"}, Class: "conflict"}}
	signed := []Row{{Tags: []string{"v1"}, Class: "signed"}}
	whole := End{Ended: time.Unix(1e9, 0), Complete: true, Well: true}
	amiss := End{Ended: time.Unix(1e9, 0), Complete: true}
	part := func(why string) End { return End{Ended: time.Unix(1e9, 0), Error: why} }
	verify := func(name string, rows []Row, end End) *Saved { return shard(t, OfVerify, name, "c", rows, end) }
	for name, c := range map[string]struct {
		shards  []*Saved
		verdict string // ErrMixture if it begins with *
	}{
		"all well":                    {[]*Saved{verify("1/2", good, whole), verify("0/2", good, whole)}, "the signature sets agree"},
		"one empty":                   {[]*Saved{verify("0/2", good, whole), verify("1/2", nil, whole)}, "the signature sets agree"},
		"one disagrees":               {[]*Saved{verify("0/2", good, whole), verify("1/2", bad, amiss)}, "the signature sets disagree"},
		"one missing":                 {[]*Saved{verify("0/3", good, whole), verify("2/3", good, whole)}, "did not finish"},
		"one ended":                   {[]*Saved{verify("0/2", good, whole), verify("1/2", good, part("the server is down"))}, "did not finish"},
		"samples":                     {[]*Saved{verify("0/2", good, part(Partial(2))), verify("1/2", good, part(Partial(3)))}, "the signature sets agree on what was compared, which is not everything"},
		"chosen":                      {[]*Saved{verify("0/2", good, part(ErrChosen.Error())), verify("1/2", good, part(ErrChosen.Error()))}, "the signature sets agree on what was compared, which is not everything"},
		"a sample and one that ended": {[]*Saved{verify("0/2", good, part(Partial(2))), verify("1/2", good, part("the server is down"))}, "did not finish"},
		"runs":                        {[]*Saved{shard(t, OfRun, "0/1", "c", signed, whole)}, "complete"},
		"a plan's part":               {[]*Saved{shard(t, OfRun, "0/2", "c", signed, whole), shard(t, OfRun, "1/2", "c", signed, part(ErrPart.Error()))}, "not complete: what was selected is done, which is not everything"},

		"twice":               {[]*Saved{verify("0/2", good, whole), verify("0/2", good, whole)}, "*two are of shard 0/2"},
		"other campaign":      {[]*Saved{verify("0/2", good, whole), shard(t, OfVerify, "1/2", "d", good, whole)}, "*asked something else"},
		"no campaign":         {[]*Saved{shard(t, OfVerify, "0/2", "", good, whole), shard(t, OfVerify, "1/2", "", good, whole)}, "*asked something else"},
		"other number":        {[]*Saved{verify("0/2", good, whole), verify("1/3", good, whole)}, "*shard 1/3"},
		"run and verify":      {[]*Saved{verify("0/2", good, whole), shard(t, OfRun, "1/2", "c", signed, whole)}, "*number 2 of run"},
		"of all repositories": {[]*Saved{verify("", good, whole)}, "*is not of a shard"},
		"nonsense":            {[]*Saved{verify("0/2junk", good, whole)}, "*is not of a shard"},
		"far too many":        {[]*Saved{verify("0/99999999", good, whole)}, "*is not of a shard"},
		"none":                {nil, "*no results were given"},
	} {
		var b bytes.Buffer
		err := Merge(&b, c.shards)
		if mixture, is := strings.CutPrefix(c.verdict, "*"); is {
			if !errors.Is(err, ErrMixture) || !strings.Contains(err.Error(), mixture) {
				t.Errorf("%s: got error %v, want a mixture: %s", name, err, mixture)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: got error %v, want none", name, err)
			continue
		}
		s := loaded(t, b.Bytes())
		if got := s.verdict(); got != c.verdict || s.End.Well && !strings.HasPrefix(name, "all") && name != "one empty" && name != "runs" || s.Head.Scope != "a b" {
			t.Errorf("%s: got verdict %q, well %v, scope %q, want %q of a b\n%s", name, got, s.End.Well, s.Head.Scope, c.verdict, b.Bytes())
		}
	}
}
