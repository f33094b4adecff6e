package command

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
)

// shadowing is the file that notation 2 reads in place of trustpolicy.json.
const shadowing = "trustpolicy.oci.json"

// free refuses to write where something is in the way: other files, unless they are to be
// replaced; and, always, what would make the new files mean something else. base is the
// directory that was named; nothing is written outside of it.
func (t target) free(base string, force bool) error {
	ours, stores := map[string]bool{}, map[string]bool{}
	for _, f := range t.out.Files {
		file := t.place(f)
		ours[file] = true
		if strings.Contains(f.Name, "truststore/x509/") {
			stores[filepath.Dir(file)] = true
		}
		if err := inside(base, filepath.Dir(file)); err != nil {
			return err
		}
		if err := replaceable(file, f.Content, force); err != nil {
			return err
		}
		if filepath.Base(file) == "trustpolicy.json" {
			if other := filepath.Join(filepath.Dir(file), shadowing); session.Exists(other) {
				return cli.Usage(fmt.Errorf("%s is there, and notation 2 reads it in place of trustpolicy.json\nhint: move it away, or write to another directory", other))
			}
		}
	}
	for store := range stores {
		entries, err := os.ReadDir(store)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking at the trust store: %w", err)
		}
		for _, e := range entries {
			if other := filepath.Join(store, e.Name()); !ours[other] {
				return cli.Usage(fmt.Errorf("%s is in the trust store as well, and would be trusted\nhint: remove it, or write to another directory", other))
			}
		}
	}
	return nil
}

// replaceable tells why a file cannot be written: nil where there is none, or the same.
func replaceable(file string, content []byte, force bool) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking what is there: %w", err)
	case info.IsDir():
		return cli.Usage(fmt.Errorf("%s is a directory, and a file of that name is to be written\nhint: move it away, or write to another directory", file))
	case force, info.Mode().IsRegular() && holdsBytes(file, content):
		return nil
	}
	return cli.Usage(fmt.Errorf("%s is there already, and would be another\nhint: look what it is; --force replaces it", file))
}

// inside makes sure that a folder is in the directory that was named, or can be made there: a
// link could lead the files elsewhere. The directory itself may be one.
func inside(base, folder string) error {
	below, err := filepath.Rel(base, folder)
	if err != nil {
		return err
	}
	root, at := "", base
	for _, name := range append([]string{"."}, strings.Split(below, string(filepath.Separator))...) {
		at = filepath.Join(at, name)
		if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
			return nil // it is made, with what is below
		}
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("looking at the output directory: %w", err)
		}
		if !info.IsDir() {
			return cli.Usage(fmt.Errorf("%s is no directory, and files are to be written in it\nhint: name another with -O", at))
		}
		real, err := filepath.EvalSymlinks(at)
		if err != nil {
			return fmt.Errorf("looking at the output directory: %w", err)
		}
		if root == "" {
			root = real
		}
		if way, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(way) {
			return cli.Usage(fmt.Errorf("%s leads out of %s, to %s\nhint: remove the link, or write to another directory", at, base, real))
		}
	}
	return nil
}

// holdsBytes reports whether a file is already what it would be. It is a regular one.
func holdsBytes(file string, content []byte) bool {
	old, err := os.ReadFile(file)
	return err == nil && bytes.Equal(old, content)
}

const stale = "of an earlier policy, and not written now: remove it, and what was applied of it"

// left are the files and trust stores that a policy of this name has written there before,
// with more repositories, keys or flags, and not now: they are still what somebody applies.
func (t target) left(name string) []string {
	ours, folders := map[string]bool{}, map[string]bool{t.dir: true}
	for _, f := range t.out.Files {
		file := t.place(f)
		ours[file], ours[filepath.Dir(file)] = true, true
		if before, _, ok := strings.Cut(f.Name, "truststore/x509/"); ok {
			for _, kind := range []string{"ca", "tsa"} {
				folders[filepath.Join(t.dir, filepath.FromSlash(before), "truststore", "x509", kind)] = true
			}
		}
	}
	var found []string
	for folder := range folders {
		entries, _ := os.ReadDir(folder) // there may be none of this kind
		for _, e := range entries {
			file := filepath.Join(folder, e.Name())
			if !ours[file] && t.writes(folder != t.dir, e.Name(), name) {
				found = append(found, file)
			}
		}
	}
	slices.Sort(found)
	return found
}

// writes reports whether this consumer's output can have a file, or trust store, of this name.
func (t target) writes(store bool, file, name string) bool {
	if patch, ok := strings.CutPrefix(strings.TrimSuffix(file, ".yaml"), "patch-"); ok && !store && t.out.Consumer == "flux" {
		file, store = patch, true
	}
	if store {
		return file == name || strings.HasPrefix(file, name+"-")
	}
	return file == "provider.yaml" && strings.HasPrefix(t.out.Consumer, "ratify")
}
