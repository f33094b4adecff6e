//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

const (
	memoryRepositories = 40
	memoryWorkers      = 16
)

// memory migrates many items with a local key and no latency, so that as much as possible
// is in flight, and then runs the same command again. It prints memory and times.
func memory(ctx context.Context, bin, dir string, items int, out io.Writer) (err error) {
	if items == 0 {
		return nil
	}
	servers, err := startRemote(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "memory"), bin, servers.address, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nMemory: %d items in %d repositories, local key, %d workers, no latency\n", items, memoryRepositories, memoryWorkers)
	p, err := servers.publish("memory", memoryRepositories, items)
	if err != nil {
		return err
	}
	m := migration{name: "memory", workers: memoryWorkers, key: fileKey, published: p, notary: servers.address.Notary}
	for _, want := range []string{"signed", "already"} {
		r, u, err := h.migrate(ctx, m)
		if err != nil {
			return err
		}
		if err := complete(servers, "memory", r, want, items); err != nil {
			return err
		}
		printMemory(out, want, items, u)
	}
	return nil
}

// complete returns an error unless the run had this result for all items, and the
// registry has a signature of each.
func complete(servers *remote, name string, r result, want string, items int) error {
	n, err := servers.signed(name)
	if err != nil {
		return err
	}
	if r.Results[want] != items || n != items {
		return fmt.Errorf("a run on %d items says %v, and the registry has %d signatures", items, r.Results, n)
	}
	return nil
}

var runNames = map[string]string{"signed": "first run", "already": "second run, nothing left to sign"}

func printMemory(out io.Writer, result string, items int, u usage) {
	const mega = 1 << 20
	peak := float64(u.peak) / mega
	fmt.Fprintf(out, "  %s: peak memory %.0f MB (aim: under %d: %s), %.2f s, %.0f ms for a thousand items, CPU of all cores: itself %.0f %%, machine %.0f %%\n",
		runNames[result], peak, aimMemory, verdict(peak < aimMemory), u.wall.Seconds(),
		float64(u.wall)/float64(time.Millisecond)/float64(items)*1000, 100*u.ownShare(), 100*u.busy)
}
