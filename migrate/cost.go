package migrate

import (
	"cmp"
	"math"
)

// PlanCost is how many key operations a run of the plan needs, at most. Each item that the plan has as unknown may
// cost one more.
type PlanCost struct {
	Operations int      `json:"operations"`          // of all keys: one per signature, plus the proofs
	Proofs     int      `json:"proofs"`              // signatures over no image that show what a key's certificate is
	Minutes    float64  `json:"minutes,omitempty"`   // how long the keys take at that rate
	RateFrom   RateFrom `json:"rate_from,omitempty"` // how the rate is known; empty: it is not known
}

// RateFrom says how the rate of the keys is known.
type RateFrom string

// How the rate is known.
const (
	RateSet  RateFrom = "key-rate" // set by the user
	RateSeen RateFrom = "last-run" // reached by the last run on the ledger
)

// slowest is the lowest rate that is believed, in operations per second: others may have changed the status file.
const slowest = 1e-4

// cost fills in what a run of the plan costs. A run proves its keys as the plan did: both open them with the same
// ledger.
func (p *planner) cost(plan *Plan) {
	signs, pushes := map[string]int{}, map[string]int{}
	for _, r := range plan.Repositories {
		for _, it := range r.Items {
			name := cmp.Or(it.Key, plan.Keys[0].Name)
			switch it.Action {
			case ActionSign, ActionRebind:
				signs[name]++
			case ActionPush:
				pushes[name]++
			}
		}
	}
	c, seconds, set := &plan.Cost, 0.0, true
	for i, k := range p.Keys {
		of := &plan.Keys[i]
		of.Operations = signs[of.Name]
		if k.Proofs != nil {
			made, proven := k.Proofs()
			if !proven && pushes[of.Name] > 0 {
				made++ // an envelope signed by an earlier run is pushed by a proven key
			}
			of.Operations += made
			c.Proofs += made
		}
		c.Operations += of.Operations
		switch {
		case of.Operations == 0:
		case k.Rate >= slowest:
			seconds = max(seconds, float64(of.Operations)/k.Rate)
		default:
			set = false
		}
	}
	switch {
	case set && seconds > 0:
		c.RateFrom = RateSet
	case !set && p.LastRate >= slowest:
		c.RateFrom, seconds = RateSeen, max(seconds, float64(c.Operations)/p.LastRate)
	default:
		return
	}
	c.Minutes = math.Ceil(seconds/6) / 10
}
