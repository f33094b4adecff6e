package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// SelectOptions select repositories and tags.
type SelectOptions struct {
	Discover    string
	includeTags []string
	excludeTags []string
	Shard       Shard // for the verbs that bind it
}

// ways to find repositories.
const (
	DiscoverList        = "list"
	DiscoverSource      = "source"
	DiscoverDockerTrust = "docker-trust"
	discoverCatalog     = "catalog"
	discoverChangefeed  = "changefeed"
)

// DiscoverKinds are the values of --discover.
func DiscoverKinds() []string {
	return []string{DiscoverList, DiscoverSource, DiscoverDockerTrust, discoverCatalog, discoverChangefeed}
}

// Bind adds the flags.
func (o *SelectOptions) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupSelect, func(f *pflag.FlagSet) {
		f.StringVar(&o.Discover, "discover", DiscoverList, "how to find repositories: list (those named), changefeed (of the Notary server), catalog (of the registry), docker-trust, source (all in --source)")
		BindRepositoriesFrom(f)
		f.StringSliceVar(&o.includeTags, "include-tags", nil, "process only tags that match one of these globs")
		f.StringSliceVar(&o.excludeTags, "exclude-tags", nil, "skip tags that match one of these globs")
	})
}

// Check returns a usage error for invalid values.
func (o *SelectOptions) Check() error {
	if !slices.Contains(DiscoverKinds(), o.Discover) {
		return cli.Usage(fmt.Errorf("--discover %s: it is list, changefeed, catalog, docker-trust or source", safetext.Safe(o.Discover, 64)))
	}
	return nil
}

// selection is what arguments and configuration select.
type selection struct {
	exact   []dct.GUN // named
	globs   glob.List // match repositories that are found
	exclude glob.List
	tags    func(tag string) bool
	moves   mirrors
	found   bool // repositories are found, not only named
	shard   Shard
	names   []string
	// recorded are the repositories that a ledger has, with the locations of their images. They are compared with the
	// ledger whether or not they are found or listed.
	recorded map[dct.GUN][]string
	unlisted map[dct.GUN]bool // of these, the ones that only the ledger has
	choice   []string         // which settings and flags select among them and their tags

	unmatched *unmatched // nil: not all repositories of the configuration are processed
}

// ErrNoRepositories is returned if nothing says which repositories to process.
var ErrNoRepositories = errors.New("no repositories\nhint: name them as arguments, or under repositories in the configuration; to find them, name globs such as registry.example.com/**")

// ErrNoTags is returned if tags are selected and none matches, which is probably a typing error.
var ErrNoTags = cli.Usage(errors.New("no tag matches --include-tags and --exclude-tags\nhint: compare them with the tags of the repositories"))

// SelectsTags reports whether tags are selected from everything that is read. What a changefeed newly names may well
// have no selected tag.
func (o *SelectOptions) SelectsTags() bool {
	return len(o.includeTags)+len(o.excludeTags) > 0 && o.Discover != discoverChangefeed
}

// selectOf reads the selection. It contacts no server.
func (o *SelectOptions) selectOf(args []string, cfg Config) (*selection, error) {
	sel := &selection{names: args, found: o.Discover != DiscoverList, shard: o.Shard}
	if len(args) == 0 {
		sel.names = cfg.Repositories
	}
	if len(sel.names) == 0 && (o.Discover == DiscoverList || o.Discover == discoverCatalog || o.Discover == discoverChangefeed) {
		return nil, ErrNoRepositories
	}
	for _, name := range sel.names {
		if glob.In(name) {
			g, err := glob.Parse(name)
			if err != nil {
				return nil, err
			}
			sel.globs = append(sel.globs, g)
			continue
		}
		gun, err := dct.ParseGUN(name)
		if err != nil {
			return nil, err
		}
		sel.exact = append(sel.exact, gun)
	}
	excluded, err := normalised(cfg.Exclude)
	if err != nil {
		return nil, err
	}
	if sel.exclude, err = glob.ParseAll(excluded); err != nil {
		return nil, err
	}
	if sel.moves, err = parseMirrors(cfg.Map); err != nil {
		return nil, err
	}
	include, err := glob.ParseAll(o.includeTags)
	if err != nil {
		return nil, err
	}
	exclude, err := glob.ParseAll(o.excludeTags)
	if err != nil {
		return nil, err
	}
	for what, list := range map[string][]string{"exclude": excluded, "include-tags": o.includeTags, "exclude-tags": o.excludeTags} {
		for _, one := range slices.Sorted(slices.Values(list)) {
			sel.choice = append(sel.choice, what+"="+one)
		}
	}
	slices.Sort(sel.choice)
	if len(args) == 0 && !cfg.listed {
		sel.unmatched = newUnmatched(include, exclude)
	}
	sel.tags = func(tag string) bool {
		sel.unmatched.note(tag)
		return (len(include) == 0 || include.Match(tag)) && !exclude.Match(tag)
	}
	return sel, nil
}

