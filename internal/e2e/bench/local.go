//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// aimLocal is how many times the loop, where neither network nor key cost time.
const aimLocal = 1.6

const (
	localLoop = 300  // images for the loop
	localOurs = 4000 // images for dct2notation
)

// local measures both with no latency at all: what is left is what the programs themselves
// cost the machine.
func local(ctx context.Context, bin, dir string, out io.Writer) (err error) {
	servers, err := startRemote(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "local"), bin, servers.address, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nNo latency at all: beside the loop, %d workers, %d repositories\n%s", aimWorkers, repositories, pairHead)
	var rows []row
	for _, k := range []struct {
		name string
		key  []string
	}{{"in files", fileKey}, {"plugin, no delay", pluginKey}} {
		s := stage{servers, h, k.key}
		r := row{workers: aimWorkers}
		if r.loop, err = s.measureLoop(ctx, "loop-"+k.key[0], aimWorkers, localLoop); err != nil {
			return err
		}
		if r.ours, err = s.measureOurs(ctx, "ours-"+k.key[0], aimWorkers, localOurs); err != nil {
			return err
		}
		printPair(out, k.name, r)
		rows = append(rows, r)
	}
	for _, r := range rows {
		fmt.Fprintf(out, "aim: at least %.1f times the loop without latency: %.1f, %s\n", aimLocal, r.ratio(), verdict(r.ratio() >= aimLocal))
	}
	printDisturbed(out, rows)
	return nil
}
