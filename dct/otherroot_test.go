package dct

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// anew is a repository whose owner has rotated its root once, and then initialised it anew.
type anew struct {
	*testing.T
	s                *notarytest.Server
	first, old, next string // key ids of the first root, of the known one, and of the new one
	oldest, before   map[string][]byte
	known            Known
	repo             *notarytest.Repository
}

func newAnew(t *testing.T) *anew {
	t.Helper()
	a := &anew{T: t, s: notary(t)}
	r := one(t, a.s, app)
	a.first, a.oldest = r.RootKeyIDs()[0], a.files()
	first, err := read(t, pinned(a.s, r), app, Known{})
	must(t, err)
	must(t, r.RotateRoot())
	must(t, r.Sign("v2", sha("2"), 9))
	must(t, r.Publish())
	a.old, a.before = r.RootKeyIDs()[0], a.files()
	last, err := read(t, pinned(a.s, r), app, first.Known())
	must(t, err)
	a.known = last.Known()
	a.known.By = "the ledger"
	a.s.Delete(app)
	a.repo = one(t, a.s, app)
	a.next = a.repo.RootKeyIDs()[0]
	return a
}

// files returns the files that the server has.
func (a *anew) files() map[string][]byte {
	files := map[string][]byte{}
	for _, role := range a.s.Roles(app) {
		files[role] = a.s.Raw(app, role)
	}
	return files
}

// serve makes the server serve these files and no others.
func (a *anew) serve(files map[string][]byte) {
	a.s.Delete(app)
	for role, raw := range files {
		a.s.Put(app, role, 9, raw)
	}
}

func (a *anew) back() { a.serve(a.before) }

// rotate rotates the new root the given number of times.
func (a *anew) rotate(times int) {
	for range times {
		must(a.T, a.repo.RotateRoot())
	}
	a.next = a.repo.RootKeyIDs()[0]
}

func (a *anew) public() string { return publicIDs(a.T, a.s.Raw(app, "root"))[0] }

func publicIDs(t *testing.T, raw []byte) (ids []string) {
	t.Helper()
	root, err := decodeRoot(raw)
	must(t, err)
	for _, key := range rootKeys(root) {
		ids = append(ids, idsOf(key)[1])
	}
	return ids
}

func byName(ids ...string) Pins { return Pins{Certs: map[string][]string{app: ids}} }

func byPrefix(id string) Pins {
	return Pins{Certs: map[string][]string{"registry.example.com/team/*": {id}}}
}

func byPublicKey(id string) Pins { return Pins{RootKeys: map[string][]string{app: {id}}} }

func (a *anew) read(pins Pins, accept string) (*Repository, error) {
	a.Helper()
	return a.readFrom(server(a.s), pins, accept)
}

func (a *anew) readFrom(source Source, pins Pins, accept string) (*Repository, error) {
	a.Helper()
	reader := &Reader{Source: source, Pins: pins}
	if accept != "" {
		reader.AcceptRoot = map[GUN]string{gun(a.T, app): accept}
	}
	return read(a.T, reader, app, a.known)
}

// A root other than the known one is refused, whatever the pins say, and the error names both
// roots.
func TestAnotherRootIsRefusedByName(t *testing.T) {
	t.Parallel()
	const asOwner, asPinned = "--accept-root REPOSITORY=KEYID", "--accept-root " + app + "="
	for name, c := range map[string]struct {
		change func(a *anew)
		pins   func(a *anew) Pins
		want   string // after "the ledger knows root OLD, "
		hint   string
	}{
		"pinned anew":           {nil, func(a *anew) Pins { return byName(a.next) }, "your pin says NEXT, and the source has root NEXT", asPinned + "NEXT"},
		"the pin is a slip":     {(*anew).back, func(*anew) Pins { return byName(sha("5")) }, "your pin says " + sha("5") + ", and the source has root OLD", "is the pin mistyped"},
		"the old pin":           {nil, func(a *anew) Pins { return byName(a.old) }, "your pin says OLD, and the source has root NEXT", asOwner},
		"beside the old pin":    {nil, func(a *anew) Pins { return byName(a.old, a.next) }, "your pin says OLD, NEXT, and the source has root NEXT", asPinned + "NEXT"},
		"no pin":                {nil, func(*anew) Pins { return Pins{} }, "and the source has root NEXT", asOwner},
		"trust on first use":    {nil, func(*anew) Pins { return Pins{TOFU: true} }, "and the source has root NEXT", asOwner},
		"by a prefix":           {nil, func(a *anew) Pins { return byPrefix(a.next) }, "your pin for registry.example.com/team/* says NEXT, and the source has root NEXT", asOwner},
		"by the public key":     {nil, func(a *anew) Pins { return byPublicKey(a.public()) }, "your pin says PUBLIC, and the source has root NEXT", asPinned + "PUBLIC"},
		"as many roots as ever": {func(a *anew) { a.rotate(1) }, func(a *anew) Pins { return byName(a.next) }, "your pin says NEXT, and the source has root NEXT", asPinned + "NEXT"},
		"more roots than ever":  {func(a *anew) { a.rotate(2) }, func(a *anew) Pins { return byName(a.next) }, "your pin says NEXT, and the source has root NEXT", asPinned + "NEXT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnew(t)
			if c.change != nil {
				c.change(a)
			}
			ids := strings.NewReplacer("NEXT", a.next, "OLD", a.old, "PUBLIC", a.public())
			_, err := a.read(c.pins(a), "")
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), ids.Replace("the ledger knows root OLD, "+c.want)) || !strings.Contains(err.Error(), ids.Replace(c.hint)) {
				t.Errorf("got %v, want %v with %q and %q", err, ErrRefused, c.want, c.hint)
			}
		})
	}
}

