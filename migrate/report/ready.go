package report

import (
	"bufio"
	"cmp"
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

// ReadyKind distinguishes the JSON from our other JSON.
const ReadyKind = "dct2notation.ready"

// NewReady judges the gates.
func NewReady(tool string, gates []verify.Gate, checked, planned time.Time) *Ready {
	return &Ready{1, ReadyKind, tool, checked.UTC(), planned.UTC(), verify.Ready(gates), gates}
}

// gateStandings are the standings of the gates' states.
var gateStandings = map[verify.GateState]Standing{verify.Holds: Well, verify.Fails: Problem, verify.Open: Aside}

func gateStanding(g verify.Gate) Standing { return cmp.Or(gateStandings[g.State], Unclear) }

func (r *Ready) verdict() string {
	left := map[verify.GateState]int{}
	for _, g := range r.Gates {
		left[g.State]++
	}
	if r.Ready {
		return fmt.Sprintf("ready: all %d gates hold", len(r.Gates)) // there are always several
	}
	if left[verify.Holds] == len(r.Gates) {
		return "not ready: the comparison is not complete"
	}
	return fmt.Sprintf("not ready: of %s %d failed, %d could not be found out, %d open; %d hold",
		safetext.Count(len(r.Gates), "gate"), left[verify.Fails], left[verify.NotTold], left[verify.Open], left[verify.Holds])
}

// dates says when the gates were checked and for when. The result may be shown much later.
func (r *Ready) dates() string {
	return "checked " + moment(r.Checked) + ", planned for " + r.Planned.Format(time.DateOnly)
}

// ReadyText writes the gates for a person, with the evidence below each.
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
	fmt.Fprintf(&b, "\n%s\n%s\n", r.dates(), r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

// ReadyMarkdown writes the gates as a list for a change request.
func ReadyMarkdown(w io.Writer, r *Ready) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# Switching Notary v1 off: %s\n\n", r.verdict())
	fmt.Fprintf(b, "Checked %s by %s, planned for %s.\n", date(r.Checked), code(r.Tool), r.Planned.Format(time.DateOnly))
	r.markdown(b)
	return b.Flush()
}

// markdown writes the gates. Errors appear at the flush.
func (r *Ready) markdown(b *bufio.Writer) {
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
			fmt.Fprintf(b, "- [%s] **%s** (%s): %s\n", box, g.State, code(g.ID), g.Title)
			for _, e := range g.Evidence {
				fmt.Fprintf(b, "  - %s\n", code(e))
			}
			if more := g.Count - len(g.Evidence); more > 0 {
				fmt.Fprintf(b, "  - and %d more\n", more)
			}
			if g.Hint != "" && g.State != verify.Holds {
				fmt.Fprintf(b, "  - hint: %s\n", code(g.Hint))
			}
		}
	}
}

// A gateLine is a gate as the page shows it.
type gateLine struct {
	Standing        Standing
	Mark            string
	ID, State       string
	Title, Hint     string
	Evidence        []string
	More            int  // evidence that is not listed
	Manual, Evident bool // ticked by people; its evidence is shown at first
}

// maxPageEvidence limits how much evidence for a gate the page lists.
const maxPageEvidence = 20

// lines returns the gates for the page.
func (r *Ready) lines() (all []gateLine) {
	for _, g := range r.Gates {
		st := gateStanding(g)
		l := gateLine{
			Standing: st, Mark: marks[st], ID: safetext.Safe(g.ID, maxName), State: safetext.Safe(string(g.State), maxName), Title: safetext.Safe(g.Title, maxReason),
			Manual: g.Manual, Evident: st != Well,
		}
		if st != Well {
			l.Hint = safetext.Lines(g.Hint, maxHint)
		}
		for _, e := range g.Evidence[:min(len(g.Evidence), maxPageEvidence)] {
			l.Evidence = append(l.Evidence, safetext.Lines(e, maxReason))
		}
		l.More = max(g.Count, len(g.Evidence)) - len(l.Evidence)
		all = append(all, l)
	}
	return all
}

// toGo returns how long it is until the server is to be switched off.
func (r *Ready) toGo(now time.Time) string {
	switch days := calendarDays(r.Planned, now); {
	case days < 0:
		return day(r.Planned) + " has passed"
	case days == 0:
		return "today is " + day(r.Planned)
	default:
		return safetext.Count(days, "day") + " to " + day(r.Planned)
	}
}
