package migrate

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/ordered"
	"github.com/dct2notation/dct2notation/state"
)

// reading is one repository's trust data and the work that follows from it.
type reading struct {
	*dct.Repository
	work  []Work
	place string // where the images are
	// leftOut counts the tags that were not chosen, of digests that no chosen tag has.
	leftOut int
	// changed says what is in the plan that binds the run, but no longer in the trust data.
	changed  []string
	findings []dct.Finding // entries of the trust data that are not signed, and what is no longer in it
}

// reader reads the trust data of repositories and makes work of it.
type reader struct {
	*Engine
	hosts  *dct.Hosts
	record bool            // whether to record in the ledger what was seen
	stop   <-chan struct{} // closed: begin nothing that takes long
}

// each reads repositories, a little ahead of its caller.
func (r *reader) each(ctx context.Context, guns []dct.GUN) iter.Seq2[dct.GUN, answer] {
	return ordered.Each(ctx, slices.Values(guns), r.Readers, r.ask)
}

// repository makes work of a repository's trust data, within the plan if there is one. before is what an earlier run
// saw of it.
func (r *reader) repository(ctx context.Context, trusted *dct.Repository, before state.Repository) (*reading, error) {
	work, err := gather(r.Scope, r.Keys, trusted)
	if err != nil {
		return nil, err
	}
	read := &reading{Repository: trusted, work: work, place: r.Scope.PlaceOf(trusted.GUN()), leftOut: r.Scope.leftOut(trusted)}
	gone, err := r.withdrawn(trusted)
	if err != nil {
		return nil, err
	}
	read.findings = append(slices.Clone(trusted.Findings()), gone...)
	if r.AllPlatforms {
		if err := read.expand(ctx, r.stop, r.Registry, r.Workers*perWorker); err != nil {
			return nil, err
		}
	}
	if r.Plan != nil {
		if err := r.Plan.bind(read); err != nil {
			return nil, err
		}
	}
	read.narrow(r.Filter)
	if r.record {
		now := remember(trusted, before, r.now())
		if reason := replacedRoot(trusted); reason != "" {
			err = r.Ledger.ReplaceRoot(now, reason)
		} else {
			err = r.Ledger.SetRepository(now)
		}
		if err != nil {
			return nil, failure.Fatally(err)
		}
	}
	return read, nil
}

func (r *reading) news() *TrustNews {
	n := &TrustNews{
		GUN: r.GUN().String(), PinnedBy: r.PinnedBy(), RootKeys: r.RootKeyIDs(),
		Replaced: replacedRoot(r.Repository), Items: len(r.work), Findings: r.findings, Expiries: r.Expiries(), Changed: r.changed,
	}
	if r.place != n.GUN {
		n.Place = r.place
	}
	n.LeftOut = r.leftOut
	return n
}

// remembered returns what an earlier run saw of the repository.
func (r *reader) remembered(gun dct.GUN) (state.Repository, dct.Known, error) {
	if r.Ledger == nil {
		return state.Repository{}, dct.Known{}, nil
	}
	before, _, err := r.Ledger.Repository(gun.String())
	return before, KnownOf(before), err
}

// KnownOf returns what runs have seen of a repository, for the next read. That read then refuses older versions,
// other roots and vanished roles. For an empty record it is empty.
func KnownOf(before state.Repository) dct.Known {
	known := dct.Known{Root: before.Root, Floors: map[string]dct.Floor{}, RootKeys: before.RootKeys, By: "the ledger"}
	for role, f := range before.Roles {
		known.Floors[role] = dct.Floor(f)
	}
	return known
}

func remember(r *dct.Repository, before state.Repository, at time.Time) state.Repository {
	known := r.Known()
	now := state.Repository{
		GUN: r.GUN().String(), Root: known.Root, Roles: map[string]state.Floor{},
		Pin: r.PinnedBy(), RootKeyIDs: r.RootKeyIDs(), RootKeys: known.RootKeys, VerifiedAt: at,
	}
	if before.Pin != "" && now.Pin == dct.PinnedEarlier {
		now.Pin = before.Pin // how it came to be trusted originally
	}
	for role, f := range known.Floors {
		now.Roles[role] = state.Floor(f)
	}
	return now
}

// replacedRoot says which root this read accepted in place of which; empty: the trusted root, or one that follows
// from it.
func replacedRoot(r *dct.Repository) string {
	was := r.Replaced()
	if was == nil {
		return ""
	}
	return fmt.Sprintf("root of version %d with key ids %s in place of version %d with key ids %s (SHA-256 %s)",
		r.Version("root"), strings.Join(r.RootKeyIDs(), ", "), was.Version, strings.Join(was.KeyIDs, ", "), was.SHA256)
}

// answer is the result of reading one repository.
type answer struct {
	value *reading
	err   error
}

// ask reads a repository, unless its host is no longer to be asked.
func (r *reader) ask(ctx context.Context, gun dct.GUN) (a answer) {
	before, known, err := r.remembered(gun)
	if err != nil {
		return answer{err: failure.Fatally(err)}
	}
	var trusted *dct.Repository
	a.err = r.hosts.Try(ctx, gun, func() (err error) {
		trusted, err = r.Trust.Read(ctx, gun, known)
		return err
	})
	// Failures from here on say nothing about the host: the trust data was read.
	if a.err == nil {
		a.value, a.err = r.repository(ctx, trusted, before)
	}
	return a
}

// NothingRead returns the error of a call that read no repository at all, or none of a host; last is the last
// failure.
func NothingRead(h *dct.Hosts, last error) error {
	if err := h.Suspects(); err != nil || h.AnyRead() || last == nil {
		return err
	}
	return &Ended{Kind: dct.ErrNothingRead, Cause: last}
}
