// Ledgerload works on a ledger and judges one, for the tests that take the disk away from it. It is
// a program of its own because it gets killed, and it is small because it is started thousands of
// times.
//
//	ledgerload write PATH    takes items to their last step, from wherever they are, and prints a
//	                         line for each move after the ledger has acknowledged it
//	ledgerload judge PATH    reads such lines, and reports whether the ledger has all of it; then
//	                         takes the items to their last step and judges again
//	ledgerload replay ...    judges what a power loss may have left of a recorded write
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: ledgerload write|judge|replay [FLAGS] PATH")
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	var w writing
	var r replaying
	f.IntVar(&w.items, "items", 12, "how many items")
	f.IntVar(&w.workers, "workers", 1, "how many work on them at once")
	f.IntVar(&w.sessions, "sessions", 1, "how often the ledger is closed and opened")
	f.StringVar(&r.log, "log", "", "what strace has written")
	f.StringVar(&r.dir, "dir", "", "folder for the images")
	f.Uint64Var(&r.seed, "seed", 0, "of the images")
	f.IntVar(&r.images, "images", 0, "how many")
	f.IntVar(&r.from, "from", 0, "the number of the first")
	f.IntVar(&r.step, "step", 1, "take one image in so many")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	switch path := f.Arg(0); args[0] {
	case "write":
		return w.write(path)
	case "judge":
		acked, err := readAcks(os.Stdin)
		if err != nil {
			return err
		}
		return w.judge(path, acked)
	case "replay":
		return r.replay(path)
	}
	return fmt.Errorf("no such part: %s", args[0])
}
