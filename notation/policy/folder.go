package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/durable"
)

const (
	trustPolicy = "trustpolicy.json"
	shadowing   = "trustpolicy.oci.json" // notation 2 reads it in place of trustpolicy.json
	trustStore  = "truststore/x509/"
)

// A Folder is a directory that an output is written to.
type Folder struct {
	Dir    string
	Output *Output
}

func (f Folder) place(file File) string {
	return filepath.Join(f.Dir, filepath.FromSlash(file.Name))
}

// Write writes the files over existing ones. Call [Folder.Check] first.
func (f Folder) Write() error {
	for _, one := range f.Output.Files {
		file := f.place(one)
		if err := durable.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		perm := fs.FileMode(0o644)
		if filepath.Base(file) == trustPolicy {
			perm = 0o600 // notation warns of other modes
		}
		if err := durable.WriteFile(file, one.Content, perm); err != nil {
			return err
		}
	}
	return nil
}

// Check refuses to write if something is in the way: other files, unless they are to be replaced, and always anything
// that would change the meaning of the new files. base is the directory that the user named; nothing is written
// outside it.
func (f Folder) Check(base string, force bool) error {
	ours, stores := map[string]bool{}, map[string]bool{}
	for _, one := range f.Output.Files {
		file := f.place(one)
		ours[file] = true
		if strings.Contains(one.Name, trustStore) {
			stores[filepath.Dir(file)] = true
		}
		if err := inside(base, filepath.Dir(file)); err != nil {
			return err
		}
		if err := replaceable(file, one.Content, force); err != nil {
			return err
		}
		if filepath.Base(file) == trustPolicy {
			if other := filepath.Join(filepath.Dir(file), shadowing); exists(other) {
				return &Refusal{Reason: other + " exists, and notation 2 reads it in place of trustpolicy.json", Hint: "move it away, or write to another directory"}
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
				return &Refusal{Reason: other + " is in the trust store as well, and would be trusted", Hint: "remove it, or write to another directory"}
			}
		}
	}
	return nil
}

// replaceable returns why a file cannot be written, or nil if it does not exist or has the same content.
func replaceable(file string, content []byte, force bool) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking at a file that is to be replaced: %w", err)
	case info.IsDir():
		return &Refusal{Reason: file + " is a directory where a file has to be written", Hint: "move it away, or write to another directory"}
	case force, info.Mode().IsRegular() && hasContent(file, content):
		return nil
	}
	return &Refusal{Reason: file + " exists and has other content", Hint: "look at it first; --force replaces it"}
}

// inside makes sure that a folder is in the named directory, or can be created there: a link could lead the files
// elsewhere. The directory itself may be a link.
func inside(base, folder string) error {
	below, err := filepath.Rel(base, folder)
	if err != nil {
		return err
	}
	root, at := "", base
	for _, name := range append([]string{"."}, strings.Split(below, string(filepath.Separator))...) {
		at = filepath.Join(at, name)
		if !exists(at) {
			return nil // it is created, with everything below it
		}
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("looking at the output directory: %w", err)
		}
		if !info.IsDir() {
			return &Refusal{Reason: at + " is not a directory", Hint: "name another with -O"}
		}
		real, err := filepath.EvalSymlinks(at)
		if err != nil {
			return fmt.Errorf("looking at the output directory: %w", err)
		}
		if root == "" {
			root = real
		}
		if way, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(way) {
			return &Refusal{Reason: fmt.Sprintf("%s leads out of %s, to %s", at, base, real), Hint: "remove the link, or write to another directory"}
		}
	}
	return nil
}

// hasContent reports whether a regular file already has this content.
func hasContent(file string, content []byte) bool {
	old, err := os.ReadFile(file)
	return err == nil && bytes.Equal(old, content)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Stale returns the files and trust stores that an earlier policy of this name wrote there, with more repositories,
// keys or flags, and this one does not: somebody may still apply them.
func (f Folder) Stale(name string) []string {
	ours, folders := map[string]bool{}, map[string]bool{f.Dir: true}
	for _, one := range f.Output.Files {
		file := f.place(one)
		ours[file], ours[filepath.Dir(file)] = true, true
		if before, _, ok := strings.Cut(one.Name, trustStore); ok {
			for _, kind := range []string{"ca", "tsa"} {
				folders[filepath.Join(f.Dir, filepath.FromSlash(before+trustStore+kind))] = true
			}
		}
	}
	var found []string
	for folder := range folders {
		entries, _ := os.ReadDir(folder) // there may be none of this kind
		for _, e := range entries {
			file := filepath.Join(folder, e.Name())
			if !ours[file] && f.writes(folder != f.Dir, e.Name(), name) {
				found = append(found, file)
			}
		}
	}
	slices.Sort(found)
	return found
}

// writes reports whether this consumer's output can have a file, or trust store, of this name.
func (f Folder) writes(store bool, file, name string) bool {
	c := f.Output.Consumer
	if patch, ok := strings.CutPrefix(strings.TrimSuffix(file, ".yaml"), c.patches); ok && !store && c.patches != "" {
		file, store = patch, true
	}
	if store {
		return file == name || strings.HasPrefix(file, name+"-")
	}
	return c.optional != "" && file == c.optional
}

// InTheWay warns of files in notation's own folder that would change the meaning of these files once they are copied
// there. installed returns the path of a file in that folder.
func (f Folder) InTheWay(installed func(...string) (string, error)) (warnings []Warning) {
	if !f.Output.Consumer.installed {
		return nil
	}
	if file, err := installed(shadowing); err == nil && exists(file) {
		warnings = append(warnings, Warning{"notation 2 would read another file in place of trustpolicy.json: move it away", file})
	}
	ours, told := map[string]bool{}, map[string]bool{}
	for _, one := range f.Output.Files {
		ours[one.Name] = true
	}
	for _, one := range f.Output.Files {
		store := path.Dir(one.Name)
		if !strings.HasPrefix(store, trustStore) || told[store] {
			continue
		}
		told[store] = true
		folder, err := installed(filepath.FromSlash(store))
		if err != nil {
			continue
		}
		entries, _ := os.ReadDir(folder) // usually there is none
		for _, e := range entries {
			if !ours[store+"/"+e.Name()] {
				warnings = append(warnings, Warning{"notation's own trust store of the same name has another certificate, which would be trusted as well: remove it before the files are copied", filepath.Join(folder, e.Name())})
			}
		}
	}
	return warnings
}

// A Warning is about a file.
type Warning struct{ Text, File string }
