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
			fmt.Fprintf(&b, "  expired, allowed by --allow-expired: %s\n", safetext.Safe(strings.Join(r.Expired, ", "), 300))
		}
		if !r.Judged.IsZero() {
			fmt.Fprintf(&b, "  expired, signed while it was valid: %s\n", safetext.Safe(r.Judged.String(), 300))
		}
		for _, it := range r.Items {
			totals[it.Action]++
			planItem(&b, it)
		}
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "  %-8s %s (%s): %s\n", "not", safetext.Safe(f.Tag, 128), safetext.Safe(f.Class, 40), safetext.Safe(f.Detail, 600))
		}
	}
	b.WriteString("\n")
	for _, a := range slices.Sorted(maps.Keys(totals)) {
		fmt.Fprintf(&b, "%s %d, ", a, totals[a])
	}
	fmt.Fprintf(&b, "repositories not read %d\n", unread)
	planCost(&b, p, totals[migrate.ActionUnknown])
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

// planCost writes how many key operations a run of the plan needs.
func planCost(b *strings.Builder, p *migrate.Plan, unknown int) {
	fmt.Fprintf(b, "run costs at most %s", safetext.Count(p.Cost.Operations, "key operation"))
	if p.Cost.Proofs > 0 {
		fmt.Fprintf(b, ", %d of them to prove the key", p.Cost.Proofs)
	}
	if unknown > 0 {
		fmt.Fprintf(b, ", and up to %d more for what is unknown", unknown)
	}
	switch p.Cost.RateFrom {
	case migrate.RateSet:
		fmt.Fprintf(b, "; %.1f minutes at --key-rate", p.Cost.Minutes)
	case migrate.RateSeen:
		fmt.Fprintf(b, "; %.1f minutes at the rate of the last run", p.Cost.Minutes)
	}
	b.WriteString("\n")
	if len(p.Keys) < 2 {
		return
	}
	for _, k := range p.Keys {
		fmt.Fprintf(b, "  key %s: %d\n", safetext.Safe(k.Name, 128), k.Operations)
	}
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
