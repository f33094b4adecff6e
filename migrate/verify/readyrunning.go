package verify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// maxSkew is how much later than our clock a file server's may be.
const maxSkew = time.Hour

// running looks up what runs, as evidence for the gate that people tick. It notes what Notation will refuse once DCT
// is gone; a tick alone does not outweigh that.
func (a *assessment) running(ctx context.Context) error {
	list, g := a.Running, &a.runs
	if list == nil {
		return nil
	}
	g.State = Holds
	counts, unseen := map[TrustedBy]int{}, map[string]bool{}
	err := a.Verification.Running(ctx, list.Images, a.Scope, func(r Running) error {
		counts[r.TrustedBy]++
		if r.PinnedBy == dct.PinnedTOFU && !unseen[r.Repository] {
			unseen[r.Repository] = true
			g.unclear("%s: its root was trusted on first use", r.Repository)
		}
		name := safetext.Safe(r.Image, 300)
		if d := r.Digest.String(); d != "" && !strings.HasSuffix(r.Image, d) {
			name += ", which is " + d
		}
		switch {
		case r.TrustedBy == NotAsked:
		case r.Notation == SideRefuses:
			g.fail("%s (%s): Notation will refuse it: %s", name, r.where(), r.Reason)
		case r.TrustedBy == ByUnknown:
			g.unclear("%s (%s): %s", name, r.where(), r.Reason)
		}
		return nil
	})
	if err != nil {
		return err
	}
	summary := fmt.Sprintf("of %s in %s of %s, SHA-256 %s: ", safetext.Count(len(list.Images), "image"), safetext.Safe(list.Name, 300), list.At.UTC().Format(time.RFC3339), list.SHA256)
	for _, one := range []struct {
		by   TrustedBy
		text string
	}{{ByBoth, "trusted by both"}, {ByDCT, "by DCT alone"}, {ByNotation, "by Notation alone"}, {ByNeither, "by neither"}, {ByUnknown, "unknown"}, {NotAsked, "not asked, of other registries"}} {
		if n := counts[one.by]; n > 0 {
			summary += fmt.Sprintf("%d %s, ", n, one.text)
		}
	}
	notes := []string{strings.TrimSuffix(summary, ", "), "a list of one cluster's Pods knows neither CronJobs that do not run now nor other hosts: the tick is for these, too"}
	switch {
	case len(list.Images) == counts[NotAsked]:
		g.unclear("no image of it is of a registry that was asked")
	case list.At.Sub(a.Now) > maxSkew:
		g.unclear("the list is of a time in the future: take it anew, and look at the clocks")
	case a.Now.Sub(list.At) > maxListAge:
		g.unclear("the list is more than seven days old: take it anew")
	}
	g.Evidence, g.Count = append(notes, g.Evidence...), g.Count+len(notes)
	return nil
}

// where returns the container in which an image runs.
func (r Running) where() string {
	if len(r.Places) == 0 {
		return safetext.Count(r.Count, "line") + " of the list"
	}
	p := r.Places[0]
	text := safetext.Safe(strings.Join([]string{p.Namespace, p.Pod, p.Container}, "/"), 300)
	if r.Count > 1 {
		text += fmt.Sprintf(" and %d more", r.Count-1)
	}
	return text
}

// also adds the evidence of another check to a gate, which then holds only if that check does too. A check that was
// not made adds nothing.
func (g *Gate) also(other Gate) {
	if other.State == Fails || other.State == NotTold && g.State == Holds {
		g.State = other.State
	}
	g.Evidence, g.Count = append(g.Evidence, other.Evidence...), g.Count+other.Count
	if len(g.Evidence) > maxEvidence {
		g.Evidence = g.Evidence[:maxEvidence]
	}
}
