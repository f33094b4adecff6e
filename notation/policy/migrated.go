package policy

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Migrated is the input for a policy: which keys signed the images of which repositories. It is filled from trust
// data with [Migrated.AddVouched], or from a ledger with [Migrated.ReadLedger].
type Migrated struct {
	Notes    []string  // to be included in each output
	Problems []Problem // why the policy is incomplete or unreliable
	Legacy   []Legacy

	log    *slog.Logger
	signed map[string][]string // key names by the place of the images
	guns   map[string]bool     // names in DCT

	recorded func(key string) []Recorded // the ledger's records of keys; nil without a ledger

	images map[string]map[string]int  // good signatures by place and key; nil without a ledger
	odd    map[string]string          // by signature: its certificate, if that is not the ledger's last
	leaves map[string]map[string]int  // by key: good signatures made with each of those
	signer map[string]map[string]bool // by key: all certificates that ever signed
}

// NewMigrated returns an empty Migrated. It logs problems and warnings as it finds them.
func NewMigrated(log *slog.Logger) *Migrated {
	return &Migrated{log: log, signed: map[string][]string{}, guns: map[string]bool{}}
}

// A Problem makes the output incomplete. Its attributes, in slog's form, say what it is about.
type Problem struct {
	What  string
	Attrs []any
}

func (p Problem) String() string {
	text := p.What
	for i := 0; i+1 < len(p.Attrs); i += 2 {
		mark := ", "
		if i == 0 {
			mark = ": "
		}
		text += fmt.Sprintf("%s%v %v", mark, p.Attrs[i], p.Attrs[i+1])
	}
	return text
}

// Problem logs something that makes the output incomplete, and keeps it for the result.
func (m *Migrated) Problem(what string, attrs ...any) {
	m.log.Error(what, attrs...)
	m.Problems = append(m.Problems, Problem{what, attrs})
}

func (m *Migrated) add(place, gun, key string) {
	m.guns[gun] = true
	if !slices.Contains(m.signed[place], key) {
		m.signed[place] = append(m.signed[place], key)
	}
}

// Repositories returns the number of repositories with signed images.
func (m *Migrated) Repositories() int { return len(m.signed) }

// Statements returns which keys' signatures are good where.
func (m *Migrated) Statements(name string, certificates map[string][]Key) []Statement {
	return Group(name, m.signed, certificates)
}

// keys returns the names of the keys that signed.
func (m *Migrated) keys() []string {
	names := map[string]bool{}
	for _, keys := range m.signed {
		for _, k := range keys {
			names[k] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Vouched is what a repository's trust data says about its tags.
type Vouched struct {
	GUN       string
	Place     string   // of the images; differs from the GUN if they were moved
	Keys      []string // names of keys that stand for tags
	Tags      int      // that DCT vouches for
	Wanted    int      // of those, selected by --include-tags and --exclude-tags
	Uncovered int      // of those, without a key
	Legacy    *Legacy  // what DCT continues to say; nil if no consumer could use it
}

// AddVouched adds the verified trust data of a repository.
func (m *Migrated) AddVouched(v Vouched) {
	for _, key := range v.Keys {
		m.add(v.Place, v.GUN, key)
	}
	if v.Uncovered > 0 {
		m.Problem("no key stands for some of its tags: their images would be refused", "repository", v.GUN, "tags", v.Uncovered)
	}
	if v.Tags == 0 {
		m.Problem("left out: DCT vouches for no tag of it", "repository", v.GUN)
		return
	}
	if v.Wanted == 0 {
		m.Problem("left out: it has no tag that matches --include-tags and --exclude-tags", "repository", v.GUN)
		return
	}
	if v.Place == v.GUN && v.Legacy != nil { // DCT says nothing about a new place
		m.Legacy = append(m.Legacy, *v.Legacy)
	}
}

// NotePins adds a note about DCT's pins (names or patterns) and authorities (by prefix): Notation has nothing like
// them.
func (m *Migrated) NotePins(pins, authorities []string) {
	for _, pin := range slices.Sorted(slices.Values(pins)) {
		prefix, wild := strings.CutSuffix(pin, "*")
		if !wild {
			continue
		}
		n := 0
		for gun := range m.guns {
			if strings.HasPrefix(gun, prefix) {
				n++
			}
		}
		m.Notes = append(m.Notes, fmt.Sprintf("The pin %s of DCT stands here for %s, by name: Notation knows no patterns. For a new repository, write this policy anew.", safetext.Safe(pin, 256), safetext.Count(n, "repository")))
	}
	for _, prefix := range slices.Sorted(slices.Values(authorities)) {
		m.Notes = append(m.Notes, fmt.Sprintf("The authority that DCT pinned for %s issued certificates of root keys. It is trusted for no signature here.", safetext.Safe(prefix, 256)))
	}
}
