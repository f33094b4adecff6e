package dct

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// ErrNothingRead is returned when no repository's trust data could be read.
var ErrNothingRead = errors.New("no trust data could be read")

// WrongServer returns an error if no repository of a registry has trust data, given the results of reading them: its
// Notary server's address is then probably wrong.
func WrongServer(read map[GUN]error) error {
	h := NewHosts()
	for gun, err := range read {
		h.note(gun, err)
	}
	return h.Suspects()
}

// Hosts remembers which Notary servers not to ask again. One that is not a Notary server, refuses our credentials or
// does not answer would do the same for the other ten thousand repositories. It is safe for concurrent use.
type Hosts struct {
	// ByRepository treats a refusal as concerning only its repository, and goes on asking for the others of the host.
	// A refused login still closes the host: trying a wrong password ten thousand times locks its user out. Set it
	// before the first call.
	ByRepository bool

	mu       sync.Mutex
	asked    map[string]int   // repositories
	read     map[string]int   // repositories read
	unsigned map[string]int   // repositories without trust data, by a 404 from anyone
	failed   map[string]int   // failures in a row of the kinds above
	why      map[string]error // the last of them
}

// NewHosts returns a Hosts that has asked nobody.
func NewHosts() *Hosts {
	return &Hosts{
		asked: map[string]int{}, read: map[string]int{}, unsigned: map[string]int{}, failed: map[string]int{}, why: map[string]error{},
	}
}

// hostPatience is after how many failures in a row, without any success, a server is given up.
const hostPatience = 3

// Try reads a repository by calling read, unless its host is closed, and remembers the result.
func (h *Hosts) Try(ctx context.Context, gun GUN, read func() error) error {
	if err := h.closed(gun); err != nil {
		return err
	}
	err := read()
	if ctx.Err() == nil {
		h.note(gun, err)
	}
	return err
}

// closed returns an error if the host of a repository must not be asked.
func (h *Hosts) closed(gun GUN) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed[gun.Registry()] < hostPatience {
		return nil
	}
	host, hint := gun.Registry(), ""
	if errors.Is(h.why[host], ErrUnavailable) {
		hint = "\nhint: once it answers again, run the same command again"
	}
	return fmt.Errorf("reading trust data of %s: not asked: the Notary server of %s failed for %d repositories in a row, last: %w%s",
		gun, host, h.failed[host], h.why[host], hint)
}

// note remembers the result of reading a repository.
func (h *Hosts) note(gun GUN, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := gun.Registry()
	h.asked[host]++
	var where *Error
	atRoot := errors.As(err, &where) && where.Role == "root"
	switch {
	case errors.Is(err, ErrDeleted):
		h.read[host]++ // a Notary server said so, by its changefeed and by its root
		return
	case errors.Is(err, ErrUnsigned):
		h.unsigned[host]++
		return
	case errors.Is(err, ErrForeign404):
		// For one repository this says nothing about the others, like a proxy's 404. For all of them the address is
		// probably wrong.
		if atRoot {
			h.unsigned[host]++
		}
		return
	// A server that returns a root and then fails, as for a repository whose keys it lost, still serves the others.
	case errors.Is(err, ErrUnavailable) && where != nil && !atRoot:
		return
	}
	switch {
	case err == nil:
		h.read[host]++
		h.failed[host] = 0
	case errors.Is(err, ErrNotNotary), errors.Is(err, ErrDenied) && h.read[host] == 0 && (!h.ByRepository || errors.As(err, &loginRefused{})), errors.Is(err, ErrUnavailable):
		h.failed[host]++
		h.why[host] = err
	}
}

// AnyRead reports whether any repository was read.
func (h *Hosts) AnyRead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.read {
		if n > 0 {
			return true
		}
	}
	return false
}

// Suspects returns an error if all repositories of a host were without trust data: then its address is probably
// wrong.
func (h *Hosts) Suspects() error {
	for _, host := range slices.Sorted(maps.Keys(h.asked)) {
		if n := h.unsigned[host]; n > 0 && n == h.asked[host] {
			return fmt.Errorf("%w: of %s of %s none has any\nhint: check the Notary URL in --notary-server, notary in the configuration and DOCKER_CONTENT_TRUST_SERVER (Harbor's is https://<host>:4443), and the repository's name", ErrNothingRead, safetext.Count(n, "repository"), host)
		}
	}
	return nil
}
