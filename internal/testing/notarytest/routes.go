package notarytest

import (
	"regexp"
	"strconv"
	"strings"
)

// A kind is what a request wants.
type kind int

const (
	unknown   kind = iota
	ping           // GET /v2/
	fetch          // GET a file
	publish        // POST files
	erase          // DELETE a GUN
	askKey         // GET a server-held key
	newKey         // POST: rotate it
	feed           // GET the changefeed of a GUN
	feedOfAll      // GET the changefeed of all
)

// A route is a request understood. A name is the last part of the path without extension.
type route struct {
	kind kind
	gun  string
	name string
}

const (
	prefix    = "/v2/"
	tufPart   = "/_trust/tuf/"
	feedPart  = "/_trust/changefeed"
	globalURL = "/v2/_trust/changefeed"
)

// routeOf understands a request line. GUNs contain slashes, so they are what stands before the
// last /_trust/.
func routeOf(method, path string) route {
	switch {
	case method == "GET" && path == prefix:
		return route{kind: ping}
	case method == "GET" && path == globalURL:
		return route{kind: feedOfAll}
	case !strings.HasPrefix(path, prefix):
		return route{}
	}
	rest := strings.TrimPrefix(path, prefix)
	if gun, ok := strings.CutSuffix(rest, feedPart); ok && method == "GET" && validGUN(gun) {
		return route{kind: feed, gun: gun}
	}
	at := strings.LastIndex(rest, tufPart)
	if at < 0 || !validGUN(rest[:at]) {
		return route{}
	}
	return tufRoute(method, rest[:at], rest[at+len(tufPart):])
}

// tufRoute understands what follows /_trust/tuf/.
func tufRoute(method, gun, last string) route {
	switch {
	case last == "" && method == "POST":
		return route{kind: publish, gun: gun}
	case last == "" && method == "DELETE":
		return route{kind: erase, gun: gun}
	case last == "timestamp.key" || last == "snapshot.key":
		r := route{kind: askKey, gun: gun, name: strings.TrimSuffix(last, ".key")}
		switch method {
		case "GET":
			return r
		case "POST":
			r.kind = newKey
			return r
		}
		return route{}
	}
	if name, ok := strings.CutSuffix(last, ".json"); ok && method == "GET" {
		return route{kind: fetch, gun: gun, name: name}
	}
	return route{}
}

// validGUN follows the real server's router, which takes anything without an asterisk.
func validGUN(gun string) bool { return gun != "" && !strings.Contains(gun, "*") }

const rolePattern = `(root|targets(?:/[^/\s]+)*|snapshot|timestamp)`

var (
	byChecksum = regexp.MustCompile(`^` + rolePattern + `\.([a-fA-F0-9]{64})$`)
	byVersion  = regexp.MustCompile(`^([0-9]+)\.` + rolePattern + `$`)
	byRole     = regexp.MustCompile(`^` + rolePattern + `$`)
)

// lookUp finds a file by the name that clients use: role, version.role, role.sha256. The
// checksum is tried first, because a role's name might swallow it.
func (sh *shelf) lookUp(gun, name string) ([]byte, bool) {
	if m := byChecksum.FindStringSubmatch(name); m != nil {
		sum := strings.ToLower(m[2])
		v, ok := sh.find(gun, m[1], func(v Version) bool { return v.SHA256 == sum })
		return v.Raw, ok
	}
	if m := byVersion.FindStringSubmatch(name); m != nil {
		number, err := strconv.Atoi(m[1])
		v, ok := sh.find(gun, m[2], func(v Version) bool { return v.Number == number })
		return v.Raw, ok && err == nil
	}
	if m := byRole.FindStringSubmatch(name); m != nil {
		v, ok := sh.latest(gun, m[1])
		return v.Raw, ok
	}
	return nil, false
}