// A root that the known one has signed is not another root: the pin may already name the new one.
func TestRotatedRootIsNoOtherRoot(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	stale := pinned(s, r)
	must(t, r.RotateRoot())
	if got, err := read(t, pinned(s, r), app, first.Known()); err != nil || got.Replaced() != nil {
		t.Errorf("the new pin: got %v, want no error and no replaced root", err)
	}
	if _, err := read(t, stale, app, first.Known()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "certificate is not the pinned one") {
		t.Errorf("the old pin: got %v, want %v that says that the certificate is not the pinned one", err, ErrRefused)
	}
}

// AcceptRoot accepts the pinned root of a repository that was initialised anew, counts its
// versions anew, and forgets neither root.
func TestAcceptRoot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rotations int
		pins      func(a *anew) Pins
		accept    func(a *anew) string
	}{
		"by its certificate":    {0, func(a *anew) Pins { return byName(a.next) }, func(a *anew) string { return a.next }},
		"beside the old pin":    {0, func(a *anew) Pins { return byName(a.old, a.next) }, func(a *anew) string { return a.next }},
		"by its public key":     {0, func(a *anew) Pins { return byPublicKey(a.public()) }, (*anew).public},
		"as many roots as ever": {1, func(a *anew) Pins { return byName(a.next) }, func(a *anew) string { return a.next }},
		"more roots than ever":  {2, func(a *anew) Pins { return byName(a.next) }, func(a *anew) string { return a.next }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnew(t)
			a.rotate(c.rotations)
			pins, accept := c.pins(a), c.accept(a)
			got, err := a.read(pins, accept)
			must(t, err)
			was := got.Replaced()
			if was == nil || was.Version != 2 || fmt.Sprint(was.KeyIDs) != "["+a.old+"]" || was.SHA256 != sumOf(a.known.Root) || got.PinnedBy() != PinnedConfig {
				t.Errorf("got replaced %+v, pinned by %s, want version 2 of %s, by %s", was, got.PinnedBy(), a.old, PinnedConfig)
			}
			if show(got) != "v1 1 targets" || got.Known().Floors["targets"].Version != got.Version("targets") {
				t.Errorf("got\n%s, want v1 1 targets, and the version of targets known", show(got))
			}
			for _, id := range append(publicIDs(t, a.known.Root), a.first, a.old, a.next) {
				if !slices.Contains(got.Known().RootKeys, id) {
					t.Errorf("got known keys %q, want %s among them", got.Known().RootKeys, id)
				}
			}
			// It is not accepted again, and there is no way back.
			a.known = got.Known()
			if again, err := a.read(pins, accept); err != nil || again.Replaced() != nil {
				t.Errorf("once more: got %v, want no error and no replaced root", err)
			}
			a.back()
			if _, err := a.read(byName(a.old), a.old); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "was trusted before") {
				t.Errorf("back again: got %v, want %v that says that it was trusted before", err, ErrRefused)
			}
		})
	}
}

