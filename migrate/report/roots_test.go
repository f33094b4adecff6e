package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
)

// On a terminal, three hundred repositories of one publisher take a few lines. One with another key
// or state is listed separately.
func TestRootsOnATerminal(t *testing.T) {
	t.Parallel()
	var roots []Root
	key := func(id string, pinned bool) []dct.RootKey {
		return []dct.RootKey{{ID: "certificate", PublicID: strings.Repeat(id, 64), Pinned: pinned}}
	}
	for i := range 300 {
		keys := key("a", i%3 == 0)
		roots = append(roots, Root{Repository: fmt.Sprintf("registry.example.com/team/service-%03d", i), Keys: keys, State: RootState(keys, i%3 == 0)})
	}
	roots = append(roots, Root{Repository: "registry.example.com/other", Keys: key("b", false), State: RootState(key("b", false), true)})
	want := "differs from pin  key " + strings.Repeat("b", 32) + "…  registry.example.com/other\n" +
		"not pinned        key " + strings.Repeat("a", 32) + "…  200 repositories\n" +
		"    registry.example.com/team/service-001\n    registry.example.com/team/service-002\n    registry.example.com/team/service-004\n    and 197 more: -v\n" +
		"pinned            100 repositories\n" +
		"    registry.example.com/team/service-000\n    registry.example.com/team/service-003\n    registry.example.com/team/service-006\n    and 97 more: -v\n" +
		"total: 301 repositories, 1 differs from pin, 200 not pinned, 100 pinned\n" +
		"What differs from its pin may have been initialised anew, or somebody else answers: ask the owner\n  before you change the pin.\n"
	var b bytes.Buffer
	if err := (Screen{Width: 100}).Roots(&b, roots); err != nil || b.String() != want {
		t.Errorf("got error %v and\n%s\nwant\n%s", err, b.String(), want)
	}
}

// On a terminal, digests are shortened except in commands.
func TestShortDigests(t *testing.T) {
	t.Parallel()
	long := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	text, want := "a@"+long+": dct2notation undo --yes r.example.com/a@"+long, "a@0123456789ab: dct2notation undo --yes r.example.com/a@"+long
	if got := (Screen{Width: 80}).short(text); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
