package command

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// A target is where an output goes.
type target struct {
	dir string
	out *policy.Output
	at  int // in the result's consumers
}

func (t target) place(f policy.File) string {
	return filepath.Join(t.dir, filepath.FromSlash(f.Name))
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
	if consumer == "notation" && err == nil && session.Exists(file) {
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
		fmt.Fprintf(&b, "written  %s: %s in %s, for %s; stage %s\n", c.Consumer, safetext.Count(len(c.Files), "file"), safetext.Safe(c.Directory, 300), safetext.Count(r.Repositories, "repository"), r.Stage)
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
