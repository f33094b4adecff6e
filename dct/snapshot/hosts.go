package snapshot

import (
	"errors"
	"fmt"
	"sync"

	"github.com/dct2notation/dct2notation/dct"
)

// hostPatience is after how many failures in a row a Notary server is not asked any more.
const hostPatience = 3

// hosts remembers which Notary servers do not answer: each repository of one that is down
// costs all repetitions of its requests, minutes, and there may be ten thousand. It is safe
// for concurrent use.
type hosts struct {
	mu     sync.Mutex
	failed map[string]failures // by registry host
}

// failures are those in a row of one host.
type failures struct {
	n    int
	last error
}

// closed returns an error if the host of a repository is not to be asked.
func (h *hosts) closed(gun dct.GUN) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := gun.Registry()
	f := h.failed[host]
	if f.n < hostPatience {
		return nil
	}
	return fmt.Errorf("reading trust data of %s: not asked: the Notary server of %s failed for %d repositories in a row, last: %w\nhint: once it answers again, the same command goes on", gun, host, f.n, f.last)
}

// note remembers how reading a repository ended. A server that gives a root and then fails,
// as with a repository whose keys it lost, is there for the others.
func (h *hosts) note(gun dct.GUN, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := gun.Registry()
	var where *dct.Error
	switch {
	case err == nil:
		delete(h.failed, host)
	case errors.Is(err, dct.ErrUnavailable) && errors.As(err, &where) && where.Role == "root":
		h.failed[host] = failures{h.failed[host].n + 1, err}
	}
}