// Asked returns the scope of a result for arguments and configuration. It contacts no server, and refuses what
// Connect would refuse.
func (o *SelectOptions) Asked(args []string, cfg Config) (string, error) {
	if len(args)+len(cfg.Repositories) == 0 {
		return "", nil
	}
	sel, err := o.selectOf(args, cfg)
	if err != nil {
		return "", cli.Usage(err)
	}
	return sel.asked(), nil
}

// CheckNames returns a usage error unless arguments and configuration name repositories, or say how they are found.
func (o *SelectOptions) CheckNames(args []string, cfg Config) error {
	_, err := o.selectOf(args, cfg)
	return cli.Usage(err)
}

// asked returns the scope of a result.
func (s *selection) asked() string {
	text := output.ScopeText(s.names, s.choice)
	if s.shard.Count > 0 {
		text += " shard=" + s.shard.String()
	}
	return text
}

// addRecorded adds the repositories of a ledger, except the excluded ones. If the command line names repositories, it
// adds only those, unless all are wanted.
func (s *selection) addRecorded(args []string, a Access) error {
	if a.Record == nil {
		return nil
	}
	s.recorded = map[dct.GUN][]string{}
	for _, name := range a.Record.GUNs() {
		gun, err := dct.ParseGUN(name)
		if err != nil || gun.String() != name {
			return fmt.Errorf("the ledger has an invalid repository name: %s", safetext.Safe(name, 256))
		}
		if s.unmatched != nil {
			s.unmatched.recorded = append(s.unmatched.recorded, gun)
		}
		meant := a.AllRecord || len(args) == 0 || slices.Contains(s.exact, gun) || s.globs.Match(name)
		if meant && !s.exclude.Match(name) {
			s.recorded[gun] = a.Record.Places(name)
		}
	}
	return nil
}

// onlyRecorded returns the repositories that a ledger has and that were not picked.
func (s *selection) onlyRecorded(picked []dct.GUN) []dct.GUN {
	s.unlisted = map[dct.GUN]bool{}
	for gun := range s.recorded {
		s.unlisted[gun] = true
	}
	for _, gun := range picked {
		delete(s.unlisted, gun)
	}
	return slices.SortedFunc(maps.Keys(s.unlisted), dct.GUN.Compare)
}

// part returns the shard's part of the picked repositories, and all that only its ledger has: no other shard knows of
// them, even if their images have been moved since.
func (s *selection) part(picked, recorded []dct.GUN, canonical func(dct.GUN) string) []dct.GUN {
	return append(s.shard.of(picked, canonical), recorded...)
}

// normalised writes names as docker does: alpine is docker.io/library/alpine. Globs stay.
func normalised(names []string) ([]string, error) {
	var all []string
	for _, name := range names {
		if !glob.In(name) {
			gun, err := dct.ParseGUN(name)
			if err != nil {
				return nil, err
			}
			name = gun.String()
		}
		all = append(all, name)
	}
	return all, nil
}

