//go:build linux

package main

import (
	"testing"
	"time"
)

const one, two = "aa11", "bb22" // digests, in hexadecimal

// TestRequestsAreSortedByPurpose tells the story of an image with and without the
// referrers API: the same list is asked for to look, to add to it, and to confirm.
func TestRequestsAreSortedByPurpose(t *testing.T) {
	t.Parallel()
	for name, story := range map[string][]struct{ method, path, want string }{
		"referrers API": {
			{"GET", "/token", "other GET/token"},
			{"GET", "/v2/", "other GET/v2/"},
			{"HEAD", "/v2/a/b/manifests/v1", "looking HEAD manifests/tag"},
			{"HEAD", "/v2/a/b/manifests/sha256:" + one, "looking HEAD manifests/digest"},
			{"GET", "/v2/a/b/referrers/sha256:" + one, "looking GET referrers"},
			{"GET", "/v2/a/b/blobs/sha256:" + two, "looking GET blobs/digest"},
			{"HEAD", "/v2/a/b/blobs/sha256:" + two, "pushing HEAD blobs/digest"},
			{"POST", "/v2/a/b/blobs/uploads/", "pushing POST blobs/uploads"},
			{"PUT", "/v2/a/b/blobs/uploads/1", "pushing PUT blobs/uploads"},
			{"PUT", "/v2/a/b/manifests/sha256:" + two, "pushing PUT manifests/digest"},
			{"GET", "/v2/a/b/referrers/sha256:" + one, "confirming GET referrers"},
			{"GET", "/v2/other/referrers/sha256:" + one, "looking GET referrers"},
		},
		"tag schema": {
			{"GET", "/v2/a/manifests/sha256-" + one, "looking GET manifests/sha256-"},
			{"PUT", "/v2/a/manifests/sha256:" + two, "pushing PUT manifests/digest"},
			{"GET", "/v2/a/manifests/sha256-" + one, "pushing GET manifests/sha256-"},
			{"PUT", "/v2/a/manifests/sha256-" + one, "pushing PUT manifests/sha256-"},
			{"DELETE", "/v2/a/manifests/sha256:" + two, "pushing DELETE manifests/digest"},
			{"GET", "/v2/a/manifests/sha256-" + one, "confirming GET manifests/sha256-"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDiary()
			for i, s := range story {
				d.note(s.method, s.path, false, time.Unix(int64(i), 0)) // is no look
				before := d.countsSoFar()
				d.note(s.method, s.path, true, time.Unix(int64(i), 0))
				if d.countsSoFar()[s.want] != before[s.want]+1 {
					t.Fatalf("%s %s counts as %v, want %s", s.method, s.path, difference(before, d.countsSoFar()), s.want)
				}
			}
			if n := d.pushCount(); n != 1 {
				t.Errorf("%d signatures were pushed, want 1", n)
			}
		})
	}
}

// TestLateListenersAreToldOfLateSignatures shows that who has seen some hears of the rest
// only, and of where they went.
func TestLateListenersAreToldOfLateSignatures(t *testing.T) {
	t.Parallel()
	d := newDiary()
	d.note("PUT", "/v2/a/manifests/sha256:"+one, true, time.Unix(1, 0))
	d.note("PUT", "/v2/a/b/manifests/sha256:"+two, true, time.Unix(2, 0))
	d.noteTrust("/v2/host:1/a/_trust/tuf/root.json", time.Unix(3, 0))
	d.noteTrust("/v2/", time.Unix(4, 0))
	want := Push{"a/b", time.Unix(2, 0).UnixNano()}
	if got := d.pushesFrom(1); len(got) != 1 || got[0] != want {
		t.Errorf("pushes %v, want %v", got, want)
	}
	if got := d.pushesFrom(5); len(got) != 0 {
		t.Errorf("pushes %v, want none", got)
	}
	if at := d.lastTrust("host:1/a"); !at.Equal(time.Unix(3, 0)) {
		t.Errorf("trust data asked for at %v", at)
	}
}
