//go:build linux

// Command bench measures what dct2notation is for: signatures per second of a whole
// `dct2notation run`, beside `xargs -P N notation sign` with the real notation command,
// the same plugin and the same registry, for several worker counts; then memory and the
// time of a second run at many items.
//
// What it promises: what is measured are the programs that users run, as child processes
// from their start to their end; every signature that is counted was seen in the registry,
// exactly one for an image; both sides of a ratio come from one call, minutes apart. The
// servers are a process of their own (this program again, as `bench serve`), on 127.0.0.1.
//
// What it does not promise: the same figures twice. The servers, the plugin's processes
// and whatever else runs share the cores with what is measured, which is why the use of
// the whole machine stands beside each figure. A missed aim is printed and is no error:
// exit code 1 means that there are no figures.
//
// throughput.go and memory.go are the two parts, loop.go and migration.go the contestants,
// servers.go and control.go the other process, usage.go and calls.go the instruments.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

// start is the program: the servers if that is asked for, else the benchmark.
func start(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == serveCommand {
		return serve(args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	bin := flags.String("bin", ".bin", "folder with dct2notation, notation and notation-kmstest")
	list := flags.String("workers", "1,4,16,32", "worker counts to measure")
	items := flags.Int("items", 10_000, "items of the memory part; 0 leaves it out")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("it takes no arguments but flags")
	}
	workers, err := parseWorkers(*list)
	if err != nil {
		return err
	}
	return measureAll(ctx, *bin, workers, *items, out)
}

// parseWorkers reads "1,4,16".
func parseWorkers(list string) ([]int, error) {
	var workers []int
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-workers %s: it takes numbers from 1 on, with commas", list)
		}
		workers = append(workers, n)
	}
	return workers, nil
}

// measureAll does both parts, in a folder that is removed in the end.
func measureAll(ctx context.Context, bin string, workers []int, items int, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "dct2notation-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := throughput(ctx, bin, dir, workers, out); err != nil {
		return fmt.Errorf("measuring throughput: %w", err)
	}
	if items == 0 {
		return nil
	}
	if err := memory(ctx, bin, dir, items, out); err != nil {
		return fmt.Errorf("measuring memory: %w", err)
	}
	return nil
}