// AcceptRoot refuses whatever does not match: a mistyped key, or what an attacker, a proxy or a
// restored server would give.
func TestAcceptRootRefuses(t *testing.T) {
	t.Parallel()
	answer := func(status int) func(a *anew) {
		return func(a *anew) {
			a.s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
		}
	}
	const unpinned = "is not pinned under the repository's own name"
	for name, c := range map[string]struct {
		change func(a *anew)
		pins   func(a *anew) Pins   // default: the new root's key
		accept func(a *anew) string // default: the new root's key
		kind   error
		want   string
	}{
		"another key":              {nil, nil, func(*anew) string { return sha("5") }, ErrRefused, unpinned},
		"the old key":              {nil, nil, func(a *anew) string { return a.old }, ErrRefused, unpinned},
		"no pin":                   {nil, func(*anew) Pins { return Pins{} }, nil, ErrRefused, unpinned},
		"trust on first use":       {nil, func(*anew) Pins { return Pins{TOFU: true} }, nil, ErrRefused, unpinned},
		"a pin by prefix":          {nil, func(a *anew) Pins { return byPrefix(a.next) }, nil, ErrRefused, unpinned},
		"a pin on its public key":  {nil, func(a *anew) Pins { return byPublicKey(a.public()) }, nil, ErrRefused, unpinned},
		"its id as a public key's": {nil, func(a *anew) Pins { return byPublicKey(a.next) }, nil, ErrRefused, "under certs, not under root-keys"},
		"pinned, and not there":    {nil, func(*anew) Pins { return byName(sha("5")) }, func(*anew) string { return sha("5") }, ErrRefused, "does not have the key"},

		"the old root comes back":   {(*anew).back, nil, nil, ErrRefused, "was trusted before"},
		"the first root comes back": {func(a *anew) { a.serve(a.oldest) }, func(a *anew) Pins { return byName(a.first) }, func(a *anew) string { return a.first }, ErrRefused, "was trusted before"},
		"the first root, of a ledger that kept the last alone": {func(a *anew) { a.serve(a.oldest); a.known.RootKeys = nil },
			func(a *anew) Pins { return byName(a.first) }, func(a *anew) string { return a.first }, ErrRefused, "was trusted before"},
		"badly signed":          {func(a *anew) { must(a.T, a.repo.BadSignature("root")) }, nil, nil, ErrRefused, "failed to validate integrity"},
		"new root, other roles": {func(a *anew) { a.s.Put(app, "timestamp", 9, a.before["timestamp"]) }, nil, nil, ErrRefused, "timestamp"},
		"an expired root":       {func(a *anew) { must(a.T, a.repo.Expire("root")) }, nil, nil, ErrExpired, "role root"},
		"an expired timestamp":  {func(a *anew) { must(a.T, a.repo.Expire("timestamp")) }, nil, nil, ErrExpired, "role timestamp"},
		"no answer":             {answer(http.StatusBadGateway), nil, nil, ErrUnavailable, "502"},
		"a proxy's 404":         {answer(http.StatusNotFound), nil, nil, ErrNotNotary, "404"},
		"no trust data":         {func(a *anew) { a.s.Delete(app) }, nil, nil, ErrIncomplete, "it had trust data before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnew(t)
			if c.change != nil {
				c.change(a)
			}
			pins, accept := byName(a.next), a.next
			if c.pins != nil {
				pins = c.pins(a)
			}
			if c.accept != nil {
				accept = c.accept(a)
			}
			if _, err := a.read(pins, accept); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v with %s", err, c.kind, c.want)
			}
		})
	}
}

// Roots that no client would make, but an attacker would.
func TestAcceptRootRefusesForgedRoots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(m *mint) (pins []string) // the first is accepted
		want string                        // empty: accepted
	}{
		"the control": {func(m *mint) []string {
			m.assign("root", 1, m.cert())
			return []string{m.keys["root"][0].id}
		}, ""},
		"a known key under a new certificate": {func(m *mint) []string {
			m.assign("root", 1, m.certFor(m.gun, m.keys["root"][0].private))
			return []string{m.keys["root"][0].id}
		}, "was trusted before"},
		"a known key beside the new one": {func(m *mint) []string {
			next := m.cert()
			m.assign("root", 1, next, m.certFor(m.gun, m.keys["root"][0].private))
			m.keys["root"] = []mintKey{next}
			return []string{next.id}
		}, "was trusted before"},
		"signed by another of its keys": {func(m *mint) []string {
			next, other := m.cert(), m.cert()
			m.assign("root", 1, next, other)
			m.keys["root"] = []mintKey{other}
			return []string{next.id}
		}, "failed to validate integrity"},
		"signed by another that is pinned, too": {func(m *mint) []string {
			next, other := m.cert(), m.cert()
			m.assign("root", 1, next, other)
			m.keys["root"] = []mintKey{other}
			return []string{next.id, other.id}
		}, "failed to validate integrity"},
		"signed by none of its keys": {func(m *mint) []string {
			next := m.cert()
			m.assign("root", 1, next)
			m.keys["root"] = []mintKey{m.cert()}
			return []string{next.id}
		}, "failed to validate integrity"},
		"for another repository": {func(m *mint) []string {
			m.assign("root", 1, m.certFor(m.gun+"2", m.key().private))
			return []string{m.keys["root"][0].id}
		}, "certificate is for"},
	} {
		m := newMint(t)
		m.publish("root", "targets") // above the version that is to come
		a := &anew{T: t, s: notary(t)}
		known, err := read(t, m.reader(), app, Known{})
		must(t, err)
		a.known = known.Known()
		m.docs["root"]["version"] = 0
		pins := c.edit(m)
		m.publish("root")
		_, err = a.readFrom(m.reader().Source, byName(pins...), pins[0])
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}
