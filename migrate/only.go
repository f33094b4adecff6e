package migrate

import (
	"slices"
)

// narrow marks the work that the filter leaves out.
func (r *reading) narrow(filter func(FilterItem) bool) {
	if filter == nil {
		return
	}
	for i, w := range r.work {
		ask := FilterItem{GUN: r.GUN().String(), Place: r.place, Digests: append([]string{w.Key.Digest}, w.indexes()...)}
		for _, t := range w.Targets { // for a child, those of its indexes
			ask.Tags = append(ask.Tags, t.Tag())
		}
		r.work[i].aside = !filter(ask)
	}
}

// planned removes from a plan what the filter leaves out.
func planned(work []Work) []Work {
	return slices.DeleteFunc(work, func(w Work) bool { return w.aside })
}
