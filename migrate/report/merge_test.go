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
	failed := []Row{{Tags: []string{"v1"}, Class: "failed", Cause: "permanent"}}
	stopped := End{Ended: time.Unix(1e9, 0), Stopped: true}
	run := func(name string, rows []Row, end End) *Saved { return shard(t, OfRun, name, "c", rows, end) }
	moved := func(by time.Duration, s *Saved) *Saved {
		s.Head.Started, s.End.Ended = s.Head.Started.Add(by), s.End.Ended.Add(by)
		return s
	}
	verify := func(name string, rows []Row, end End) *Saved { return shard(t, OfVerify, name, "c", rows, end) }
	for name, c := range map[string]struct {
		shards  []*Saved
		verdict string // ErrMixture if it begins with *
	}{
		"all well":                               {[]*Saved{verify("1/2", good, whole), verify("0/2", good, whole)}, "the signature sets agree"},
		"one empty":                              {[]*Saved{verify("0/2", good, whole), verify("1/2", nil, whole)}, "the signature sets agree"},
		"one disagrees":                          {[]*Saved{verify("0/2", good, whole), verify("1/2", bad, amiss)}, "the signature sets disagree"},
		"one missing":                            {[]*Saved{verify("0/3", good, whole), verify("2/3", good, whole)}, "did not finish"},
		"one ended":                              {[]*Saved{verify("0/2", good, whole), verify("1/2", good, part("the server is down"))}, "did not finish"},
		"samples":                                {[]*Saved{verify("0/2", good, part(Partial(2))), verify("1/2", good, part(Partial(3)))}, "the signature sets agree on what was compared, which is not everything"},
		"chosen":                                 {[]*Saved{verify("0/2", good, part(ErrChosen.Error())), verify("1/2", good, part(ErrChosen.Error()))}, "the signature sets agree on what was compared, which is not everything"},
		"a sample and one that ended":            {[]*Saved{verify("0/2", good, part(Partial(2))), verify("1/2", good, part("the server is down"))}, "did not finish"},
		"runs":                                   {[]*Saved{shard(t, OfRun, "0/1", "c", signed, whole)}, "complete"},
		"a plan's part":                          {[]*Saved{shard(t, OfRun, "0/2", "c", signed, whole), shard(t, OfRun, "1/2", "c", signed, part(ErrPart.Error()))}, "not complete: what was selected is done, which is not everything"},
		"a plan's part and failures":             {[]*Saved{run("0/2", failed, amiss), run("1/2", signed, part(ErrPart.Error()))}, "not complete"},
		"a plan's part and one that was stopped": {[]*Saved{run("0/2", signed, stopped), run("1/2", signed, part(ErrPart.Error()))}, "did not finish"},
		"all stopped":                            {[]*Saved{run("0/2", signed, stopped), run("1/2", signed, stopped)}, "did not finish"},
		"all well, a day apart":                  {[]*Saved{verify("0/2", good, whole), moved(-24*time.Hour, verify("1/2", good, whole))}, "the signature sets agree"},
		"of last month":                          {[]*Saved{verify("0/2", good, whole), moved(-24*time.Hour-1, verify("1/2", good, whole))}, "did not finish"},
		"a sample of last month":                 {[]*Saved{verify("0/2", good, whole), moved(-48*time.Hour, verify("1/2", good, part(Partial(1))))}, "did not finish"},
		"no tag of that name":                    {[]*Saved{verify("0/2", nil, part(Partial(2))), verify("1/2", nil, part(Partial(3)))}, "did not finish"},
		"no tag of that name in one":             {[]*Saved{verify("0/2", nil, part(Partial(2))), verify("1/2", good, part(Partial(3)))}, "the signature sets agree on what was compared, which is not everything"},

		"twice":               {[]*Saved{verify("0/2", good, whole), verify("0/2", good, whole)}, "*file-0 and file-1 are both of shard 0/2"},
		"other campaign":      {[]*Saved{verify("0/2", good, whole), shard(t, OfVerify, "1/2", "d", good, whole)}, "*file-1 was asked something else than file-0"},
		"no campaign":         {[]*Saved{shard(t, OfVerify, "0/2", "", good, whole), shard(t, OfVerify, "1/2", "", good, whole)}, "*file-0 is only of what has changed"},
		"other number":        {[]*Saved{verify("0/2", good, whole), verify("1/3", good, whole)}, "*file-0 is of shard 0/2, and file-1 of shard 1/3"},
		"run and verify":      {[]*Saved{verify("0/2", good, whole), shard(t, OfRun, "1/2", "c", signed, whole)}, "*file-0 is of verify, and file-1 of run"},
		"of all repositories": {[]*Saved{verify("", good, whole)}, "*file-0 is not of a shard"},
		"nonsense":            {[]*Saved{verify("0/2junk", good, whole)}, "*file-0 is not of a shard"},
		"far too many":        {[]*Saved{verify("0/99999999", good, whole)}, "*file-0 is not of a shard"},
		"none":                {nil, "*no results were given"},
	} {
		var b bytes.Buffer
		var names []string
		for i := range c.shards {
			names = append(names, fmt.Sprint("file-", i))
		}
		err := Merge(&b, names, c.shards)
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
		if got := s.verdict(); got != c.verdict || s.End.Well && !strings.HasPrefix(name, "all well") && name != "one empty" && name != "runs" || s.Head.Scope != "a b" {
			t.Errorf("%s: got verdict %q, well %v, scope %q, want %q of a b\n%s", name, got, s.End.Well, s.Head.Scope, c.verdict, b.Bytes())
		}
	}
}

// Who has three hundred shards wants to know which to run again.
func TestMergeNamesTheShardsThatAreNotWhole(t *testing.T) {
	t.Parallel()
	at := time.Unix(1e9, 0)
	rows := []Row{{Tags: []string{"v1"}, Class: "signed"}}
	all := []*Saved{
		shard(t, OfRun, "0/6", "c", rows, End{Ended: at, Complete: true, Well: true}),
		shard(t, OfRun, "1/6", "c", rows, End{Ended: at, Stopped: true}),
		shard(t, OfRun, "2/6", "c", rows, End{Ended: at, Error: "the server is down"}),
		shard(t, OfRun, "4/6", "c", rows, End{Ended: at, Complete: true, Well: true}),
	}
	all = append(all, shard(t, OfRun, "5/6", "c", rows, End{Ended: at, Error: "the server is down"}))
	all[3].Head.Started, all[3].End.Ended = at.Add(-49*time.Hour), at.Add(-48*time.Hour)
	all[0].Head.Scope = "a b shard=0/6 sample=3"
	var b bytes.Buffer
	if err := Merge(&b, []string{"a", "b", "c", "d", "e"}, all); err != nil {
		t.Fatal(err)
	}
	s := loaded(t, b.Bytes())
	want := "not all: of 6 shards, these are missing: 3\n" +
		"the server is down: shards 2, 5\n" +
		"stopped before everything was tried: shard 1\n" +
		"ended more than a day before another began, so to be run again: shard 4"
	if s.End.Error != want || s.End.Well || s.End.Complete || s.Head.Scope != "a b sample=3" {
		t.Errorf("got scope %q, well %v, complete %v, error:\n%s\nwant a b sample=3, neither, and:\n%s", s.Head.Scope, s.End.Well, s.End.Complete, s.End.Error, want)
	}
}
