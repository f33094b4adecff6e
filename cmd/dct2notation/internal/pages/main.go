// Command pages writes what is made of the command line's own descriptions: man pages and shell completions,
// for archives and packages.
//
//	pages DIR     DIR/man/*.1 and DIR/completions/dct2notation.{bash,zsh,fish}
//
// Dates in man pages are those of SOURCE_DATE_EPOCH where that is set.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/command"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pages DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	man, completions := filepath.Join(dir, "man"), filepath.Join(dir, "completions")
	for _, d := range []string{man, completions} {
		if err := errors.Join(os.RemoveAll(d), os.MkdirAll(d, 0o755)); err != nil {
			return err
		}
	}
	root := command.NewRoot(nil, cli.Streams{Out: os.Stdout, Err: os.Stderr})
	date, err := built()
	if err != nil {
		return err
	}
	return errors.Join(
		manTree(root, date, man),
		root.GenBashCompletionFileV2(filepath.Join(completions, "dct2notation.bash"), true),
		root.GenZshCompletionFile(filepath.Join(completions, "dct2notation.zsh")),
		root.GenFishCompletionFile(filepath.Join(completions, "dct2notation.fish"), true),
	)
}

// built is the date of SOURCE_DATE_EPOCH, or now.
func built() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
