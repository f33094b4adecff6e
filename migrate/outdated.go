package migrate

import (
	"context"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/state"
)

// outdated drops the envelope of an earlier run that binds a tag which DCT has moved since,
// or which the plan leaves out, unless the registry lists it already: then it is out, and
// verify tells. With --rebind, also one that lacks a tag. The item is then planned again.
func (r *run) outdated(ctx context.Context, w Work, image Image, stage *state.Stage) (bool, error) {
	envelope, ok, err := r.Ledger.Envelope(w.Key)
	if err != nil || !ok || *stage != state.Signed {
		return false, fatally(err)
	}
	now := w.metadata(r.Tool)
	stale := ""
	for name, role := range envelope.Metadata {
		if strings.HasPrefix(name, MetadataTag) && now[name] != role {
			stale = name
		}
	}
	for name, role := range now {
		if r.Rebind && strings.HasPrefix(name, MetadataTag) && envelope.Metadata[name] != role {
			stale = name
		}
	}
	if now[MetadataIndex] != "" && !subset(envelope.Metadata[MetadataIndex], now[MetadataIndex]) {
		stale = MetadataIndex
	}
	if stale == "" {
		return false, nil
	}
	listed, _, err := r.Registry.Listed(ctx, image, envelope.ManifestDigest)
	if err != nil || listed {
		return false, err
	}
	if err := r.Ledger.Discard(w.Key, "what it says of "+stale+" is so no longer"); err != nil {
		return false, fatally(err)
	}
	*stage = state.Planned
	return true, nil
}

// subset tells whether all parts of one list are in another.
func subset(part, whole string) bool {
	all := strings.Split(whole, ",")
	for p := range strings.SplitSeq(part, ",") {
		if p != "" && !slices.Contains(all, p) {
			return false
		}
	}
	return true
}
