package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// Check returns an error unless the plan can bind a run of the engine: both must use the same keys for the same
// things.
func (p *Plan) Check(e *Engine) error {
	switch {
	case p.Kind != PlanKind:
		return fmt.Errorf("not a plan of dct2notation")
	case p.Version != PlanVersion:
		return fmt.Errorf("the plan has version %d, and this dct2notation knows version %d", p.Version, PlanVersion)
	}
	keys := planKeys(e.Keys)
	if !slices.EqualFunc(p.Keys, keys, PlanKey.equal) {
		return fmt.Errorf("the plan was made for other keys, or for other roles and repositories of theirs: it has %s, and the run %s", listKeys(p.Keys), listKeys(keys))
	}
	if e.Rebind && !p.Rebind {
		return fmt.Errorf("the plan was made without --rebind, and signs no digest again\nhint: run plan with --rebind and review it")
	}
	if e.Resign && !p.Resign {
		return fmt.Errorf("the plan was made without --resign, and signs no digest again\nhint: run plan with --resign and review it")
	}
	if p.Platforms != e.platforms() {
		return fmt.Errorf("the plan was made with --platforms %s, and the run has --platforms %s", cmp.Or(p.Platforms, "index"), cmp.Or(e.platforms(), "index"))
	}
	return nil
}

func (k PlanKey) equal(other PlanKey) bool {
	same := k.Identity == other.Identity && (k.Identity != "" || k.Leaf == other.Leaf)
	return same && k.Name == other.Name && slices.Equal(k.Roles, other.Roles) && slices.Equal(k.Repositories, other.Repositories)
}

func listKeys(keys []PlanKey) string {
	var all []string
	for _, k := range keys {
		all = append(all, strings.TrimSpace(fmt.Sprintf("key %s with certificate %s %s", k.Name, k.Leaf, strings.Join(slices.Concat(k.Roles, k.Repositories), " "))))
	}
	return strings.Join(all, ", ")
}

// GUNs are the repositories that the plan covers.
func (p *Plan) GUNs() ([]dct.GUN, error) {
	var guns []dct.GUN
	for _, r := range p.Repositories {
		gun, err := dct.ParseGUN(r.GUN)
		if err != nil {
			return nil, fmt.Errorf("reading the plan: %w", err)
		}
		guns = append(guns, gun)
	}
	return guns, nil
}

// bind keeps the work that the plan signs: its digests, each with the tags that the reviewer saw bound to it by the
// same role. It notes what has changed since. A repository whose root keys changed since is refused as a whole.
func (p *Plan) bind(r *reading) error {
	i := slices.IndexFunc(p.Repositories, func(pr PlanRepository) bool { return pr.GUN == r.GUN().String() })
	if i < 0 {
		return failure.New(failure.PlanChanged, fmt.Errorf("%s: it is not in the plan", r.GUN()))
	}
	part := p.Repositories[i]
	if place := r.place; part.Error == nil && place != cmp.Or(part.Place, part.GUN) {
		return failure.New(failure.PlanChanged, fmt.Errorf("%s: the plan has its images in %s, and the configuration in %s", r.GUN(), cmp.Or(part.Place, part.GUN), place))
	}
	if part.Error == nil && !slices.Equal(part.RootKeys, r.RootKeyIDs()) {
		return failure.New(failure.PlanChanged, fmt.Errorf("%s: its root keys are not those that the plan was made with\nhint: run plan again and review it", r.GUN()))
	}
	for _, role := range append(r.Expired(), r.Judged().Roles...) {
		if part.Error == nil && !slices.Contains(part.Expired, role) && !slices.Contains(part.Judged.Roles, role) {
			return failure.New(failure.PlanChanged, fmt.Errorf("%s: %s is past its date, and was not when the plan was made\nhint: run plan again and review it", r.GUN(), role))
		}
	}
	planned := make(map[itemID]PlanItem, len(part.Items))
	why := make(map[itemID]string)
	as := make(map[itemID]failure.Class)
	for _, it := range part.Items {
		id := it.id(p)
		switch {
		case slices.Contains([]Action{ActionSign, ActionPush, ActionDone, ActionRebind}, it.Action):
			planned[id] = it
		case it.Reason != nil:
			if it.Action == ActionUnknown {
				as[id] = failure.PlanUnknown
			}
			why[id] = fmt.Sprintf("the plan does not sign it: %s: %s", it.Reason.Class, it.Reason.Reason)
		}
	}
	for i, w := range r.work {
		id := itemID{w.Key.Digest, w.Key.KeyName}
		it, ok := planned[id]
		if !ok {
			for _, index := range w.indexes() { // its images were not listed then
				if above := (itemID{index, w.Key.KeyName}); why[id] == "" {
					why[id], as[id] = why[above], as[above]
				}
			}
			r.work[i].outside = cmp.Or(why[id], "it is not in the plan")
			r.work[i].outsideAs = as[id]
			continue
		}
		r.work[i] = it.narrow(w)
		delete(planned, id)
	}
	for _, it := range planned {
		if slices.ContainsFunc(r.work, func(w Work) bool { return w.trouble != nil && slices.Contains(it.Index, w.Key.Digest) }) {
			continue // its index fails, and says why
		}
		r.changed = append(r.changed, fmt.Sprintf("plan-changed: %s@%s is in the plan, and DCT does not vouch for it", r.GUN(), it.Digest))
	}
	slices.Sort(r.changed)
	return nil
}

// itemID identifies an item within a repository.
type itemID struct{ digest, key string }

func (it PlanItem) id(p *Plan) itemID {
	if it.Key == "" && len(p.Keys) == 1 {
		return itemID{it.Digest, p.Keys[0].Name}
	}
	return itemID{it.Digest, it.Key}
}

// narrow keeps the tags that the plan has; for a child, the indexes.
func (it PlanItem) narrow(w Work) Work {
	if w.isChild() {
		return it.narrowChild(w)
	}
	var kept []dct.Target
	for _, t := range w.Targets {
		i := slices.IndexFunc(it.Tags, func(pt PlanTag) bool { return pt.Tag == t.Tag() && pt.Role == t.Role() })
		if i < 0 {
			w.Changed = append(w.Changed, fmt.Sprintf("plan-changed: tag %s of role %s is not in the plan, and is not bound to the signature", t.Tag(), t.Role()))
			continue
		}
		kept = append(kept, t)
	}
	for _, pt := range it.Tags {
		if !slices.ContainsFunc(w.Targets, func(t dct.Target) bool { return t.Tag() == pt.Tag && t.Role() == pt.Role }) {
			w.Changed = append(w.Changed, fmt.Sprintf("plan-changed: tag %s is in the plan, and DCT no longer gives it to this digest", pt.Tag))
		}
	}
	if len(kept) == 0 {
		w.outside = "none of its tags is in the plan"
		return w
	}
	w.Targets = kept
	return w
}

func (it PlanItem) narrowChild(w Work) Work {
	planned := func(d digest.Digest) bool { return slices.Contains(it.Index, d.String()) }
	for _, c := range w.chains {
		if !planned(c.head()) {
			w.Changed = append(w.Changed, fmt.Sprintf("plan-changed: the plan does not have it as listed by index %s", c.head()))
		}
	}
	chains := slices.DeleteFunc(slices.Clone(w.chains), func(c indexPath) bool { return !planned(c.head()) })
	if len(chains) == 0 {
		w.outside = "the plan has it for another index, or for a tag of its own"
		return w
	}
	w.chains, w.Targets = chains, slices.DeleteFunc(slices.Clone(w.Targets), func(t dct.Target) bool { return !planned(t.Digest()) })
	return w
}
