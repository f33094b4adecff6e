package command

import (
	"fmt"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A move says that the images of some GUNs are in other repositories now: from one name
// to one, or from all below a prefix to the same below another.
type move struct {
	from, to string
	below    bool
}

// moves are asked in order; the first that fits counts.
type moves []move

// parseMoves reads rules such as "docker.io/acme/* -> registry.acme.com/mirror/*".
func parseMoves(rules []string) (moves, error) {
	var all moves
	for _, rule := range rules {
		wrong := func(why string) (moves, error) {
			return nil, fmt.Errorf("map %s: %s", safetext.Safe(rule, 300), why)
		}
		from, to, ok := strings.Cut(rule, "->")
		from, to = strings.TrimSpace(from), strings.TrimSpace(to)
		if !ok || from == "" || to == "" {
			return wrong("it takes FROM -> TO")
		}
		m := move{from: from, to: to}
		m.from, m.below = strings.CutSuffix(from, "/*")
		if prefix, below := strings.CutSuffix(to, "/*"); below != m.below {
			return wrong("both sides end in /*, or none")
		} else {
			m.to = prefix
		}
		if isGlob(m.from) || isGlob(m.to) {
			return wrong("a * may only be the last part")
		}
		if !strings.Contains(m.to, "/") && !m.below {
			return wrong("it has to name the registry's host")
		}
		all = append(all, m)
	}
	return all, nil
}

// place is where the images of a GUN are now.
func (m moves) place(gun dct.GUN) string {
	name := gun.String()
	for _, one := range m {
		if rest, ok := strings.CutPrefix(name, one.from+"/"); ok && one.below {
			return one.to + "/" + rest
		}
		if name == one.from && !one.below {
			return one.to
		}
	}
	return name
}

// host is the registry's host in a repository's name.
func host(name string) string {
	h, _, _ := strings.Cut(name, "/")
	return h
}
