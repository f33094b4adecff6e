package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Ready says whether the Notary v1 server may be switched off, with the evidence.
type Ready struct {
	Version int           `json:"version"`
	Kind    string        `json:"kind"`
	Tool    string        `json:"tool"`
	Checked time.Time     `json:"checked"`
	Planned time.Time     `json:"planned"` // when the server is to be switched off
	Ready   bool          `json:"ready"`
	Gates   []verify.Gate `json:"gates"`
}

// ReadyKind tells the JSON apart from our other JSON.
const ReadyKind = "dct2notation.ready"

// NewReady judges the gates.
func NewReady(tool string, gates []verify.Gate, checked, planned time.Time) *Ready {
	return &Ready{1, ReadyKind, tool, checked.UTC(), planned.UTC(), verify.Ready(gates), gates}
}

func (r *Ready) verdict() string {
	left := map[verify.GateState]int{}
	for _, g := range r.Gates {
		left[g.State]++
	}
	if r.Ready {
		return fmt.Sprintf("ready: all %d gates hold", len(r.Gates)) // never one
	}
	return fmt.Sprintf("not ready: of %s %d failed, %d could not be found out, %d open; %d hold",
		safetext.Count(len(r.Gates), "gate"), left[verify.Fails], left[verify.NotTold], left[verify.Open], left[verify.Holds])
}

// ReadyText writes the gates for a person, evidence below each.
func ReadyText(w io.Writer, r *Ready) error {
	var b strings.Builder
	manual := false
	for _, g := range r.Gates {
		if g.Manual && !manual {
			manual = true
			b.WriteString("\nFor people to check; each is ticked in the file of decisions:\n")
		}
		fmt.Fprintf(&b, "%-8s %-20s %s\n", g.State, safetext.Safe(g.ID, 40), safetext.Safe(g.Title, 300))
		for _, e := range g.Evidence {
			indent(&b, strings.ReplaceAll(e, "\n", " / "))
		}
		if more := g.Count - len(g.Evidence); more > 0 {
			fmt.Fprintf(&b, "    and %d more\n", more)
		}
		if g.Hint != "" && g.State != verify.Holds {
			indent(&b, "hint: "+g.Hint)
		}
	}
	fmt.Fprintf(&b, "\nplanned for %s\n%s\n", r.Planned.Format(time.DateOnly), r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

// ReadyMarkdown writes the gates as a list for a change request.
func ReadyMarkdown(w io.Writer, r *Ready) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Switching Notary v1 off: %s\n\n", r.verdict())
	fmt.Fprintf(&b, "Checked %s by %s, planned for %s.\n", date(r.Checked), code(r.Tool), r.Planned.Format(time.DateOnly))
	for _, manual := range []bool{false, true} {
		b.WriteString(map[bool]string{false: "\n## Found out\n\n", true: "\n## For people to check\n\n"}[manual])
		for _, g := range r.Gates {
			if g.Manual != manual {
				continue
			}
			box := " "
			if g.State == verify.Holds {
				box = "x"
			}
			fmt.Fprintf(&b, "- [%s] **%s** (%s): %s\n", box, g.State, code(g.ID), g.Title)
			for _, e := range g.Evidence {
				fmt.Fprintf(&b, "  - %s\n", code(e))
			}
			if more := g.Count - len(g.Evidence); more > 0 {
				fmt.Fprintf(&b, "  - and %d more\n", more)
			}
			if g.Hint != "" && g.State != verify.Holds {
				fmt.Fprintf(&b, "  - hint: %s\n", code(g.Hint))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
