package command

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/state"
)

// recorded chooses among the repositories of a ledger: by the name that they have in DCT, or
// by where their images are.
type recorded struct {
	names   []string
	wanted  globs // none: all
	exclude globs
	named   bool // on the command line: then each has to be there
}

func selectRecorded(args []string, cfg config) (*recorded, error) {
	sel := &recorded{names: args, named: len(args) > 0}
	if !sel.named {
		sel.names = cfg.Repositories
	}
	for _, one := range []struct {
		names []string
		globs *globs
	}{{sel.names, &sel.wanted}, {cfg.Exclude, &sel.exclude}} {
		names, err := normalised(one.names)
		if err != nil {
			return nil, err
		}
		if *one.globs, err = parseGlobs(names); err != nil {
			return nil, err
		}
	}
	return sel, nil
}

func (s *recorded) meant(it state.Item) bool {
	either := func(g globs) bool { return g.match(it.Repository) || g.match(it.GUN) }
	return (len(s.wanted) == 0 || either(s.wanted)) && !either(s.exclude)
}

// hosts are the registries of what is meant. A name that is not in the ledger is an error: that
// there was nothing to delete for it would pass for done.
func (s *recorded) hosts(l *state.Ledger) ([]string, error) {
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
			if !s.meant(it) {
				continue
			}
			hosts[host(it.Repository)] = true
			for i, g := range s.wanted {
				found[i] = found[i] || g.pattern.MatchString(it.Repository) || g.pattern.MatchString(it.GUN)
			}
		}
	}
	if i := slices.Index(found, false); i >= 0 && s.named {
		return nil, usage(fmt.Errorf("the ledger has no image of %s\nhint: is it another run's --state?", safetext.Safe(s.names[i], 256)))
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}
