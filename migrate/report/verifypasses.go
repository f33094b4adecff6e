package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// VerifyPasses writes the passes of a watch: in JSON one object per line; in text the problems that the previous pass
// did not report, and a line with the totals.
type VerifyPasses struct {
	w     io.Writer
	json  bool
	tool  string
	shard string
	n     int
	told  map[string]bool // by the last pass
}

// NewVerifyPasses begins with the first pass.
func NewVerifyPasses(w io.Writer, json bool, tool, shard string) *VerifyPasses {
	return &VerifyPasses{w: w, json: json, tool: tool, shard: shard}
}

// Next returns the writer of the next pass.
func (p *VerifyPasses) Next() Verify {
	if p.n++; p.json {
		return newVerifyJSON(p.w, p.tool, p.shard, true)
	}
	return &verifyPass{of: p, told: map[string]bool{}, tags: Totals{}}
}

type verifyPass struct {
	of      *VerifyPasses
	told    map[string]bool
	tags    Totals
	leftOut int
}

func (v *verifyPass) Repository(r verify.Repository) error {
	var b strings.Builder
	tell := func(class verify.Class, name, reason string) {
		line := fmt.Sprintf("    %-16s %s  %s\n", class, safetext.Safe(name, 400), safetext.Safe(safetext.FirstLine(reason), 300))
		if v.told[line] = true; !v.of.told[line] {
			b.WriteString(line)
		}
	}
	v.leftOut += r.LeftOut
	v.tags.AddTags(r)
	if r.Class != "" {
		tell(r.Class, r.GUN, r.Reason)
	} else if r.Reason != "" {
		tell(verify.Unknown, r.GUN, r.Reason)
	}
	for _, t := range r.Tags {
		name := r.GUN + ":" + t.Tag
		if t.Tag == "" {
			name = r.GUN + "@" + t.Registry.String()
		}
		if t.Class != verify.Agree {
			tell(t.Class, name, t.Reason)
		}
	}
	_, err := io.WriteString(v.of.w, b.String())
	return err
}

func (v *verifyPass) End(t Totals, err error) error {
	v.of.told = v.told
	parts, _ := v.tags.list(nil)
	if unread, n := t.list(v.tags); n > 0 {
		parts = append(parts, fmt.Sprintf("%s not read, or not all of it (%s)", safetext.Count(n, "repository"), strings.Join(unread, ", ")))
	}
	_, werr := fmt.Fprintf(v.of.w, "pass %d: %s; %s\n", v.of.n, or(strings.Join(parts, ", "), "nothing"), conclusion(t, err, v.leftOut))
	return werr
}
