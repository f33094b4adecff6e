package session

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// unmatched finds names and globs of the configuration that match no repository or tag: probably typing errors, which
// nothing else reports. It is safe for concurrent use; nil looks for nothing.
type unmatched struct {
	told     Told
	recorded []dct.GUN // all repositories of the ledger, if it is read

	mu               sync.Mutex
	include, exclude glob.List // for tags: those that have matched nothing yet
	read             bool      // there was a tag
}

func newUnmatched(include, exclude glob.List) *unmatched {
	return &unmatched{told: Told{}, include: slices.Clone(include), exclude: slices.Clone(exclude)}
}

// Told records warnings, so that the passes of a watch give each once. It is not safe for concurrent use.
type Told map[string]bool

// warn warns once.
func (t Told) warn(log *slog.Logger, what, key, value string) {
	if name := key + " " + value; !t[name] {
		t[name] = true
		log.Warn(what, key, safetext.Safe(value, 256))
	}
}

// lost warns of each repository that an earlier pass has found and this one has not: nobody looks at it any more. A
// changefeed keeps what was deleted, so it lacks a repository only if its records were lost, or another server answers.
func (t Told) lost(found []dct.GUN, log *slog.Logger) {
	if t == nil { // there is one pass
		return
	}
	const kind = "found "
	now := Told{}
	for _, gun := range found {
		now[kind+gun.String()] = true
	}
	var gone []string
	for key := range t {
		if name, ok := strings.CutPrefix(key, kind); ok && !now[key] {
			gone = append(gone, name)
			delete(t, key)
		}
	}
	maps.Copy(t, now)
	slices.Sort(gone)
	const why = "an earlier pass found the repository; it is no longer found, and no longer looked at"
	for _, name := range gone[:min(len(gone), maxOdd)] {
		log.Warn(why, "repository", safetext.Safe(name, 256), "hint", "is that the same server? Naming the repository keeps it")
	}
	if more := len(gone) - maxOdd; more > 0 {
		log.Warn("more repositories are no longer found", "repositories", more)
	}
}

// note records a tag of trust data.
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

// tell warns of what matches no repository, even among those that are left out.
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

// tellTags warns of tag globs that have matched nothing.
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
