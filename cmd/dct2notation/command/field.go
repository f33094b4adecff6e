package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// field is what one call works on: the servers, and the repositories that were asked for.
type field struct {
	*remote
	guns     []dct.GUN
	asked    string   // by the user: see scopeText
	choice   []string // what of the configuration and flags chooses among repositories and tags
	scope    migrate.Scope
	feeds    feeds
	odd      int   // names that were found and are no repository's
	unlisted error // why the repositories of some of the registries are not known
	part     bool  // of the repositories, only those that have changed since an earlier pass
}

// enter connects to the servers and finds the repositories. The field is to be closed.
func enter(ctx context.Context, o remoteOptions, so selectOptions, cfg config, args []string, a access, s Streams, log *slog.Logger) (*field, error) {
	f, sel, err := approach(o, so, cfg, args, a, s, log)
	if err != nil {
		return nil, err
	}
	if err := f.find(ctx, so.discover, sel, cfg, nil, log); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// found reports whether a repository is asked for only because it was found: that it has no
// trust data is no failure then.
func (f *field) found(gun dct.GUN) bool { return f.scope.Discovered != nil && f.scope.Discovered(gun) }

// approach is enter before any request is sent: the field has no repositories yet.
func approach(o remoteOptions, so selectOptions, cfg config, args []string, a access, s Streams, log *slog.Logger) (*field, *selection, error) {
	sel, err := so.selectOf(args, cfg)
	if err != nil {
		return nil, nil, usage(err)
	}
	if err := sel.addRecorded(args, a); err != nil {
		return nil, nil, err
	}
	hosts, err := sel.allHosts(cfg)
	if err != nil {
		return nil, nil, usage(err)
	}
	named, err := sel.hosts()
	if err != nil {
		return nil, nil, usage(err)
	}
	r, err := connect(o, cfg, hosts, a, s, log)
	if err != nil {
		return nil, nil, err
	}
	if err := r.useVariable(named, log); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	return &field{remote: r, scope: sel.scope(), asked: scopeText(sel.names, sel.choice), choice: sel.choice}, sel, nil
}

// find finds the repositories that the selection means. since is what an earlier pass has
// read of the changefeeds: of what they name, only what has changed is found again.
func (f *field) find(ctx context.Context, how string, sel *selection, cfg config, since feeds, log *slog.Logger) error {
	found, err := f.discover(ctx, how, sel, cfg, since)
	if err != nil {
		return err
	}
	f.feeds, f.listed, f.odd = found.feeds, found.listed, len(found.odd)
	found.tellOdd(log)
	if f.unlisted = found.unlisted; f.unlisted != nil && len(found.guns) == 0 && len(sel.exact) == 0 {
		return f.unlisted
	}
	if f.unlisted != nil {
		log.Error("not all repositories are known, and the call goes on with the others", reasoned(f.unlisted.Error())...)
	}
	if f.guns, err = sel.pick(found.guns); err != nil {
		return usage(err)
	}
	if err := onePlaceEach(f.guns, sel.moves); err != nil {
		return usage(err)
	}
	if f.opts.username != "" {
		hosts, err := sel.allHosts(cfg)
		if err == nil {
			err = f.oneRegistry(hosts)
		}
		if err != nil {
			return usage(err)
		}
	}
	if sel.found && len(f.guns) == 0 && since == nil {
		return nothingFound(how, len(found.guns))
	}
	if sel.found {
		log.Info("repositories found", "by", how, "meant", len(f.guns), "of", len(found.guns))
	}
	if before := len(f.guns); sel.recorded != nil {
		f.guns = sel.withRecorded(f.guns)
		if more := len(f.guns) - before; more > 0 {
			log.Info("repositories that only the ledger has are compared as well", "repositories", more)
		}
	}
	return nil
}

// nothingFound is the error where repositories were looked for, and there is none to work on: it
// may be that the wrong server has answered, so that nothing to do is not the same as done.
func nothingFound(how string, found int) error {
	switch {
	case how != discoverChangefeed:
		return usage(fmt.Errorf("no repository of the %d that were found was selected\nhint: compare the globs with the names", found))
	case found > 0: // a watch may wait for the first of them
		return fmt.Errorf("no repository of the %d that the changefeed names was selected\nhint: compare the globs with the names", found)
	}
	return errors.New("the changefeed names no repository at all\nhint: is that the Notary server, or did a proxy answer? else name the repositories, or find them with --discover catalog")
}

// allHosts are the registries that may be spoken to: of the names, of the configuration's
// list if globs choose from it, where images have moved to, and of what a ledger has.
func (s *selection) allHosts(cfg config) ([]string, error) {
	named, err := s.hosts()
	if err != nil {
		return nil, err
	}
	hosts := map[string]bool{}
	for _, h := range named {
		hosts[h] = true
	}
	for _, gun := range s.exact {
		hosts[host(s.moves.place(gun))] = true
	}
	for _, m := range s.moves {
		hosts[host(m.to)] = true
	}
	for gun, places := range s.recorded {
		hosts[gun.Registry()] = true
		for _, place := range places {
			hosts[host(place)] = true
		}
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}

// onePlaceEach refuses repositories whose images would be in one place: what is signed there
// would be of two repositories at once.
func onePlaceEach(guns []dct.GUN, m moves) error {
	of := map[string]dct.GUN{}
	for _, gun := range guns {
		place := m.place(gun)
		if other, taken := of[place]; taken && other != gun {
			return fmt.Errorf("map: the images of %s and of %s would both be in %s\nhint: migrate them one after the other, with a ledger each", other, gun, safetext.Safe(place, 256))
		}
		of[place] = gun
	}
	return nil
}

// oneRegistry refuses a password for repositories on other registries than it was given
// for.
func (f *field) oneRegistry(hosts []string) error {
	for _, gun := range f.guns {
		if !slices.Contains(hosts, gun.Registry()) {
			return fmt.Errorf("--username is for %s, and repositories of %s were found\nhint: use docker login for each, or name the registry, as in %s/**", strings.Join(hosts, ", "), gun.Registry(), gun.Registry())
		}
	}
	return nil
}
