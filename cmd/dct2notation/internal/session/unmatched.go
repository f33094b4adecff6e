package session

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// unmatched finds what the configuration says of repositories and tags and none of them has: rather a typing error,
// and nothing else tells of it. It is safe for concurrent use; nil looks for nothing.
type unmatched struct {
	told     Told
	recorded []dct.GUN // all repositories of the ledger, if it is looked at

	mu               sync.Mutex
	include, exclude glob.List // of tags: those that have matched none yet
	read             bool      // there was a tag
}

func newUnmatched(include, exclude glob.List) *unmatched {
	return &unmatched{told: Told{}, include: slices.Clone(include), exclude: slices.Clone(exclude)}
}

// Told has what was warned of, for the passes of a watch to say it once. It is not safe for concurrent use.
type Told map[string]bool

// warn warns once.
func (t Told) warn(log *slog.Logger, what, key, value string) {
	if name := key + " " + value; !t[name] {
		t[name] = true
		log.Warn(what, key, safetext.Safe(value, 256))
	}
}

// note takes a tag of trust data.
func (u *unmatched) note(tag string) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.read = true
	matches := func(g glob.Glob) bool { return g.Match(tag) }
	u.include, u.exclude = slices.DeleteFunc(u.include, matches), slices.DeleteFunc(u.exclude, matches)
}

// tell warns of what none of the repositories has, those that are left out included.
func (u *unmatched) tell(guns []dct.GUN, sel *selection, cfg Config, log *slog.Logger) {
	if u == nil {
		return
	}
	guns = slices.Concat(guns, u.recorded)
	none := func(matches func(dct.GUN) bool) bool { return !slices.ContainsFunc(guns, matches) }
	const why = "no repository matches it: is it mistyped?"
	for _, g := range sel.exclude {
		if none(func(gun dct.GUN) bool { return g.Match(gun.String()) }) {
			u.told.warn(log, why, "exclude", g.String())
		}
	}
	for _, m := range sel.moves {
		if none(func(gun dct.GUN) bool { _, ok := m.move(gun.String()); return ok }) {
			u.told.warn(log, why, "map", m.from)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(cfg.Notary)) {
		if none(func(gun dct.GUN) bool { return gun.Registry() == host }) {
			u.told.warn(log, "no repository has this host: is it mistyped?", "notary", host)
		}
	}
}

// tellTags warns of globs of tags that have matched none.
func (u *unmatched) tellTags(log *slog.Logger) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.read {
		return // nothing was read
	}
	const why = "no tag that was read matches it: is it mistyped?"
	for _, g := range u.include {
		u.told.warn(log, why, "include_tags", g.String())
	}
	for _, g := range u.exclude {
		u.told.warn(log, why, "exclude_tags", g.String())
	}
}
