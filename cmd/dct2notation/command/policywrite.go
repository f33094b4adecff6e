package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// shadowing is the file that notation 2 reads in place of trustpolicy.json.
const shadowing = "trustpolicy.oci.json"

// A target is where an output goes.
type target struct {
	dir string
	out *policy.Output
}

func (t target) place(f policy.File) string {
	return filepath.Join(t.dir, filepath.FromSlash(f.Name))
}

// free refuses to write where something is in the way: other files, unless they are to be
// replaced; and, always, what would make the new files mean something else.
func (t target) free(force bool) error {
	ours, stores := map[string]bool{}, map[string]bool{}
	for _, f := range t.out.Files {
		file := t.place(f)
		ours[file] = true
		if strings.Contains(f.Name, "truststore/x509/") {
			stores[filepath.Dir(file)] = true
		}
		if filepath.Base(file) == "trustpolicy.json" {
			if other := filepath.Join(filepath.Dir(file), shadowing); exists(other) {
				return fmt.Errorf("%s is there, and notation 2 reads it in place of trustpolicy.json\nhint: move it away, or write to another directory", other)
			}
		}
		info, err := os.Lstat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err == nil && info.Mode().IsRegular() && holdsBytes(file, f.Content):
		case !force:
			return fmt.Errorf("%s is there already, and would be another\nhint: look what it is; --force replaces it", file)
		}
	}
	for store := range stores {
		entries, err := os.ReadDir(store)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking at the trust store: %w", err)
		}
		for _, e := range entries {
			if other := filepath.Join(store, e.Name()); !ours[other] {
				return fmt.Errorf("%s is in the trust store as well, and would be trusted\nhint: remove it, or write to another directory", other)
			}
		}
	}
	return nil
}

// holdsBytes tells whether a file is already what it would be. It is a regular one.
func holdsBytes(file string, content []byte) bool {
	old, err := os.ReadFile(file)
	return err == nil && bytes.Equal(old, content)
}

func (t target) write() error {
	for _, f := range t.out.Files {
		file := t.place(f)
		if err := durable.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		perm := fs.FileMode(0o644)
		if filepath.Base(file) == "trustpolicy.json" {
			perm = 0o600 // notation warns of others
		}
		if err := durable.WriteFile(file, f.Content, perm); err != nil {
			return err
		}
	}
	return nil
}

// warnOfInstalled tells of other certificates in stores of the same names in notation's own
// folder: copying ours beside them would have them trusted as well.
func (t target) warnOfInstalled(log *slog.Logger) {
	ours := map[string]bool{}
	for _, f := range t.out.Files {
		ours[f.Name] = true
	}
	told := map[string]bool{}
	for _, f := range t.out.Files {
		store := path.Dir(f.Name)
		if t.out.Consumer != "notation" || !strings.HasPrefix(store, "truststore/x509/") || told[store] {
			continue
		}
		told[store] = true
		installed, err := dir.ConfigFS().SysPath(filepath.FromSlash(store))
		if err != nil {
			continue
		}
		entries, _ := os.ReadDir(installed) // mostly there is none
		for _, e := range entries {
			if !ours[store+"/"+e.Name()] {
				log.Warn("notation's own trust store of the same name has another certificate, which would be trusted as well: remove it before the files are copied", "file", filepath.Join(installed, e.Name()))
			}
		}
	}
}

// warnOfShadow tells of a file in notation's own folder that would shadow what was written.
func warnOfShadow(consumer string, log *slog.Logger) {
	file, err := dir.ConfigFS().SysPath(shadowing)
	if consumer == "notation" && err == nil && exists(file) {
		log.Warn("notation 2 would read another file in place of trustpolicy.json: move it away", "file", file)
	}
}

const policyKind = "dct2notation.policy"

// policyResult is the JSON of policy.
type policyResult struct {
	Version      int              `json:"version"`
	Kind         string           `json:"kind"`
	Tool         string           `json:"tool"`
	Stage        string           `json:"stage"`
	Repositories int              `json:"repositories"`
	Consumers    []policyConsumer `json:"consumers"`
	Complete     bool             `json:"complete"`           // nothing that is meant was left out, and no consumer refused
	Problems     []string         `json:"problems,omitempty"` // why it is not complete, or who is trusted without having signed
}

type policyConsumer struct {
	Consumer  string       `json:"consumer"`
	Directory string       `json:"directory"`
	Files     []string     `json:"files"` // the first says what is to be done
	Lost      []policyLoss `json:"lost,omitempty"`
	Warnings  []string     `json:"warnings,omitempty"`
	Refused   string       `json:"refused,omitempty"` // why nothing was written
}

type policyLoss struct {
	Guarantee string `json:"guarantee"`
	Instead   string `json:"instead"` // what makes up for it
}

func (r *policyResult) add(folder string, out *policy.Output) {
	c := policyConsumer{Consumer: out.Consumer, Directory: folder, Warnings: out.Warnings}
	for _, f := range out.Files {
		c.Files = append(c.Files, f.Name)
	}
	for _, l := range out.Lost {
		c.Lost = append(c.Lost, policyLoss(l))
	}
	r.Consumers = append(r.Consumers, c)
}

func (r *policyResult) show(w io.Writer, format string) error {
	if format == "json" {
		raw, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		_, err = w.Write(append(safetext.JSON(raw), '\n'))
		return err
	}
	var b strings.Builder
	for _, c := range r.Consumers {
		if c.Refused != "" {
			fmt.Fprintf(&b, "refused  %s\n", safetext.Lines(strings.ReplaceAll(c.Refused, "\n", "\n    "), 2000))
			continue
		}
		fmt.Fprintf(&b, "written  %s: %d files in %s, for %s; stage %s\n", c.Consumer, len(c.Files), safetext.Safe(c.Directory, 300), policy.Repositories(r.Repositories), r.Stage)
		for _, l := range c.Lost {
			fmt.Fprintf(&b, "    lost: %s\n", l.Guarantee)
		}
		fmt.Fprintf(&b, "    what to do is at the head of %s\n", c.Files[0])
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "not complete: %s\n", safetext.Safe(p, 2000))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
