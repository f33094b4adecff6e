package migrate

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// PlanVersion is the version of the plan's JSON. Plans of other versions are refused.
const PlanVersion = 1

// Plan is what a run would do. A person reviews it, and a run can be bound to it.
type Plan struct {
	Version      int              `json:"version"`
	Kind         string           `json:"kind"` // PlanKind
	Created      time.Time        `json:"created"`
	Tool         string           `json:"tool"`
	Shard        string           `json:"shard,omitempty"`     // the part I/N of the repositories that it covers; empty: all
	Rebind       bool             `json:"rebind,omitempty"`    // made with --rebind
	Resign       bool             `json:"resign,omitempty"`    // made with --resign
	Platforms    string           `json:"platforms,omitempty"` // "all": with the images that an index lists
	Keys         []PlanKey        `json:"keys"`
	Cost         PlanCost         `json:"cost"`
	Repositories []PlanRepository `json:"repositories"`
}

// PlanKind distinguishes the file from our other JSON.
const PlanKind = "dct2notation.plan"

// PlanKey describes a key that would sign.
type PlanKey struct {
	Name         string   `json:"name"`
	Leaf         string   `json:"leaf"`                   // SHA-256 of the certificate
	Identity     string   `json:"identity,omitempty"`     // whose signatures count as the key's, if a renewed certificate is still the same key
	Roles        []string `json:"roles,omitempty"`        // empty: those that docker trusts
	Repositories []string `json:"repositories,omitempty"` // globs; empty: all
	Operations   int      `json:"operations"`             // that a run needs from it, proofs included
}

// PlanRepository is one repository's part. If its trust data could not be read, Error is set and it has no items.
type PlanRepository struct {
	GUN      string        `json:"gun"`
	Place    string        `json:"place,omitempty"` // the repository that the images are in, if it is another
	PinnedBy string        `json:"pinned_by,omitempty"`
	RootKeys []string      `json:"root_keys,omitempty"`
	Expired  []string      `json:"expired,omitempty"` // expired, allowed by --allow-expired
	Judged   dct.Judged    `json:"judged,omitzero"`   // past its date, and signed in a snapshot before
	Error    *PlanReason   `json:"error,omitempty"`
	Items    []PlanItem    `json:"items,omitempty"`
	Findings []PlanFinding `json:"findings,omitempty"`
}

// PlanReason is a class with its explanation.
type PlanReason struct {
	Class  failure.Class `json:"class"`
	Reason string        `json:"reason"`
}

// PlanItem is one digest and the key that would sign it.
type PlanItem struct {
	Digest    string      `json:"digest"`
	Key       string      `json:"key,omitempty"` // its name, if there are several
	MediaType string      `json:"media_type,omitempty"`
	Size      int64       `json:"size,omitempty"` // of the manifest, in bytes
	Action    Action      `json:"action"`
	Reason    *PlanReason `json:"reason,omitempty"`
	Tags      []PlanTag   `json:"tags"`
	Index     []string    `json:"index,omitempty"` // for an image that DCT does not name: the indexes that list it, which DCT names
	Platform  string      `json:"platform,omitempty"`
	Notes     []string    `json:"notes,omitempty"`
}

// Action is what a run would do with an item.
type Action string

// The actions.
const (
	ActionSign    Action = "sign"
	ActionPush    Action = "push"   // an earlier run signed it; it remains to be pushed
	ActionRebind  Action = "rebind" // signed already, and signed again for tags that were added since
	ActionDone    Action = "done"
	ActionSkip    Action = "skip"
	ActionUnknown Action = "unknown" // inspecting failed: a run would try again
)

// PlanTag is a tag of an item.
type PlanTag struct {
	Tag     string   `json:"tag"`
	Role    string   `json:"role"`
	Version int      `json:"targets_version"`
	Now     TagClass `json:"now,omitempty"` // in the registry
	MovedTo string   `json:"moved_to,omitempty"`
	Signers []string `json:"signers,omitempty"` // further roles that name the same digest
	Flags   []string `json:"flags,omitempty"`
}

// PlanFinding is an entry of the trust data that is not signed.
type PlanFinding struct {
	Tag    string `json:"tag"`
	Role   string `json:"role"`
	Class  string `json:"class"`
	Detail string `json:"detail"`
}

// planner is one call of MakePlan.
type planner struct {
	*Engine
	inspector inspector
}

func (p *planner) plan(ctx context.Context, guns []dct.GUN) (*Plan, error) {
	plan := &Plan{
		Version: PlanVersion, Kind: PlanKind, Created: p.now().UTC().Truncate(time.Second), Tool: p.Tool,
		Keys: planKeys(p.Keys), Rebind: p.Rebind, Resign: p.Resign, Platforms: p.platforms(), Repositories: []PlanRepository{},
	}
	r := &reader{Engine: p.Engine, hosts: dct.NewHosts()}
	var last error
	for gun, a := range r.each(ctx, guns) {
		read, err := a.value, a.err
		var fatal *failure.Fatal
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &fatal):
			return nil, fatal.Err
		case p.Scope.MayLack(gun, err):
			last = err
			continue
		case err != nil:
			last = err
			plan.Repositories = append(plan.Repositories, PlanRepository{GUN: gun.String(), Error: &PlanReason{failure.Of(err), err.Error()}})
			p.notify(Event{Trust: &TrustNews{GUN: gun.String(), Class: failure.Of(err), Err: err}})
			continue
		}
		read.work = planned(read.work)
		p.notify(Event{Found: len(read.work), Trust: read.news()})
		part, err := p.repository(ctx, read)
		if err != nil {
			return nil, err
		}
		plan.Repositories = append(plan.Repositories, part)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	p.cost(plan)
	return plan, NothingRead(r.hosts, last)
}

