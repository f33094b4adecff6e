// Command demo shows a migration on one machine: it starts a Notary v1 server and two registries in this process,
// publishes signed images in the shapes that Docker Content Trust has in practice, and then runs the real
// dct2notation as a child process, with the command lines that a user would type.
//
// What it promises: the product does not know that it is a demonstration; what is claimed at the end was looked up in
// the registries, not taken from the product's word; the servers listen on 127.0.0.1 only, and all files are in one
// temporary folder that is removed even after Ctrl-C.
//
// What it does not promise: a copy of the product's output. Digests and long lists are shortened for readability.
//
// scene.go starts the servers, shapes.go says what they hold and what must become of it, play.go types the commands,
// check.go compares.
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
	"syscall"
)

func main() {
	binary := flag.String("binary", "bin/dct2notation", "the dct2notation to show")
	page := flag.String("html", "", "file in which to leave the report of the comparison (default: nothing is left)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo: it takes no arguments but -binary and -html")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A closed pipe ends it like Ctrl-C: what was started must be cleared. The signal itself cannot be distinguished
	// from a client that hung up on one of our servers.
	signal.Ignore(syscall.SIGPIPE)
	err := demonstrate(ctx, *binary, *page, &audience{os.Stdout, stop})
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil && interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted: "+err.Error())
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo: "+err.Error())
		os.Exit(1)
	}
}

// audience ends the demonstration when nobody reads it any more.
type audience struct {
	io.Writer
	leave func()
}

func (a *audience) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	if err != nil {
		a.leave()
	}
	return n, err
}

// demonstrate sets the scene, plays it and clears it away. An error also means that a check failed. The HTML report
// is left in page, if that is not empty.
func demonstrate(ctx context.Context, binary, page string, out io.Writer) (err error) {
	path, err := filepath.Abs(binary)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return fmt.Errorf("finding the binary to show: %w\nhint: make demo builds it", err)
	}
	show := &screen{out: out}
	show.title("Setting the scene")
	s, err := setScene(ctx, show)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.clear()) }()
	p := &play{scene: s, screen: show, binary: path}
	if page != "" {
		if p.page, err = filepath.Abs(page); err != nil {
			return err
		}
	}
	return p.perform(ctx)
}
