package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sync/semaphore"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/ordered"
	"github.com/dct2notation/dct2notation/migrate"
)

// Small repositories are compared in parallel: one alone has too few tags to keep all workers busy. Large ones are
// not, since each takes memory.
const (
	aheadRepositories = 16   // at most, besides those whose trust data is being read
	aheadTags         = 2000 // of all repositories being compared, unless there is only one
)

// comparing is a verification in progress. The repositories share its limits.
type comparing struct {
	*Verification
	hosts   *dct.Hosts
	readers chan struct{}       // one slot for each repository whose trust data is being read
	tags    *semaphore.Weighted // limited by aheadTags
	workers chan struct{}       // one slot for each tag being looked at
}

func (v *Verification) begin() *comparing {
	return &comparing{
		Verification: v, hosts: dct.NewHosts(), tags: semaphore.NewWeighted(aheadTags),
		readers: make(chan struct{}, max(v.Readers, 1)), workers: make(chan struct{}, v.Workers),
	}
}

// compared is the result for one repository.
type compared struct {
	result Repository
	unread error // its trust data could not be read; the result says so
	err    error // ends the verification
}

// all compares the repositories and yields their results in order. They are read in that order as well: otherwise
// results would wait in memory for those before them.
func (c *comparing) all(ctx context.Context, guns []dct.GUN) iter.Seq2[dct.GUN, compared] {
	inTurn := func(yield func(dct.GUN) bool) {
		for _, gun := range guns {
			select {
			case c.readers <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if !yield(gun) {
				return
			}
		}
	}
	return ordered.Each(ctx, inTurn, cap(c.readers)+aheadRepositories, c.repository)
}

// repository reads a repository's trust data and compares it. The caller has taken a place among the readers. It is
// kept until the comparison may begin, so that no more trust data piles up.
func (c *comparing) repository(ctx context.Context, gun dct.GUN) compared {
	known, err := c.before(gun)
	if err != nil {
		<-c.readers
		return compared{err: err}
	}
	var read *dct.Repository
	err = c.hosts.Try(ctx, gun, func() (err error) {
		read, err = c.Trust.Read(ctx, gun, known)
		return err
	})
	if err != nil {
		<-c.readers
		if c.Record.has(gun) && lookup.IsAbsent(err) { // the source itself says that it has no root
			result, ended := c.withdrawn(ctx, gun)
			switch {
			case errors.Is(err, dct.ErrDeleted): // the server has said so twice, by its changefeed and by its root
				result.Deleted = true
			case !c.Scope.MayLack(gun, err): // nobody knows whether DCT has withdrawn it
				result.unclear(err)
			}
			return compared{result: result, unread: err, err: ended}
		}
		return compared{result: Repository{GUN: gun.String(), Class: unreadClass(err), Failure: failure.Of(err), Reason: err.Error()}, unread: err}
	}
	size := min(int64(len(read.Targets())+len(read.Findings())), aheadTags)
	err = c.tags.Acquire(ctx, size)
	<-c.readers
	if err != nil {
		return compared{err: err}
	}
	defer c.tags.Release(size)
	result, err := c.compare(ctx, read)
	return compared{result: result, err: err}
}

// before returns what runs have seen of a repository, to which the next read is held. A failure ends the
// verification: without it, older trust data would pass.
func (v *Verification) before(gun dct.GUN) (dct.Known, error) {
	if v.Before == nil {
		return dct.Known{}, nil
	}
	seen, _, err := v.Before(gun.String())
	if err != nil {
		return dct.Known{}, fmt.Errorf("looking up what runs have seen of %s: %w", gun, err)
	}
	return migrate.KnownOf(seen), nil
}
