//go:build linux

// Command bench measures what dct2notation is for: signatures per second of a whole
// `dct2notation run`, beside `xargs -P N notation sign` with the real notation command,
// the same plugin and the same registry, for several worker counts, then without any
// latency, with keys whose service limits them, and with keys on a SoftHSM token and of local-kms; memory
// and the time of a second run; how trust data is read, beside the real notary command;
// how tags are verified, beside xargs and notation verify;
// what a signature asks of the registry, and how fast the ledger is. With -only many, and
// only then, a run of 100,000 items that is killed half way; with -only many-verify the
// memory of verifying as many tags.
//
// What it promises: what is measured are the programs that users run, as child processes
// from their start to their end; every signature that is counted was seen in the registry,
// exactly one for an image; requests are counted where they arrive; both sides of a ratio come from one call, minutes apart. The
// servers are a process of their own (this program again, as `bench serve`), on 127.0.0.1.
//
// What it does not promise: the same figures twice. The servers, the plugin's processes
// and whatever else runs share the cores with what is measured, which is why the use of
// the whole machine stands beside each figure. A missed aim is printed and is no error:
// exit code 1 means that there are no figures.
//
// throughput.go, limits.go, softhsm.go, localkms.go, memory.go, trust.go, verify.go, requests.go and
// ledger.go are the parts, home.go the contestants, servers.go and control.go the other
// process, usage.go the instruments.
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
	only := flags.String("only", "", "the one part to measure")
	many := flags.Int("many", 100_000, "items of the part many, and tags of the part many-verify, which are measured only when they are named")
	repositories := flags.Int("repositories", 1000, "small repositories of the trust part")
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
	parts, err := choose(*only, []part{
		{"throughput", func(ctx context.Context, dir string) error { return throughput(ctx, *bin, dir, workers, out) }},
		{"memory", func(ctx context.Context, dir string) error { return memory(ctx, *bin, dir, *items, out) }},
		{"trust", func(ctx context.Context, dir string) error { return trust(ctx, *bin, dir, *repositories, out) }},
		{"verify", func(ctx context.Context, dir string) error { return verification(ctx, *bin, dir, out) }},
		{"local", func(ctx context.Context, dir string) error { return local(ctx, *bin, dir, out) }},
		{"limits", func(ctx context.Context, dir string) error { return limits(ctx, *bin, dir, out) }},
		{"softhsm", func(ctx context.Context, dir string) error { return softHSM(ctx, *bin, dir, out) }},
		{"localkms", func(ctx context.Context, dir string) error { return localKMS(ctx, *bin, dir, out) }},
		{"requests", func(ctx context.Context, dir string) error { return warmRequests(ctx, *bin, dir, out) }},
		{"ledger", func(ctx context.Context, dir string) error { return ledger(ctx, dir, out) }},
	}, part{"many", func(ctx context.Context, dir string) error { return manyItems(ctx, *bin, dir, *many, out) }},
		part{"many-verify", func(ctx context.Context, dir string) error { return manyTags(ctx, *bin, dir, *many, out) }})
	if err != nil {
		return err
	}
	if *repositories < 1 {
		return fmt.Errorf("-repositories %d: it takes a number from 1 on", *repositories)
	}
	if least := manyRepositories * manyTagsOfImage; *many < least {
		return fmt.Errorf("-many %d: it takes a number from %d on", *many, least)
	}
	return measureAll(ctx, parts)
}

// part is one that can be measured alone, in a folder.
type part struct {
	name    string
	measure func(ctx context.Context, dir string) error
}

// choose picks the part of that name; without one, all usual ones.
func choose(only string, usual []part, long ...part) ([]part, error) {
	if only == "" {
		return usual, nil
	}
	var names []string
	for _, p := range append(usual, long...) {
		if p.name == only {
			return []part{p}, nil
		}
		names = append(names, p.name)
	}
	return nil, fmt.Errorf("-only %s: it takes one of %s", only, strings.Join(names, ", "))
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

// measureAll measures the parts, in a folder that is removed in the end.
func measureAll(ctx context.Context, parts []part) (err error) {
	dir, err := os.MkdirTemp("", "dct2notation-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, p := range parts {
		if err := p.measure(ctx, dir); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
	}
	return nil
}
