package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A Root is what a repository's root has now, and whether it is pinned.
type Root struct {
	Repository string
	Version    int
	Keys       []dct.RootKey
	State      string
}

// The states of a root.
const (
	DiffersFromPin = "differs from pin"
	NotPinned      = "not pinned"
	IsPinned       = "pinned"
)

// RootState says whether one of the keys is pinned, where the repository is.
func RootState(keys []dct.RootKey, pinned bool) string {
	switch {
	case slices.ContainsFunc(keys, func(k dct.RootKey) bool { return k.Pinned }):
		return IsPinned
	case pinned:
		return DiffersFromPin
	}
	return NotPinned
}

// RootsText lists roots with all that there is of them.
func RootsText(w io.Writer, roots []Root) error {
	var b strings.Builder
	for _, root := range roots {
		fmt.Fprintf(&b, "%s  root version %d  %s\n", root.Repository, root.Version, root.State)
		for _, key := range root.Keys {
			fmt.Fprintf(&b, "    certificate %s\n", key.ID)
			if key.PublicID == "" {
				continue
			}
			fmt.Fprintf(&b, "    key         %s\n    %s, until %s, SHA-256 %s\n", key.PublicID, safetext.Safe(key.Subject, 200), key.Expires.Format(time.DateOnly), key.SHA256)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// RootKeysText lists pins by the ids of keys, and how many repositories each covers.
func RootKeysText(w io.Writer, pins map[string][]string, covered map[string][]string) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s  %s", safetext.Safe(name, 256), strings.Join(pins[name], " "))
		if n := len(covered[name]); n > 0 {
			fmt.Fprintf(&b, "  covers %s", thousandsOf(n, "repository"))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shared are roots with the same keys, of which the same is to be said.
type shared struct {
	state string
	ids   []string
	names []string
}

// wholeID is from how many columns on an id is shown whole. Half of it are 128 bits, which nobody finds a second key for.
const wholeID = 130

var (
	rootStates    = []string{DiffersFromPin, NotPinned, IsPinned} // worst first
	rootStandings = map[string]Standing{DiffersFromPin: Problem, NotPinned: Unclear, IsPinned: Well}
)

// byKeys puts roots with the same state and keys together, worst first. Keys of what is pinned are of no interest.
func byKeys(roots []Root) []*shared {
	groups := map[string]*shared{}
	for _, root := range roots {
		one := shared{state: root.State}
		for _, key := range root.Keys {
			one.ids = append(one.ids, cmp.Or(key.PublicID, key.ID))
		}
		slices.Sort(one.ids)
		key := one.state
		if one.state != IsPinned {
			key += strings.Join(one.ids, " ")
		}
		if groups[key] == nil {
			groups[key] = &one
		}
		groups[key].names = append(groups[key].names, root.Repository)
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b *shared) int {
		return cmp.Or(slices.Index(rootStates, a.state)-slices.Index(rootStates, b.state), len(b.names)-len(a.names), strings.Compare(a.names[0], b.names[0]))
	})
}

// Roots writes roots on a terminal: those that share their keys in one line, what is pinned last and without its keys.
func (s Screen) Roots(w io.Writer, roots []Root) error {
	var b strings.Builder
	for _, g := range byKeys(roots) {
		if g.state != IsPinned || !s.Quiet {
			s.shared(&b, g)
		}
	}
	count := map[string]int{}
	for _, root := range roots {
		count[root.State]++
	}
	fmt.Fprintf(&b, "total: %s", thousandsOf(len(roots), "repository"))
	for _, state := range rootStates {
		if n := count[state]; n > 0 {
			fmt.Fprintf(&b, ", %s %s", thousands(n), state)
		}
	}
	b.WriteString("\n")
	if count[DiffersFromPin] > 0 {
		s.wrap(&b, "", "  ", "What differs from its pin may have been initialised anew, or somebody else answers: ask the owner before you change the pin.")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shared writes one line for roots that share their keys, and some of their names.
func (s Screen) shared(b *strings.Builder, g *shared) {
	n, name := len(g.names), safetext.Safe(g.names[0], 256)
	if n > 1 {
		name = thousandsOf(n, "repository")
	}
	text := fmt.Sprintf("%-16s", g.state)
	if g.state != IsPinned {
		for i, id := range g.ids {
			if s.Width > 0 && s.Width < wholeID && len(id) == 64 {
				id = id[:32] + "…"
			}
			if i == 0 {
				text += "  key"
			}
			text += " " + id
		}
	}
	if s.Width > 0 {
		name = middle(name, max(s.Width-1-visible(text)-2, 24))
	}
	b.WriteString(s.paint(rootStandings[g.state], g.state) + strings.TrimPrefix(text, g.state) + "  " + name + "\n")
	if n == 1 {
		return
	}
	shown := g.names[:min(3, n)]
	for _, one := range shown {
		if one = safetext.Safe(one, 256); s.Width > 0 {
			one = middle(one, s.Width-1-4)
		}
		b.WriteString("    " + one + "\n")
	}
	if n > len(shown) {
		fmt.Fprintf(b, "    and %s more: -v\n", thousands(n-len(shown)))
	}
}