// hosts returns the registries of the names.
func (s *selection) hosts() ([]string, error) {
	hosts := map[string]bool{}
	for _, gun := range s.exact {
		hosts[gun.Registry()] = true
	}
	for _, g := range s.globs {
		h := migrate.HostOf(g.String())
		if glob.In(h) {
			return nil, fmt.Errorf("glob %s: must begin with the registry's host", safetext.Safe(g.String(), 256))
		}
		hosts[h] = true
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}

// pick returns the selected candidates: the named ones always, the others by the globs, each once and in order,
// without the excluded ones.
func (s *selection) pick(candidates []dct.GUN) ([]dct.GUN, error) {
	var guns []dct.GUN
	taken := map[dct.GUN]bool{}
	take := func(gun dct.GUN) {
		if !taken[gun] && !s.exclude.Match(gun.String()) {
			taken[gun] = true
			guns = append(guns, gun)
		}
	}
	matched := make([]bool, len(s.globs))
	for _, gun := range s.exact {
		take(gun)
	}
	for _, gun := range candidates {
		if len(s.names) == 0 {
			take(gun)
		}
		for i, g := range s.globs {
			if g.Match(gun.String()) {
				matched[i] = true
				take(gun)
			}
		}
	}
	if s.found {
		return guns, nil // it is not a mistake if nothing is new
	}
	if i := slices.Index(matched, false); i >= 0 {
		return nil, fmt.Errorf("%s matches no repository in the configuration, which has %s\nhint: to find repositories that are not listed there, say how: --discover catalog, or changefeed", safetext.Safe(s.globs[i].String(), 256), safetext.Count(len(candidates), "repository"))
	}
	if len(guns) == 0 {
		return nil, errors.New("every repository is excluded by the configuration")
	}
	return guns, nil
}

// scope returns the selection in the form that the engine uses.
func (s *selection) scope() migrate.Scope {
	return migrate.Scope{Place: s.moves.location, Wanted: s.tags, Discovered: s.discovered}
}

// discovered reports whether a repository is selected only because it was found, or was signed once.
func (s *selection) discovered(gun dct.GUN) bool {
	return s.unlisted[gun] || s.found && !slices.Contains(s.exact, gun)
}

// listed returns the configuration's repositories that are named in full.
func listed(cfg Config) ([]dct.GUN, error) {
	var guns []dct.GUN
	for _, name := range cfg.Repositories {
		if glob.In(name) {
			continue
		}
		gun, err := dct.ParseGUN(name)
		if err != nil {
			return nil, err
		}
		guns = append(guns, gun)
	}
	return guns, nil
}

// Feeds are the changefeeds read from the Notary servers, by registry host.
type Feeds map[string]*dct.Feed

// A discovery holds the repositories that were found.
type discovery struct {
	guns []dct.GUN
	// listed says for each where it is listed as having trust data. A registry's catalogue does not count: it also
	// lists what was never signed.
	listed map[dct.GUN]dct.Listing
	feeds  Feeds    // nil: no changefeed was read
	odd    []string // names that are not valid for a repository
	// unlisted is why the repositories of some of the registries are not known; nil: all are known.
	unlisted error
}

// listedBy returns a discovery of the repositories in one list, which says that they have trust data.
func listedBy(by string, guns []dct.GUN, odd []string) discovery {
	c := discovery{guns: guns, odd: odd, listed: map[dct.GUN]dct.Listing{}}
	for _, gun := range guns {
		c.listed[gun] = dct.Listing{By: by}
	}
	return c
}

// discover finds the candidates. since is what an earlier pass has read of the changefeeds: then only what has
// changed is a candidate; nil: everything that they name.
func (r *Servers) discover(ctx context.Context, how string, sel *selection, cfg Config, since Feeds) (discovery, error) {
	switch how {
	case DiscoverDockerTrust:
		guns, odd, err := dct.DockerTrust{Dir: r.dockerTrustDir()}.GUNs()
		return listedBy("docker's trust directory", guns, odd), err
	case DiscoverSource:
		guns, odd, err := r.sourceGUNs()
		return listedBy("--source "+safetext.Safe(r.Opts.Source, 100), guns, odd), err
	case discoverCatalog, discoverChangefeed:
		if _, fromServer := r.Source.(*dct.Server); how == discoverChangefeed && !fromServer {
			return discovery{}, cli.Usage(fmt.Errorf("--discover changefeed asks the Notary server, and --source %s takes its place\nhint: --discover source finds all that it has", safetext.Safe(r.Opts.Source, 100)))
		}
		hosts, err := sel.hosts()
		if err != nil {
			return discovery{}, cli.Usage(err)
		}
		if how == discoverCatalog {
			return r.catalogs(ctx, hosts)
		}
		return r.changefeeds(ctx, hosts, since)
	}
	guns, err := listed(cfg)
	return discovery{guns: guns}, cli.Usage(err)
}

// maxOdd is how many invalid names are logged.
const maxOdd = 20

// tellOdd logs which names were skipped: no image can have them, so docker has no trust data under them, and there is
// nothing to sign.
func (d *discovery) tellOdd(log *slog.Logger) {
	for _, name := range d.odd[:min(len(d.odd), maxOdd)] {
		log.Warn("skipped a name that is not valid for an image", "name", safetext.Safe(name, 256))
	}
	if more := len(d.odd) - maxOdd; more > 0 {
		log.Warn("skipped more names that are not valid for an image", "names", more)
	}
}

// sourceGUNs returns all repositories that --source has, and its names that are not valid for an image.
func (r *Servers) sourceGUNs() (guns []dct.GUN, odd []string, err error) {
	switch s := r.Source.(type) {
	case *dct.Dump:
		guns, odd = s.GUNs()
		return guns, odd, nil
	case *snapshot.Snapshot:
		return s.GUNs(), nil, nil // it has no other names
	case dct.DockerTrust:
		return s.GUNs()
	}
	return nil, nil, cli.Usage(errors.New("--discover source: a server does not list its repositories; use changefeed or catalog"))
}

func (r *Servers) catalogs(ctx context.Context, hosts []string) (discovery, error) {
	var found discovery
	for _, h := range hosts {
		names := 0
		err := r.Registry.Catalog(ctx, h, func(name string) error {
			names++
			// Names from servers are data: skip what is not a valid repository name.
			if gun, err := dct.ParseGUN(h + "/" + name); err == nil {
				found.guns = append(found.guns, gun)
			} else {
				found.odd = append(found.odd, name)
			}
			return nil
		})
		if err == nil && names == 0 {
			err = fmt.Errorf("listing the repositories of %s: its catalogue names %w", h, errNone)
		}
		if err := found.miss(ctx, h, discoverChangefeed, err); err != nil {
			return discovery{}, err
		}
	}
	return found, nil
}

// errNone is the error for a list without entries: another server may have answered, so having nothing to do is not
// the same as done.
var errNone = errors.New("no repository at all")

// miss records that the repositories of a registry are not known, which does not affect the others. The error is
// ctx's.
func (d *discovery) miss(ctx context.Context, host, instead string, err error) error {
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if !strings.Contains(err.Error(), "\nhint: ") {
		if errors.Is(err, errNone) {
			instead += "; or leave this registry out, if it has none"
		}
		err = fmt.Errorf("%w\nhint: name the repositories of %s, as arguments or in the configuration, or find them with --discover %s", err, host, instead)
	}
	d.unlisted = errors.Join(d.unlisted, err)
	return nil
}

// changefeeds reads the changefeeds of the hosts' Notary servers. What a feed has as deleted is also a candidate: the
// server is asked whether it is gone.
func (r *Servers) changefeeds(ctx context.Context, hosts []string, since Feeds) (discovery, error) {
	server := r.FeedServer()
	found := discovery{listed: map[dct.GUN]dct.Listing{}, feeds: Feeds{}}
	names := map[string]bool{} // one server may serve several registries, and names all repositories for each
	for _, h := range hosts {
		now, changed, err := server.Changes(ctx, h, since[h])
		if err == nil && len(now.All()) == 0 {
			err = fmt.Errorf("reading the changefeed for %s: it names %w", h, errNone)
		}
		if err != nil {
			if err := found.miss(ctx, h, discoverCatalog, err); err != nil {
				return discovery{}, err
			}
			continue
		}
		found.feeds[h] = now
		r.AddListed(found.listed, h, now)
		for _, one := range changed {
			gun, ok := r.named(h, one)
			before := names[one.GUN]
			names[one.GUN] = before || ok || gun == (dct.GUN{})
			switch {
			case before:
			case ok:
				found.guns = append(found.guns, gun)
			case gun == (dct.GUN{}):
				found.odd = append(found.odd, one.GUN)
			}
		}
	}
	return found, nil
}

// AddListed adds what the changefeed of a host's Notary server says about the repositories that it names.
func (r *Servers) AddListed(listed map[dct.GUN]dct.Listing, host string, feed *dct.Feed) {
	for _, one := range feed.All() {
		if gun, ok := r.named(host, one); ok {
			listed[gun] = dct.Listing{By: "the changefeed of " + r.NotaryURL(host), Deleted: one.Deleted}
		}
	}
}

// FeedServer returns the Notary server as the source of changefeeds.
func (r *Servers) FeedServer() *dct.Server {
	return &dct.Server{URL: r.NotaryURL, HTTP: r.notaryClient, MaxRecords: r.Opts.maxRecords, MaxTime: r.Opts.maxRead}
}

// named returns the repository that the changefeed of a host's Notary server names, and reports whether that is the
// server where docker looks for it.
func (r *Servers) named(host string, one dct.Changed) (dct.GUN, bool) {
	gun, err := dct.ParseGUN(one.GUN)
	if err != nil || gun.String() != one.GUN {
		return dct.GUN{}, false
	}
	return gun, r.NotaryURL(gun.Registry()) == r.NotaryURL(host)
}
