//go:build linux

package main

import (
	"strings"
	"testing"
)

// TestTheFirstImageOfARepositoryWeighsNothing shows that only what grows with the images
// counts.
func TestTheFirstImageOfARepositoryWeighsNothing(t *testing.T) {
	t.Parallel()
	few := map[string]int64{"looking GET referrers": 101, "pushing PUT manifests/digest": 100, "other GET/token": 9}
	more := map[string]int64{"looking GET referrers": 201, "pushing PUT manifests/digest": 250, "other GET/token": 9, "looking HEAD manifests/tag": 25}
	each := perImage(few, more, 100)
	total, which := ofPurpose(each, looking)
	if total != 1.25 || which != "GET referrers 1.00, HEAD manifests/tag 0.25" {
		t.Errorf("looking: got %v, %s, want 1.25, GET referrers 1.00 and HEAD manifests/tag 0.25", total, which)
	}
	if total, _ := ofPurpose(each, other); total != 0 {
		t.Errorf("tokens: got a cost of %v each, want 0", total)
	}
}

// TestConfirmingIsApart shows that the aim leaves it out and what is refused for want of a
// token, and nothing else.
func TestConfirmingIsApart(t *testing.T) {
	t.Parallel()
	for want, each := range map[string]map[string]float64{
		"4.00, met":    {"looking a": 1, "pushing b": 3, "confirming c": 7, "refused d": 1},
		"4.10, MISSED": {"looking a": 1, "pushing b": 3, "other GET/token": 0.1},
	} {
		var out strings.Builder
		printRequestsEach(&out, "name", each, 4)
		if !strings.HasSuffix(out.String(), want+"\n") {
			t.Errorf("got printed %q, want it to end with %q", out.String(), want)
		}
	}
}
