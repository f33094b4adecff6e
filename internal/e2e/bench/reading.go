//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// reading is one call of dct2notation snapshot: the verb that reads and verifies trust
// data without a registry and without a key. It also writes what it read.
type reading struct {
	published Published
	guns      []string // of them
	inFlight  int      // requests at a time; 0: as the program has it
	want      string   // the outcome that all of them must have
}

// snapshotFolder is where a home's snapshot is.
const snapshotFolder = "snapshot"

// read runs dct2notation to its end. In one home the second call finds what the first has
// left, in the snapshot and in the user's cache, which is below HOME; another home has none
// of it.
func (h *home) read(ctx context.Context, notary string, r reading) (usage, error) {
	err := h.writeJSON("pins.json", map[string]any{
		"trust_pinning": map[string]any{"certs": r.published.Pins, "disable_tofu": true},
	})
	if err != nil {
		return usage{}, err
	}
	args := []string{
		"snapshot", "-O", snapshotFolder, "-o", "json", "--notary-server", notary,
		"--trust-pinning", "pins.json", "--docker-trust", "none", "--ca-file", "ca.pem",
	}
	if r.inFlight > 0 {
		args = append(args, "--notary-concurrency", fmt.Sprint(r.inFlight))
	}
	c := exec.Command(h.program("dct2notation"), append(args, r.guns...)...)
	c.Env, c.Dir = h.env(), h.dir
	var out bytes.Buffer
	c.Stdout = &out
	u, err := metered(ctx, c)
	if err != nil {
		return u, fmt.Errorf("reading trust data: %w", err)
	}
	return u, readAll(out.Bytes(), r.want, len(r.guns))
}

// readAll returns an error unless the outcome of all repositories is the wanted one.
func readAll(said []byte, want string, repositories int) error {
	var outcomes map[string]any
	if err := json.Unmarshal(said, &outcomes); err != nil {
		return fmt.Errorf("reading trust data: %w", err)
	}
	if n, ok := outcomes[want].(float64); !ok || int(n) != repositories {
		return fmt.Errorf("reading trust data: %d repositories should be %s, and it says %s", repositories, want, said)
	}
	return nil
}

// list runs notary list for one repository after the other, as a user's script would, and
// adds up what they took. What they leave in a home's trust folder the next call finds.
// There must be a line for each tag, or nothing was read.
func (h *home) list(ctx context.Context, notary string, guns []string, tags int) (usage, error) {
	var total usage
	for _, gun := range guns {
		c := exec.Command(h.program("notary"), "-s", notary, "-d", "trust", "--tlscacert", "ca.pem", "list", gun)
		c.Env, c.Dir = h.env(), h.dir
		var out bytes.Buffer
		c.Stdout = &out
		u, err := metered(ctx, c)
		if err != nil {
			return total, err
		}
		if n := listed(out.String()); n != tags {
			return total, fmt.Errorf("notary list %s: %d tags, want %d, in:\n%s", gun, n, tags, tail(out.String()))
		}
		total.busy = (total.busy*total.wall.Seconds() + u.busy*u.wall.Seconds()) / (total.wall + u.wall).Seconds()
		total.wall += u.wall
		total.own += u.own
		total.tree += u.tree
		total.peak = max(total.peak, u.peak)
	}
	return total, nil
}

// listed counts the lines of notary list that are a tag: name, digest, size, role.
func listed(said string) int {
	n := 0
	for line := range strings.Lines(said) {
		if fields := strings.Fields(line); len(fields) == 4 && len(fields[1]) == 64 {
			n++
		}
	}
	return n
}

// size is what a folder takes: the bytes in its files, and those of the disk.
type size struct {
	files       int
	bytes, disk int64
}

func sizeOf(folder string) (size, error) {
	var s size
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			s.disk += stat.Blocks * 512
		}
		if info.Mode().IsRegular() {
			s.files++
			s.bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("measuring a folder: %w", err)
	}
	return s, nil
}

// typical is the reading whose time is in the middle, with the largest memory of all: one
// call of a fraction of a second is easily disturbed, and memory has to suffice each time.
func typical(all []measured) measured {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.wall, b.wall) })
	m := all[len(all)/2]
	for _, other := range all {
		m.peak = max(m.peak, other.peak)
	}
	return m
}
