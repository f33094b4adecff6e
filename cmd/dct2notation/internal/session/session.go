// Package session turns configuration and flags into what a verb works with: connected servers, the selected
// repositories, open keys, the ledger, and the real parts behind the interfaces of package migrate. It makes no
// decision that a promise rests on.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// Session is what one call works on: the servers, and the selected repositories.
type Session struct {
	*Servers
	GUNs     []dct.GUN
	Asked    string   // by the user: see ScopeText
	Choice   []string // which settings and flags select repositories and tags
	Scope    migrate.Scope
	Feeds    Feeds
	Odd      int   // how many names were found that are not valid for a repository
	Unlisted error // why the repositories of some of the registries are not known
	Part     bool  // only the repositories that have changed since an earlier pass
	Shard    Shard
	Hosts    []string // registries that may be asked
	campaign string   // what the shard is a part of; empty: there are no shards

	moves     mirrors
	unmatched *unmatched
	told      Told
}

// Connect connects to the servers and finds the repositories. The caller closes the session.
func Connect(ctx context.Context, o RemoteOptions, so SelectOptions, cfg Config, args []string, a Access, s cli.Streams, log *slog.Logger) (*Session, error) {
	f, sel, err := Prepare(o, so, cfg, args, a, s, log)
	if err != nil {
		return nil, err
	}
	if err := f.Find(ctx, so.Discover, sel, cfg, nil, log); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ConnectHosts connects to the servers without selecting repositories: only the registries of the names may be asked.
// With --discover, the lists are still read: what they list has trust data. The caller closes the session.
func ConnectHosts(ctx context.Context, o RemoteOptions, so SelectOptions, cfg Config, args []string, a Access, s cli.Streams, log *slog.Logger) (*Session, error) {
	if so.Discover != DiscoverList {
		return Connect(ctx, o, so, cfg, args, a, s, log)
	}
	f, _, err := Prepare(o, so, cfg, args, a, s, log)
	return f, err
}

// Found reports whether a repository is selected only because it was found: then it is no failure if it has no trust
// data.
func (f *Session) Found(gun dct.GUN) bool {
	return f.Scope.Discovered != nil && f.Scope.Discovered(gun)
}

// Head returns the head of a saved result of this session. alike are options that other shards must share for their
// results to be joined with it.
func (f *Session) Head(of string, alike ...string) report.Head {
	h := report.NewHead(of, cli.Tool(), f.Asked, time.Now())
	h.Shard, h.Campaign = f.Shard.String(), f.campaign
	if h.Campaign != "" && len(alike) > 0 {
		h.Campaign = digest.FromString(h.Campaign + "\n" + strings.Join(alike, "\n")).Encoded()
	}
	return h
}

// TellUnmatchedTags warns of each tag glob that has matched nothing, once trust data was read.
func (f *Session) TellUnmatchedTags(log *slog.Logger) {
	if f.Unlisted == nil && !f.Part {
		f.unmatched.tellTags(log)
	}
}

// Prepare is Connect without sending any request: the session has no repositories yet.
func Prepare(o RemoteOptions, so SelectOptions, cfg Config, args []string, a Access, s cli.Streams, log *slog.Logger) (*Session, *selection, error) {
	sel, err := so.selectOf(args, cfg)
	if err != nil {
		return nil, nil, cli.Usage(err)
	}
	if sel.unmatched != nil && a.Told != nil {
		sel.unmatched.told = a.Told
	}
	if err := sel.addRecorded(args, a); err != nil {
		return nil, nil, err
	}
	hosts, err := sel.allHosts(cfg)
	if err != nil {
		return nil, nil, cli.Usage(err)
	}
	named, err := sel.hosts()
	if err != nil {
		return nil, nil, cli.Usage(err)
	}
	r, err := ConnectServers(o, cfg, hosts, a, s, log)
	if err != nil {
		return nil, nil, err
	}
	if err := r.useVariable(named, log); err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return &Session{Servers: r, Scope: sel.scope(), Asked: sel.asked(), Shard: sel.shard, Choice: sel.choice, Hosts: hosts, moves: sel.moves, unmatched: sel.unmatched, told: a.Told}, sel, nil
}

// Find returns the selected repositories. since is the position that an earlier pass has reached
// in the changefeeds: repositories found there are returned only if they have changed since.
func (f *Session) Find(ctx context.Context, how string, sel *selection, cfg Config, since Feeds, log *slog.Logger) error {
	found, err := f.discover(ctx, how, sel, cfg, since)
	if err != nil {
		return err
	}
	f.Feeds, f.Listed, f.Odd = found.feeds, found.listed, len(found.odd)
	found.tellOdd(log)
	if f.Unlisted = found.unlisted; f.Unlisted != nil && len(found.guns) == 0 && len(sel.exact) == 0 {
		return f.Unlisted
	}
	if f.Unlisted != nil {
		log.Error("not all repositories could be listed; continuing with the others", cli.Reasoned(f.Unlisted.Error())...)
	}
	if f.GUNs, err = sel.pick(found.guns); err != nil {
		return cli.Usage(err)
	}
	if since == nil && f.Unlisted == nil {
		sel.unmatched.tell(slices.Concat(sel.exact, found.guns), sel, cfg, log)
	}
	if sel.found && f.Unlisted == nil {
		there, err := sel.pick(slices.Concat(found.guns, slices.Collect(maps.Keys(found.listed)))) // what has not changed too
		if err != nil {
			return cli.Usage(err)
		}
		f.told.lost(slices.AppendSeq(there, maps.Keys(sel.recorded)), log) // what a ledger has is compared all the same
	}
	if err := onePlaceEach(f.GUNs, sel.moves); err != nil {
		return cli.Usage(err)
	}
	if f.Opts.username != "" {
		hosts, err := sel.allHosts(cfg)
		if err == nil {
			err = f.oneRegistry(hosts)
		}
		if err != nil {
			return cli.Usage(err)
		}
	}
	if sel.found && len(f.GUNs) == 0 && since == nil {
		return nothingFound(how, len(found.guns))
	}
	if sel.found {
		log.Info("repositories found", "by", how, "meant", len(f.GUNs), "of", len(found.guns))
	}
	if sel.shard.Count > 0 && since == nil { // of what has changed, shards find different lists
		f.campaign = sel.shard.campaign(output.ScopeText(sel.names, sel.choice), f.GUNs, f.canonical)
	}
	more := sel.onlyRecorded(f.GUNs)
	if len(more) > 0 {
		log.Info("also comparing repositories that only the ledger has", "repositories", len(more))
	}
	all := len(f.GUNs)
	f.GUNs = sel.part(f.GUNs, more, f.canonical)
	if sel.shard.Count > 0 {
		log.Info("one shard of the repositories", "shard", sel.shard.String(), "repositories", len(f.GUNs), "of", all+len(more))
	}
	f.Expect(f.GUNs)
	return nil
}

// nothingFound returns the error if repositories were looked for and none is selected: perhaps the wrong server has
// answered, so having nothing to do is not the same as done.
func nothingFound(how string, found int) error {
	switch {
	case how != discoverChangefeed:
		return cli.Usage(fmt.Errorf("none of the %d repositories found was selected\nhint: compare the globs with the names", found))
	case found > 0: // a watch may wait for the first of them
		return fmt.Errorf("none of the %d repositories in the changefeed was selected\nhint: compare the globs with the names", found)
	}
	return errors.New("the changefeed is empty\nhint: is that the Notary server, or did a proxy answer? else name the repositories, or find them with --discover catalog")
}

// allHosts returns the registries that may be contacted: those of the names, of the configuration's list if globs
// select from it, of the locations of moved images, and of what a ledger has.
func (s *selection) allHosts(cfg Config) ([]string, error) {
	named, err := s.hosts()
	if err != nil {
		return nil, err
	}
	hosts := map[string]bool{}
	for _, h := range named {
		hosts[h] = true
	}
	for _, gun := range s.exact {
		hosts[migrate.HostOf(s.moves.location(gun))] = true
	}
	for _, m := range s.moves {
		hosts[migrate.HostOf(m.to)] = true
	}
	for gun, places := range s.recorded {
		hosts[gun.Registry()] = true
		for _, place := range places {
			hosts[migrate.HostOf(place)] = true
		}
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}

// onePlaceEach refuses repositories whose images would be in one place: what is signed there would belong to two
// repositories at once.
func onePlaceEach(guns []dct.GUN, m mirrors) error {
	of := map[string]dct.GUN{}
	for _, gun := range guns {
		place := m.location(gun)
		if other, taken := of[place]; taken && other != gun {
			return fmt.Errorf("map: the images of %s and of %s would both be in %s\nhint: migrate them one after the other, with a ledger each", other, gun, safetext.Safe(place, 256))
		}
		of[place] = gun
	}
	return nil
}

// oneRegistry refuses a password if repositories are on other registries than the one it was given for.
func (f *Session) oneRegistry(hosts []string) error {
	for _, gun := range f.GUNs {
		if !slices.Contains(hosts, gun.Registry()) {
			return fmt.Errorf("--username is for %s, and repositories of %s were found\nhint: use docker login for each, or name the registry, as in %s/**", strings.Join(hosts, ", "), gun.Registry(), gun.Registry())
		}
	}
	return nil
}

// AddUnfinished adds the repositories that an earlier pass left unfinished to those that a changefeed named since
// then: the feed does not name them again.
func (f *Session) AddUnfinished(ledger *state.Ledger, sel *selection) error {
	// An image may be pushed after its trust data, and what was undone is to be signed again.
	names, err := ledger.Unfinished(string(failure.Missing), state.ClassUndone)
	if err != nil {
		return err
	}
	var guns []dct.GUN
	for _, name := range names {
		if gun, err := dct.ParseGUN(name); err == nil {
			guns = append(guns, gun)
		}
	}
	guns, err = sel.pick(append(f.GUNs, guns...))
	f.GUNs = sel.shard.of(guns, f.canonical) // pick adds all that are named, and map may have moved images
	return err
}
