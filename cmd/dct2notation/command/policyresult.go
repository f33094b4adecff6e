package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/policies"
	"github.com/dct2notation/dct2notation/internal/safetext"
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
	Files     []string     `json:"files"` // the first says what is to be done
	Lost      []policyLoss `json:"lost,omitempty"`
	Warnings  []string     `json:"warnings,omitempty"`
	Refused   string       `json:"refused,omitempty"` // why nothing was written
}

type policyLoss struct {
	Guarantee string `json:"guarantee"`
	Instead   string `json:"instead"` // what makes up for it
}

func newPolicyResult(w *policies.Result) *policyResult {
	r := &policyResult{
		Version: 1, Kind: policyKind, Tool: cli.Tool(), Stage: string(w.Stage), Repositories: w.Repositories, Complete: len(w.Problems) == 0, Problems: w.Problems,
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
