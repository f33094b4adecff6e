package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// ErrMixture is returned by Merge for results that are not the shards of one campaign.
var ErrMixture = errors.New("not the shards of one campaign")

// Merge writes the results of the shards of one campaign as one result, shard by shard. Shards belong to one campaign
// if they have the same verb, number of shards, selection and repositories. Otherwise Merge returns [ErrMixture],
// because a repository could be in none of the shards, each taking it for another's. The merged result is complete
// only if all shards are there and complete.
func Merge(to io.Writer, results []*Saved) error {
	shards, err := campaign(results)
	if err != nil {
		return err
	}
	first := slices.IndexFunc(shards, func(s *Saved) bool { return s != nil })
	head := shards[first].Head
	head.Scope = strings.TrimSuffix(head.Scope, " shard="+head.Shard)
	head.Shard, head.Campaign, head.Keys = "", "", nil
	for _, s := range shards {
		if s == nil {
			continue
		}
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
	for _, s := range shards {
		if s == nil {
			continue
		}
		if err := s.Each(lines.Section, lines.Row); err != nil {
			return err
		}
	}
	return lines.End(mergedEnd(shards))
}

// campaign returns the results by the index of their shards; nil: missing.
func campaign(results []*Saved) ([]*Saved, error) {
	var shards []*Saved
	for i, s := range results {
		var index, count int
		if n, err := fmt.Sscanf(s.Head.Shard, "%d/%d", &index, &count); n != 2 || err != nil || fmt.Sprintf("%d/%d", index, count) != s.Head.Shard || index < 0 || index >= count || count > 1<<16 {
			return nil, fmt.Errorf("%w: number %d is not of a shard", ErrMixture, i+1)
		}
		if shards == nil {
			shards = make([]*Saved, count)
		}
		one := results[0].Head
		switch {
		case s.Head.Of != one.Of:
			return nil, fmt.Errorf("%w: number 1 is of %s, and number %d of %s", ErrMixture, one.Of, i+1, s.Head.Of)
		case count != len(shards):
			return nil, fmt.Errorf("%w: number 1 is of shard %s, and number %d of shard %s", ErrMixture, safetext.Safe(one.Shard, 32), i+1, safetext.Safe(s.Head.Shard, 32))
		case s.Head.Campaign != one.Campaign || s.Head.Campaign == "":
			return nil, fmt.Errorf("%w: number %d was asked something else than number 1, or has found other repositories", ErrMixture, i+1)
		case shards[index] != nil:
			return nil, fmt.Errorf("%w: two are of shard %s", ErrMixture, safetext.Safe(s.Head.Shard, 32))
		}
		shards[index] = s
	}
	if shards == nil {
		return nil, fmt.Errorf("%w: no results were given", ErrMixture)
	}
	return shards, nil
}

// mergedEnd returns how the shards ended together. Missing ones are nil.
func mergedEnd(shards []*Saved) End {
	end := End{Well: true, Complete: true}
	var missing, why []string
	leftOut, aside := 0, error(nil)
	for i, s := range shards {
		if s == nil {
			missing = append(missing, fmt.Sprint(i))
			continue
		}
		if s.End.Ended.After(end.Ended) {
			end.Ended = s.End.Ended
		}
		end.Well, end.Complete = end.Well && s.End.Well, end.Complete && s.End.Complete
		end.Stopped, end.Spent = end.Stopped || s.End.Stopped, end.Spent || s.End.Spent
		end.Items += s.End.Items
		leftOut += s.leftOut
		switch {
		case s.End.Error == "":
		case s.rest() != Aside:
			why = append(why, "shard "+s.Head.Shard+": "+s.End.Error)
		case s.Head.Of == OfRun:
			aside = ErrPart
		default:
			aside = ErrChosen
		}
	}
	if len(missing) > 0 {
		why = append(why, fmt.Sprintf("not all: of %d shards, these are missing: %s", len(shards), strings.Join(missing, ", ")))
		end.Well, end.Complete = false, false
	}
	switch {
	case len(why) > 0:
		end.Error = strings.Join(why, "\n")
	case errors.Is(aside, ErrChosen) && leftOut > 0:
		end.Error = Partial(leftOut)
	case aside != nil:
		end.Error = aside.Error()
	}
	return end
}
