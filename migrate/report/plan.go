package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// PlanText writes a plan for a person.
func PlanText(w io.Writer, p *migrate.Plan) error {
	var b strings.Builder
	for _, k := range p.Keys {
		planKey(&b, k)
	}
	totals := map[migrate.Action]int{}
	unread := 0
	for _, r := range p.Repositories {
		fmt.Fprintf(&b, "\n%s", safetext.Safe(r.GUN, 256))
		if r.Error != nil {
			unread++
			fmt.Fprintf(&b, "  not read: %s\n", r.Error.Class)
			indent(&b, r.Error.Reason)
			continue
		}
		fmt.Fprintf(&b, "  root pinned by %s\n", r.PinnedBy)
		if r.Place != "" {
			fmt.Fprintf(&b, "  images in %s\n", safetext.Safe(r.Place, 256))
		}
		if len(r.Expired) > 0 {
			fmt.Fprintf(&b, "  past its date, and allowed to be: %s\n", safetext.Safe(strings.Join(r.Expired, ", "), 300))
		}
		if !r.Judged.IsZero() {
			fmt.Fprintf(&b, "  past its date, and signed before: %s\n", safetext.Safe(r.Judged.String(), 300))
		}
		for _, it := range r.Items {
			totals[it.Action]++
			planItem(&b, it)
		}
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "  %-8s %s (%s): %s\n", "not", safetext.Safe(f.Tag, 128), safetext.Safe(f.Class, 40), safetext.Safe(f.Detail, 200))
		}
	}
	b.WriteString("\n")
	for _, a := range slices.Sorted(maps.Keys(totals)) {
		fmt.Fprintf(&b, "%s %d, ", a, totals[a])
	}
	fmt.Fprintf(&b, "repositories not read %d\n", unread)
	_, err := io.WriteString(w, b.String())
	return err
}

func planKey(b *strings.Builder, k migrate.PlanKey) {
	fmt.Fprintf(b, "key %s, certificate %s", safetext.Safe(k.Name, 128), safetext.Safe(k.Leaf, 128))
	if len(k.Roles) > 0 {
		fmt.Fprintf(b, ", for %s", safetext.Safe(strings.Join(k.Roles, ", "), 300))
	}
	if len(k.Repositories) > 0 {
		fmt.Fprintf(b, ", in %s", safetext.Safe(strings.Join(k.Repositories, ", "), 500))
	}
	b.WriteString("\n")
}

func planItem(b *strings.Builder, it migrate.PlanItem) {
	var tags []string
	for _, t := range it.Tags {
		text := safetext.Safe(t.Tag, 128)
		if t.Now == migrate.TagMoved {
			text += " (moved to " + safetext.Safe(t.MovedTo, 80) + ")"
		} else if t.Now != migrate.TagOK && t.Now != "" {
			text += " (" + string(t.Now) + ")"
		}
		for _, f := range t.Flags {
			text += " [" + safetext.Safe(f, 40) + "]"
		}
		tags = append(tags, text)
	}
	fmt.Fprintf(b, "  %-8s %s  %s\n", it.Action, safetext.Safe(it.Digest, 80), strings.Join(tags, ", ")+ofIndex(it.Platform, it.Index)+ofKey(it.Key))
	if it.Reason != nil {
		indent(b, string(it.Reason.Class)+": "+it.Reason.Reason)
	}
	for _, n := range it.Notes {
		indent(b, n)
	}
}
