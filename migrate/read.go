package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/state"
)

// reading is one repository's trust data and the work that follows from it.
type reading struct {
	*dct.Repository
	work  []Work
	place string // the repository that the images are in
	// leftOut counts the tags that are not wanted, of digests that no wanted one has.
	leftOut int
	// changed says what the plan that the run is bound to has and the trust data no
	// longer.
	changed []string
}

// repository reads one repository's trust data and makes work of it, in the bounds of the
// plan if there is one. record says whether the ledger takes note of what was seen.
// When stop is closed, what takes long is not begun.
func (e *Engine) repository(ctx context.Context, gun dct.GUN, record bool, stop <-chan struct{}) (*reading, error) {
	before, known, err := e.remembered(gun)
	if err != nil {
		return nil, fatally(err)
	}
	r, err := e.Trust.Read(ctx, gun, known)
	if err != nil {
		return nil, err
	}
	work, err := e.gather(r)
	if err != nil {
		return nil, err
	}
	read := &reading{Repository: r, work: work, place: e.Scope.place(r.GUN()), leftOut: e.Scope.leftOut(r)}
	if err := e.expand(ctx, stop, read); err != nil {
		return nil, err
	}
	if e.Plan != nil {
		if err := e.Plan.bind(read); err != nil {
			return nil, err
		}
	}
	e.narrow(read)
	if record {
		now := remember(r, before, e)
		if reason := replacedRoot(r); reason != "" {
			err = e.Ledger.ReplaceRoot(now, reason)
		} else {
			err = e.Ledger.SetRepository(now)
		}
		if err != nil {
			return nil, fatally(err)
		}
	}
	return read, nil
}

func (r *reading) news() *TrustNews {
	n := &TrustNews{
		GUN: r.GUN().String(), PinnedBy: r.PinnedBy(), RootKeys: r.RootKeyIDs(),
		Replaced: replacedRoot(r.Repository), Items: len(r.work), Findings: r.Findings(), Expiries: r.Expiries(), Changed: r.changed,
	}
	if r.place != n.GUN {
		n.Place = r.place
	}
	n.LeftOut = r.leftOut
	return n
}

// remembered gives what an earlier run saw of the repository.
func (e *Engine) remembered(gun dct.GUN) (state.Repository, dct.Known, error) {
	if e.Ledger == nil {
		return state.Repository{}, dct.Known{}, nil
	}
	before, _, err := e.Ledger.Repository(gun.String())
	return before, KnownOf(before), err
}

// KnownOf is what runs have seen of a repository, as the next read takes it: it then refuses
// what is older, other roots and roles that have vanished. Of an empty record that is
// nothing.
func KnownOf(before state.Repository) dct.Known {
	known := dct.Known{Root: before.Root, Floors: map[string]dct.Floor{}, RootKeys: before.RootKeys, By: "the ledger"}
	for role, f := range before.Roles {
		known.Floors[role] = dct.Floor(f)
	}
	return known
}

func remember(r *dct.Repository, before state.Repository, e *Engine) state.Repository {
	known := r.Known()
	now := state.Repository{
		GUN: r.GUN().String(), Root: known.Root, Roles: map[string]state.Floor{},
		Pin: r.PinnedBy(), RootKeyIDs: r.RootKeyIDs(), RootKeys: known.RootKeys, VerifiedAt: e.now(),
	}
	if before.Pin != "" && now.Pin == dct.PinnedEarlier {
		now.Pin = before.Pin // how it came to be trusted in the first place
	}
	for role, f := range known.Floors {
		now.Roles[role] = state.Floor(f)
	}
	return now
}

// replacedRoot says which root was accepted in this read in place of which; empty: the trusted
// one, or one that follows from it.
func replacedRoot(r *dct.Repository) string {
	was := r.Replaced()
	if was == nil {
		return ""
	}
	return fmt.Sprintf("root of version %d with key ids %s in place of version %d with key ids %s (SHA-256 %s)",
		r.Version("root"), strings.Join(r.RootKeyIDs(), ", "), was.Version, strings.Join(was.KeyIDs, ", "), was.SHA256)
}

// answer is what became of reading one repository.
type answer[T any] struct {
	value T
	err   error
}

