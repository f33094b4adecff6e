package session

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// A mirror says that the images of some GUNs are now in other repositories: of one GUN, or of all GUNs below a
// prefix.
type mirror struct {
	from, to string
	below    bool
}

// mirrors are tried in order; the first match counts.
type mirrors []mirror

// parseMirrors reads rules such as "docker.io/acme/* -> registry.acme.com/mirror/*".
func parseMirrors(rules []string) (mirrors, error) {
	var all mirrors
	for _, rule := range rules {
		wrong := func(why string) (mirrors, error) {
			return nil, fmt.Errorf("map %s: %s", safetext.Safe(rule, 300), why)
		}
		from, to, ok := strings.Cut(rule, "->")
		from, to = strings.TrimSpace(from), strings.TrimSpace(to)
		if !ok || from == "" || to == "" {
			return wrong("must be FROM -> TO")
		}
		m := mirror{from: from, to: to}
		m.from, m.below = strings.CutSuffix(from, "/*")
		if prefix, below := strings.CutSuffix(to, "/*"); below != m.below {
			return wrong("either both sides or neither must end in /*")
		} else {
			m.to = prefix
		}
		if glob.In(m.from) || glob.In(m.to) {
			return wrong("a * may only be the last part")
		}
		if !strings.Contains(m.to, "/") && !m.below {
			return wrong("must begin with the registry's host")
		}
		all = append(all, m)
	}
	return all, nil
}

// location returns where the images of a GUN are now.
func (m mirrors) location(gun dct.GUN) string {
	name := gun.String()
	for _, one := range m {
		if to, ok := one.move(name); ok {
			return to
		}
	}
	return name
}

// move returns where the images of a name are by this rule, and reports whether the rule applies to that name.
func (m mirror) move(name string) (to string, ok bool) {
	if rest, ok := strings.CutPrefix(name, m.from+"/"); ok && m.below {
		return m.to + "/" + rest, true
	}
	return m.to, name == m.from && !m.below
}

// canonicalLocation normalises a repository's name so that two names of one place are equal: it ignores the host's
// case and the protocol's default port. It is for comparison alone: credentials and trust policies are found by the
// name as it was given.
func canonicalLocation(name string, plainHTTP bool) string {
	host, path, _ := strings.Cut(name, "/")
	host = strings.ToLower(host)
	if plainHTTP {
		host = strings.TrimSuffix(host, ":80")
	} else {
		host = strings.TrimSuffix(host, ":443")
	}
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		host = "docker.io"
	}
	return host + "/" + path
}

// oneForEachPlace reads trust data of only one repository for each place. Otherwise, what is signed there would
// belong to several repositories, and be signed more than once. The others are errors. Names in Notary are
// case-sensitive, so they may belong to two owners.
type oneForEachPlace struct {
	migrate.Trust
	taken map[dct.GUN]dct.GUN // by GUN: the other repository with the same place, which is read
}

// newOnePerLocation chooses, among the repositories in one place, the one with the canonical name, else the first in
// their order.
func newOnePerLocation(t migrate.Trust, guns []dct.GUN, canonical func(dct.GUN) string) oneForEachPlace {
	owner := map[string]dct.GUN{}
	sorted := slices.SortedFunc(slices.Values(guns), dct.GUN.Compare)
	for _, gun := range sorted {
		at := canonical(gun)
		if _, taken := owner[at]; !taken || gun.String() == at {
			owner[at] = gun
		}
	}
	o := oneForEachPlace{t, map[dct.GUN]dct.GUN{}}
	for _, gun := range guns {
		if first := owner[canonical(gun)]; first != gun {
			o.taken[gun] = first
		}
	}
	return o
}

// Read is [migrate.Trust]'s.
func (o oneForEachPlace) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	if first, taken := o.taken[gun]; taken {
		return nil, fmt.Errorf("reading trust data of %s: its images are in the same repository as those of %s, written differently\nhint: exclude one of them; or migrate them one after the other, with a ledger each", gun, first)
	}
	return o.Trust.Read(ctx, gun, known)
}
