package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrMixture is returned by Merge for results that are not the shards of one campaign.
var ErrMixture = errors.New("not the shards of one campaign")

// apart is how long before another shard began a shard may have ended. What it found is of another time then, as where
// it failed today, and left the result of last month.
const apart = 24 * time.Hour

// Merge writes the results of the shards of one campaign as one result, shard by shard; names are those of their
// files. Shards belong to one campaign if they have the same verb, number of shards, selection and repositories, and
// compare alike. Otherwise Merge returns [ErrMixture], because a repository could be in none of the shards, each
// taking it for another's. The merged result is complete only if all shards are there, complete, and of one time.
func Merge(to io.Writer, names []string, results []*Saved) error {
	shards, err := campaign(names, results)
	if err != nil {
		return err
	}
	there := slices.DeleteFunc(slices.Clone(shards), func(s *Saved) bool { return s == nil })
	head := there[0].Head
	head.Scope = strings.Replace(head.Scope, " shard="+head.Shard, "", 1)
	head.Shard, head.Campaign, head.Keys = "", "", nil
	for _, s := range there {
		if s.Head.Started.Before(head.Started) {
			head.Started = s.Head.Started
		}
		for _, k := range s.Head.Keys {
			if !slices.Contains(head.Keys, k) {
				head.Keys = append(head.Keys, k)
			}
		}
	}
	lines, err := NewLines(to, head)
	if err != nil {
		return err
	}
	for _, s := range there {
		if err := s.Each(lines.Section, lines.Row); err != nil {
			return err
		}
	}
	return lines.End(mergedEnd(shards, there))
}

// campaign returns the results by the index of their shards; nil: missing.
func campaign(names []string, results []*Saved) ([]*Saved, error) {
	if len(results) == 0 {
		return nil, fmt.Errorf("%w: no results were given", ErrMixture)
	}
	var shards []*Saved
	of := map[int]string{} // the name, by index
	for i, s := range results {
		var index, count int
		if n, err := fmt.Sscanf(s.Head.Shard, "%d/%d", &index, &count); n != 2 || err != nil || fmt.Sprintf("%d/%d", index, count) != s.Head.Shard || index < 0 || index >= count || count > 1<<16 {
			return nil, fmt.Errorf("%w: %s is not of a shard", ErrMixture, names[i])
		}
		if shards == nil {
			shards = make([]*Saved, count)
		}
		one := results[0].Head
		switch {
		case s.Head.Of != one.Of:
			return nil, fmt.Errorf("%w: %s is of %s, and %s of %s", ErrMixture, names[0], one.Of, names[i], s.Head.Of)
		case count != len(shards):
			return nil, fmt.Errorf("%w: %s is of shard %s, and %s of shard %s", ErrMixture, names[0], one.Shard, names[i], s.Head.Shard)
		case s.Head.Campaign == "":
			return nil, fmt.Errorf("%w: %s is only of what has changed, or of a plan or list that names nothing", ErrMixture, names[i])
		case s.Head.Campaign != one.Campaign:
			return nil, fmt.Errorf("%w: %s was asked something else than %s, or has found other repositories", ErrMixture, names[i], names[0])
		case shards[index] != nil:
			return nil, fmt.Errorf("%w: %s and %s are both of shard %s", ErrMixture, of[index], names[i], s.Head.Shard)
		}
		shards[index], of[index] = s, names[i]
	}
	return shards, nil
}

// mergedEnd returns how the shards ended together; there are those that are not missing.
func mergedEnd(shards, there []*Saved) End {
	end := End{Well: true, Complete: true}
	latest := slices.MaxFunc(there, func(a, b *Saved) int { return a.Head.Started.Compare(b.Head.Started) }).Head.Started
	why := map[string][]string{} // reasons that not everything requested was done, or not at one time, and their shards
	done, rows, leftOut, aside := true, 0, 0, error(nil)
	for _, s := range there {
		if s.End.Ended.After(end.Ended) {
			end.Ended = s.End.Ended
		}
		end.Well = end.Well && s.End.Well
		end.Stopped, end.Spent = end.Stopped || s.End.Stopped, end.Spent || s.End.Spent
		end.Items += s.End.Items
		leftOut += s.leftOut
		rows += s.End.Unread
		for _, n := range s.End.Totals {
			rows += n
		}
		done = done && (s.End.Well || s.rest() == Aside)
		switch {
		case s.rest() == Aside && s.Head.Of == OfRun:
			aside = ErrPart
		case s.rest() == Aside:
			aside = ErrChosen
		case s.End.Error != "":
			why[s.End.Error] = append(why[s.End.Error], indexOf(s))
		case !s.End.Complete:
			why[early] = append(why[early], indexOf(s))
		}
		if at := s.End.Ended; !at.IsZero() && latest.Sub(at) > apart {
			why[old] = append(why[old], indexOf(s))
		}
	}
	lacks := lacking(shards, why)
	if len(lacks) == 0 && aside != nil && rows == 0 {
		lacks = []string{"no shard has a tag that was selected\nhint: compare --include-tags and --exclude-tags with the tags of the repositories"}
	}
	switch {
	case len(lacks) > 0:
		end.Well, end.Complete, end.Error = false, false, strings.Join(lacks, "\n")
	case errors.Is(aside, ErrPart) && !done: // as for one process: what failed is among the rows
	case errors.Is(aside, ErrChosen) && leftOut > 0:
		end.Well, end.Complete, end.Error = false, false, Partial(leftOut)
	case aside != nil:
		end.Well, end.Complete, end.Error = false, false, aside.Error()
	}
	return end
}

// Reasons to run a shard again that it does not give itself.
const (
	early = "stopped before everything was tried"
	old   = "ended more than a day before another began, so to be run again"
)

// lacking says which shards are missing, and what the others lack, each reason once. The beginning says most, since
// some formats show no more.
func lacking(shards []*Saved, why map[string][]string) (lines []string) {
	var missing []string
	for i, s := range shards {
		if s == nil {
			missing = append(missing, fmt.Sprint(i))
		}
	}
	if len(missing) > 0 {
		lines = append(lines, fmt.Sprintf("not all: of %d shards, these are missing: %s", len(shards), strings.Join(missing, ", ")))
	}
	reasons := slices.SortedFunc(maps.Keys(why), func(a, b string) int { // the long ones last
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	for _, reason := range reasons {
		text, hint, _ := strings.Cut(reason, "\nhint: ")
		line := text + ": shard"
		if len(why[reason]) > 1 {
			line += "s"
		}
		line += " " + strings.Join(why[reason], ", ")
		if hint != "" {
			line += "\nhint: " + hint
		}
		lines = append(lines, line)
	}
	return lines
}

func indexOf(s *Saved) string {
	index, _, _ := strings.Cut(s.Head.Shard, "/")
	return index
}