// ask reads a repository unless its host is not to be asked any more, and remembers how
// that ended.
func ask[T any](ctx context.Context, h *hosts, gun dct.GUN, read func() (T, error)) answer[T] {
	var a answer[T]
	if a.err = h.closed(gun); a.err != nil {
		return a
	}
	a.value, a.err = read()
	if ctx.Err() == nil {
		h.note(gun, a.err)
	}
	return a
}

// WrongServer returns an error if none of the repositories of a registry has trust data, by what
// reading each of them came to: then rather the address of its Notary server is wrong.
func WrongServer(read map[dct.GUN]error) error {
	h := newHosts()
	for gun, err := range read {
		h.note(gun, err)
	}
	return h.suspects()
}

// hosts remembers which Notary servers are not worth asking again: one that is no Notary
// server, refuses our credentials or does not answer would do so for the other ten
// thousand repositories as well. It is safe for concurrent use.
type hosts struct {
	mu       sync.Mutex
	asked    map[string]int   // repositories
	read     map[string]int   // repositories read
	unsigned map[string]int   // repositories without trust data, by the answer 404 of whomever
	failed   map[string]int   // failures in a row of the kinds above
	why      map[string]error // the last of them
}

func newHosts() *hosts {
	return &hosts{
		asked: map[string]int{}, read: map[string]int{}, unsigned: map[string]int{}, failed: map[string]int{}, why: map[string]error{},
	}
}

// given up on after so many failures with no success.
const hostPatience = 3

// closed returns an error if the host of a repository is not to be asked.
func (h *hosts) closed(gun dct.GUN) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed[gun.Registry()] < hostPatience {
		return nil
	}
	host, hint := gun.Registry(), ""
	if errors.Is(h.why[host], dct.ErrUnavailable) {
		hint = "\nhint: once it answers again, the next run reads these repositories"
	}
	return fmt.Errorf("reading trust data of %s: not asked: the Notary server of %s failed for %d repositories in a row, last: %w%s",
		gun, host, h.failed[host], h.why[host], hint)
}

// note remembers how reading a repository ended.
func (h *hosts) note(gun dct.GUN, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := gun.Registry()
	h.asked[host]++
	var where *dct.Error
	atRoot := errors.As(err, &where) && where.Role == "root"
	switch {
	case errors.Is(err, dct.ErrDeleted):
		h.read[host]++ // a Notary server said so, by its changefeed and by its root
		return
	case errors.Is(err, dct.ErrUnsigned):
		h.unsigned[host]++
		return
	case errors.Is(err, dct.ErrForeign404):
		// Of one repository it says nothing of the others, as a proxy's. Of all of them
		// rather the address is wrong.
		if atRoot {
			h.unsigned[host]++
		}
		return
	// A server that gives a root and then fails, as with a repository whose keys it lost,
	// is there for the others.
	case errors.Is(err, dct.ErrUnavailable) && where != nil && !atRoot:
		return
	}
	switch {
	case err == nil:
		h.read[host]++
		h.failed[host] = 0
	case errors.Is(err, dct.ErrNotNotary), errors.Is(err, dct.ErrDenied) && h.read[host] == 0, errors.Is(err, dct.ErrUnavailable):
		h.failed[host]++
		h.why[host] = err
	}
}

// verdict is the error of a call that read no repository at all, or none of a host; last
// is the last failure.
func (h *hosts) verdict(last error) error {
	read := 0
	for _, n := range h.read {
		read += n
	}
	if err := h.suspects(); err != nil || read > 0 || last == nil {
		return err
	}
	return &Ended{Kind: ErrNothingRead, Cause: last}
}

// suspects returns an error if all repositories of a host were without trust data: then
// rather the address is wrong.
func (h *hosts) suspects() error {
	for _, host := range slices.Sorted(maps.Keys(h.asked)) {
		if n := h.unsigned[host]; n > 0 && n == h.asked[host] {
			return fmt.Errorf("%w: of %s of %s none has any\nhint: wrong Notary URL? check --notary-server, notary in the configuration and DOCKER_CONTENT_TRUST_SERVER; Harbor's is https://<host>:4443; or is the repository's name mistyped?", ErrNothingRead, safetext.Count(n, "repository"), host)
		}
	}
	return nil
}
