package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// recorded selects repositories of a ledger by their name in DCT or by the location of their images.
type recorded struct {
	names   []string
	wanted  []image // empty: all
	exclude glob.List
	named   bool     // on the command line: then each must exist
	Absent  []string // names of the configuration that are not in the ledger; Hosts finds them
}

// image is what one name selects: all images of repositories, or one of them.
type image struct {
	glob.Glob
	digest string // empty: all
}

func (i image) meant(it state.Item) bool {
	return (i.digest == "" || i.digest == it.Digest) && (i.Match(it.Repository) || i.Match(it.GUN))
}

// SelectRecorded reads which repositories of a ledger are selected. It opens nothing.
func SelectRecorded(args []string, cfg Config) (*recorded, error) {
	sel := &recorded{names: args, named: len(args) > 0}
	if !sel.named {
		sel.names = cfg.Repositories
	}
	repositories := make([]string, len(sel.names))
	digests := make([]string, len(sel.names))
	for i, name := range sel.names {
		repositories[i] = name
		// In the configuration, names are always repositories, for all verbs.
		if before, after, ok := strings.Cut(name, "@"); ok && sel.named {
			if err := digest.Digest(after).Validate(); err != nil {
				return nil, fmt.Errorf("%s: @ must be followed by a digest such as sha256:<64 hex digits>", safetext.Safe(name, 256))
			}
			repositories[i], digests[i] = before, after
		}
	}
	wanted, err := globsOf(repositories)
	if err != nil {
		return nil, fmt.Errorf("%w\nhint: one image alone is named by its digest, as REPOSITORY@DIGEST", err)
	}
	for i, g := range wanted {
		sel.wanted = append(sel.wanted, image{g, digests[i]})
	}
	sel.exclude, err = globsOf(cfg.Exclude)
	return sel, err
}

// globsOf reads names, as docker or DCT writes them, and globs.
func globsOf(names []string) (glob.List, error) {
	names, err := normalised(names)
	if err != nil {
		return nil, err
	}
	return glob.ParseAll(names)
}

func (s *recorded) Meant(it state.Item) bool {
	wanted := len(s.wanted) == 0 || slices.ContainsFunc(s.wanted, func(i image) bool { return i.meant(it) })
	return wanted && !s.exclude.Match(it.Repository) && !s.exclude.Match(it.GUN)
}

// Hosts returns the registries of what is selected. A name that is not in the ledger is an error: otherwise having
// nothing to delete for it would look like success.
func (s *recorded) Hosts(l *state.Ledger) ([]string, error) {
	hosts := map[string]bool{}
	found := make([]bool, len(s.wanted))
	for after := (state.Key{}); ; {
		page, err := l.Items(after, 0)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Key
		for _, it := range page {
			if !s.Meant(it) {
				continue
			}
			hosts[migrate.HostOf(it.Repository)] = true
			for i, one := range s.wanted {
				found[i] = found[i] || one.meant(it)
			}
		}
	}
	s.Absent = nil
	for i, ok := range found {
		if !ok && !s.exclude.Match(s.names[i]) {
			s.Absent = append(s.Absent, s.names[i])
		}
	}
	if i := slices.Index(found, false); i >= 0 && s.named {
		return nil, cli.Usage(fmt.Errorf("the ledger has no image in %s\nhint: is it another run's --state?", safetext.Safe(s.names[i], 256)))
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}
