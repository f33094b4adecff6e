package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/policies"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation/policy"
)

const policyKind = "dct2notation.policy"

// policyResult is the JSON of policy.
type policyResult struct {
	Version      int              `json:"version"`
	Kind         string           `json:"kind"`
	Tool         string           `json:"tool"`
	Stage        string           `json:"stage"`
	Repositories int              `json:"repositories"`
	Consumers    []policyConsumer `json:"consumers"`
	Complete     bool             `json:"complete"`           // nothing was left out, and no consumer refused
	Problems     []string         `json:"problems,omitempty"` // why it is not complete, or who is trusted without having signed
}

type policyConsumer struct {
	Consumer  string       `json:"consumer"`
	Directory string       `json:"directory"`
	Files     []string     `json:"files"` // the first says what to do
	Lost      []policyLoss `json:"lost,omitempty"`
	Warnings  []string     `json:"warnings,omitempty"`
	Refused   string       `json:"refused,omitempty"` // why nothing was written
}

type policyLoss struct {
	Guarantee string `json:"guarantee"`
	Instead   string `json:"instead"` // what replaces it
}

func newPolicyResult(w *policies.Result) *policyResult {
	r := &policyResult{
		Version: 1, Kind: policyKind, Tool: cli.Tool(), Stage: string(w.Stage), Repositories: w.Repositories, Complete: len(w.Problems) == 0,
	}
	for _, p := range w.Problems {
		r.Problems = append(r.Problems, p.String())
	}
	for _, one := range w.Consumers {
		c := policyConsumer{Consumer: one.Consumer, Directory: one.Dir, Files: []string{}, Warnings: one.Warnings, Refused: one.Refused}
		if one.Output != nil {
			for _, f := range one.Output.Files {
				c.Files = append(c.Files, f.Name)
			}
			for _, l := range one.Output.Lost {
				c.Lost = append(c.Lost, policyLoss(l))
			}
		}
		r.Consumers = append(r.Consumers, c)
	}
	return r
}

// onScreen writes the result for a person at a terminal: it wraps long lines, and groups problems of one kind.
func (r *policyResult) onScreen(screen report.Screen, w io.Writer, problems []policy.Problem) error {
	var b strings.Builder
	for _, c := range r.Consumers {
		if c.Refused != "" {
			b.WriteString(screen.Wrap("refused  ", "    ", safetext.Lines(c.Refused, 2000)))
			continue
		}
		b.WriteString(screen.Wrap("written  ", "    ", fmt.Sprintf("%s: %s in %s, for %s; stage %s", c.Consumer, safetext.Count(len(c.Files), "file"),
			safetext.Safe(c.Directory, 300), safetext.Count(r.Repositories, "repository"), r.Stage)))
		for _, l := range c.Lost {
			b.WriteString(screen.Wrap("    lost: ", "      ", l.Guarantee))
		}
		b.WriteString(screen.Wrap("    ", "      ", "next steps are at the top of "+c.Files[0]))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	var all []report.Lack
	for _, p := range problems {
		one := report.Lack{What: p.What}
		for i := 0; i+1 < len(p.Attrs); i += 2 {
			text := fmt.Sprint(p.Attrs[i+1])
			switch p.Attrs[i] {
			case "repository", "key":
				one.Of = text
			case "reason":
				one.What += ": " + text
			case "hint":
				one.Hint = text
			default:
				one.Text += fmt.Sprintf("%s %s ", p.Attrs[i], text)
			}
		}
		all = append(all, one)
	}
	return screen.Lacks(w, "not complete", "problem", all)
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
		fmt.Fprintf(&b, "    next steps are at the top of %s\n", c.Files[0])
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "not complete: %s\n", safetext.Safe(p, 2000))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
