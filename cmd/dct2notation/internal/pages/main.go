// Command pages writes what archives and packages contain besides the program: man pages and shell completions, made
// from the command line's own descriptions, and the documents, whose links to the repository point to a commit or
// tag.
//
//	pages DIR [REF]     DIR/man/*.1, DIR/completions/dct2notation.{bash,zsh,fish} and DIR/doc
//
// Run it at the repository's root. Dates in man pages are those of SOURCE_DATE_EPOCH if that is set.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/command"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

func main() {
	if len(os.Args) != 2 && len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pages DIR [REF]")
		os.Exit(2)
	}
	ref := branch
	if len(os.Args) == 3 {
		ref = os.Args[2]
	}
	if err := write(os.Args[1], ref); err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(1)
	}
}

func write(dir, ref string) error {
	man, completions, doc := filepath.Join(dir, "man"), filepath.Join(dir, "completions"), filepath.Join(dir, "doc")
	for _, d := range []string{man, completions, doc} {
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
		documents(".", doc, ref),
	)
}

// branch is where links of the documents point to in the repository.
const branch = "main"

// documents copies the documents of a release, with links to the repository as it was at ref.
func documents(from, to, ref string) error {
	const online = "https://github.com/dct2notation/dct2notation/blob/"
	return fs.WalkDir(os.DirFS(from), ".", func(path string, d fs.DirEntry, err error) error {
		top, _, below := strings.Cut(path, "/")
		switch {
		case err != nil || path == ".":
			return err
		case d.IsDir() && top != "docs":
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		case !below && !slices.Contains([]string{"README.md", "CHANGELOG.md", "SECURITY.md"}, path):
			return nil
		}
		raw, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			return err
		}
		if filepath.Ext(path) == ".md" {
			raw = bytes.ReplaceAll(raw, []byte(online+branch+"/"), []byte(online+ref+"/"))
		}
		return os.WriteFile(filepath.Join(to, path), raw, 0o644)
	})
}

// built returns the date of SOURCE_DATE_EPOCH, or now.
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
