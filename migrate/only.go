package migrate

import (
	"slices"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// narrow marks the work that is not asked for.
func (e *Engine) narrow(r *reading) {
	if e.Filter == nil {
		return
	}
	for i, w := range r.work {
		ask := FilterItem{GUN: r.GUN().String(), Place: r.place, Digests: append([]string{w.Key.Digest}, w.indexes()...)}
		for _, t := range w.Targets { // of a child those of its indexes
			ask.Tags = append(ask.Tags, t.Tag())
		}
		r.work[i].aside = !e.Filter(ask)
	}
}

// notAsked reports what is not asked for, and returns the rest. What the ledger has as done
// or skipped counts as that, so that a run of what had failed can end as complete; all else is
// left as it is, and the run is not complete.
func (r *run) notAsked(work []Work) ([]Work, error) {
	asked := make([]Work, 0, len(work))
	for _, w := range work {
		if !w.aside {
			asked = append(asked, w)
			continue
		}
		known, _, err := r.Ledger.Item(w.Key)
		if err != nil {
			return nil, failure.Fatally(err)
		}
		o := r.outcome(w, ResultAlready)
		switch {
		case known.Stage == state.Confirmed:
		case known.Stage == state.Skipped && known.Class != state.ClassUndone:
			o.Result, o.Class, o.Reason = ResultSkipped, failure.Class(known.Class), known.Reason
		default:
			o.Result, o.Class, o.Reason = ResultSkipped, failure.NotAsked, "--only does not name it"
		}
		r.count(w, o)
	}
	return asked, nil
}

// planned leaves out of a plan what is not asked for.
func planned(work []Work) []Work {
	return slices.DeleteFunc(work, func(w Work) bool { return w.aside })
}
