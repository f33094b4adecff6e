//go:build linux

package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A diary notes what the registry is asked for, and why, and when signatures arrive. Why
// is seen from outside: an image's signatures are listed first to look, and once a
// signature was pushed to confirm it.
type diary struct {
	mu     sync.Mutex
	counts map[string]int64     // by purpose and kind; guarded by mu
	listed map[string]bool      // images whose signatures were listed; guarded by mu
	tagged map[string]bool      // images whose list under a tag was written; guarded by mu
	pushes []Push               // guarded by mu
	trust  map[string]time.Time // the last request to Notary, by GUN; guarded by mu
}

// Push is a signature's manifest on its way into the registry.
type Push struct {
	Repository string // without the host
	UnixNano   int64
}

// What a request is for.
const (
	looking    = "looking"
	pushing    = "pushing"
	confirming = "confirming"
	other      = "other"   // tokens
	refused    = "refused" // asked for without a token, as it is until there is one
)

func newDiary() *diary {
	return &diary{counts: map[string]int64{}, listed: map[string]bool{}, tagged: map[string]bool{}, trust: map[string]time.Time{}}
}

// note writes a request to the registry down.
func (d *diary) note(method, path string, authorized bool, at time.Time) {
	kind, repository, subject := kindOf(method, path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !authorized {
		d.counts[refused+" "+kind]++
		return
	}
	d.counts[d.purpose(kind, repository+"@"+subject)+" "+kind]++
	if kind == "PUT manifests/digest" {
		d.pushes = append(d.pushes, Push{repository, at.UnixNano()})
	}
}

// purpose tells why something was asked for. The caller holds mu.
func (d *diary) purpose(kind, image string) string {
	switch method, what, _ := strings.Cut(kind, " "); {
	case what == "":
		return other
	case kind == "PUT manifests/sha256-":
		d.tagged[image] = true
		return pushing
	case method != http.MethodGet && method != http.MethodHead, strings.HasPrefix(what, "blobs") && method == http.MethodHead:
		return pushing
	case what != "referrers" && what != "manifests/sha256-":
		return looking
	case !d.listed[image]:
		d.listed[image] = true
		return looking
	case what == "manifests/sha256-" && !d.tagged[image]:
		return pushing // a list is read before it is written
	}
	return confirming
}

// kindOf sorts a request: its method and what kind of thing it is about, the repository,
// and the image's digest, in hexadecimal, where the path names one. Requests that are about no content
// have a kind without a space.
func kindOf(method, path string) (kind, repository, subject string) {
	rest, found := strings.CutPrefix(path, "/v2/")
	if !found || rest == "" {
		return method + path, "", ""
	}
	for _, what := range []string{"manifests", "referrers", "blobs"} {
		repository, name, found := strings.Cut(rest, "/"+what+"/")
		if !found {
			continue
		}
		digest := strings.HasPrefix(name, "sha256:")
		switch {
		case what == "referrers":
			return method + " referrers", repository, strings.TrimPrefix(name, "sha256:")
		case what == "blobs" && strings.HasPrefix(name, "uploads/"):
			return method + " blobs/uploads", repository, ""
		case what == "blobs":
			return method + " blobs/digest", repository, ""
		case digest:
			return method + " manifests/digest", repository, strings.TrimPrefix(name, "sha256:")
		case strings.HasPrefix(name, "sha256-"):
			return method + " manifests/sha256-", repository, strings.TrimPrefix(name, "sha256-")
		}
		return method + " manifests/tag", repository, ""
	}
	return method + path, "", ""
}

// noteTrust writes a request to Notary down.
func (d *diary) noteTrust(path string, at time.Time) {
	gun, _, found := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/_trust/")
	if !found {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trust[gun] = at
}

func (d *diary) countsSoFar() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.counts)
}

// pushesFrom is the pushes without the first few.
func (d *diary) pushesFrom(first int) []Push {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.pushes[min(first, len(d.pushes)):])
}

func (d *diary) pushCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pushes)
}

// lastTrust is when Notary was asked last for something of a GUN.
func (d *diary) lastTrust(gun string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trust[gun]
}