func (p *planner) repository(ctx context.Context, r *reading) (PlanRepository, error) {
	part := PlanRepository{GUN: r.GUN().String(), PinnedBy: r.PinnedBy(), RootKeys: r.RootKeyIDs(), Expired: r.Expired(), Judged: r.Judged(), Items: make([]PlanItem, len(r.work))}
	if place := p.Scope.PlaceOf(r.GUN()); place != r.GUN().String() {
		part.Place = place
	}
	for _, f := range r.findings {
		part.Findings = append(part.Findings, PlanFinding{f.Tag, f.Role, f.Class, f.Detail})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.Workers * perWorker)
	for i, w := range r.work {
		g.Go(func() (err error) {
			part.Items[i], err = p.item(gctx, w)
			p.notify(Event{Outcome: &Outcome{Repository: w.Key.Repository, Digest: w.Key.Digest}})
			return err
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return part, err
}

// item returns what a run would do with one work. Its error is ctx's or the ledger's.
func (p *planner) item(ctx context.Context, w Work) (PlanItem, error) {
	it := PlanItem{Digest: w.Key.Digest, Key: keyed(p.Keys, w.Key.KeyName), Action: ActionSign, Tags: []PlanTag{}, Platform: w.Platform, Notes: w.notes()}
	if w.isChild() {
		it.Index = w.indexes()
	}
	for _, t := range w.named() {
		it.Tags = append(it.Tags, PlanTag{Tag: t.Tag(), Role: t.Role(), Version: t.Version(), Signers: t.Signers(), Flags: t.Flags()})
	}
	if w.trouble != nil {
		it.Action, it.Reason = ActionUnknown, &PlanReason{failure.Of(w.trouble), w.trouble.Error()}
		return it, nil
	}
	x, err := p.inspector.inspect(ctx, w)
	if ctx.Err() != nil {
		return it, ctx.Err()
	}
	if err != nil {
		it.Action, it.Reason = ActionUnknown, &PlanReason{failure.Of(err), err.Error()}
		return it, nil
	}
	it.MediaType, it.Size = x.Image.Descriptor.MediaType, x.Image.Descriptor.Size
	it.Notes = append(it.Notes, x.Notes...)
	for i, t := range x.Tags {
		it.Tags[i].Now, it.Tags[i].MovedTo = t.Class, t.Now.String()
	}
	if x.Skip != "" {
		it.Action, it.Reason = ActionSkip, &PlanReason{x.Skip, x.Reason}
		return it, nil
	}
	if err := p.action(ctx, w, x, &it); err != nil {
		return it, err
	}
	after := x.Found.all()
	if it.Action != ActionDone {
		after++
	}
	it.Notes = append(it.Notes, crowded(after)...)
	return it, nil
}

// action decides what a run would do with an image that can be signed. It is ActionSign unless there is a reason for
// another. Its error is ctx's or the ledger's.
func (p *planner) action(ctx context.Context, w Work, x Inspected, it *PlanItem) error {
	var known state.Item
	if p.Ledger != nil {
		var err error
		if known, _, err = p.Ledger.Item(w.Key); err != nil {
			return err
		}
	}
	ours, err := p.inspector.ours(ctx, w, x, known, p.inspector.recorded)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		it.Action, it.Reason = ActionUnknown, &PlanReason{failure.Of(err), err.Error()}
		return nil
	}
	listed := slices.ContainsFunc(ours, func(s Signature) bool { return s.Digest == known.Signature })
	if (known.Stage == state.Signed || known.Stage == state.Pushed) && !listed {
		it.Action = ActionPush
		return nil
	}
	if len(ours) == 0 {
		if known.Stage == state.Confirmed && !p.looksAgain() && p.inspector.stands(w, known.SignedBy) {
			it.Action = ActionDone
			it.Notes = append(it.Notes, "signature-gone: the ledger has it as signed, and the registry lists no signature of this key; --recheck signs again")
		}
		return nil
	}
	best, lacking := w.best(ours, known.Signature), w.unbound(ours)
	renew, rebind := p.inspector.renews(w, best), p.Rebind && len(lacking) > 0
	switch {
	case (renew || rebind) && x.Found.Unread > 0:
		it.Action, it.Reason = ActionUnknown, &PlanReason{failure.Permanent, x.tooMany().Error()}
	case renew:
		it.Notes = append(it.Notes, resignedNote(best))
	case rebind:
		it.Action = ActionRebind
		it.Notes = append(it.Notes, reboundNotes(lacking)...)
	default:
		it.Action = ActionDone
		it.Notes = append(append(it.Notes, unboundNotes(lacking)...), w.otherNotes(best)...)
	}
	return nil
}
