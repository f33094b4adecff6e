//go:build linux

// Command bench measures what dct2notation is made for, each row beside the loop that it replaces,
// if there is one: signing beside `xargs -P N notation sign`, verifying beside `xargs notation
// verify`, and reading trust data beside `notary list`. It uses keys of several kinds and limits,
// with and without latency, and few items and many. parts.go is the table of measurements and
// goals; world.go has the servers, home.go the programs, usage.go the instruments, and report.go
// prints and judges.
//
// It promises to measure the programs that users run, as child processes from start to end. Every
// signature that is counted was seen in the registry, exactly one for each image. Requests are
// counted where they arrive. Both sides of a ratio come from one call, minutes apart.
//
// It does not promise the same figures twice. The servers are in this process, on 127.0.0.1, and
// share the cores with what is measured, as do the plugin's processes and whatever else runs. So
// the use of the whole machine is printed beside each figure. A missed goal is printed and is not
// an error: exit code 1 means that there are no figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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

// sizes are the amounts to measure, from the command line.
type sizes struct {
	workers                   []int
	items, many, repositories int
}

func start(ctx context.Context, args []string, out io.Writer) error {
	var s sizes
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	bin := flags.String("bin", ".bin", "folder with the programs")
	list := flags.String("workers", "1,4,16,32", "worker counts of the part throughput")
	only := flags.String("only", "", "the one part to measure")
	flags.IntVar(&s.items, "items", 10_000, "items of the part memory")
	flags.IntVar(&s.many, "many", 100_000, "items of the part many, and tags of the part many-verify, which are measured only when they are named")
	flags.IntVar(&s.repositories, "repositories", 1500, "small repositories of the part trust")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, text := range strings.Split(*list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-workers %s: it takes numbers from 1 on, with commas", *list)
		}
		s.workers = append(s.workers, n)
	}
	if flags.NArg() > 0 || s.items < 1 || s.many < 100 || s.repositories < 3 {
		return errors.New("it takes no arguments but flags, -items from 1 on, -many from 100 on and -repositories from 3 on")
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *bin, err = filepath.Abs(*bin); err != nil {
		return fmt.Errorf("finding the programs: %w", err)
	}
	// The plugin is already built; installing it would build it again.
	if err := os.Setenv("KMSTEST_BINARY", filepath.Join(*bin, "notation-kmstest")); err != nil {
		return err
	}
	for _, p := range chosen {
		if err := p.in(ctx, *bin, s, out); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
	}
	return nil
}

// choose returns the parts of that name; without a name, all usual ones.
func choose(only string) (chosen []part, err error) {
	var names []string
	for _, p := range parts {
		if only == p.name || only == "" && !p.rare {
			chosen = append(chosen, p)
		}
		if len(names) == 0 || names[len(names)-1] != p.name {
			names = append(names, p.name)
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("-only %s: it takes one of %s", only, strings.Join(names, ", "))
	}
	return chosen, nil
}

// in measures a part with its own servers and folder.
func (p part) in(ctx context.Context, bin string, s sizes, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "dct2notation-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := newWorld(p.servers)
	if err != nil {
		return err
	}
	defer w.close()
	w.sizes, w.bin, w.dir, w.out = s, bin, dir, out
	w.head(p)
	p.measure(ctx, w)
	return w.err
}
