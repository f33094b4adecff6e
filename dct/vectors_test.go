package dct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A vector is one case of testdata/dct: how to change a healthy repository, and what the
// reader must make of the result. README.md there describes the notation. They are
// scripts and not files because trust data expires.
type vector struct {
	name   string
	expect string   // ok, timeout, or a kind of error and the role it names
	says   string   // part of the error's text
	pins   string   // key (the repository's own), none, tofu or other
	known  string   // nothing, root or versions
	allow  []string // what may be expired; degraded: that releases may be unpublished
	via    string   // for edits of the server's answers: plain, transport, or both
	shows  []string // targets and findings, where they differ from the healthy repository's
	finds  []string // findings as class and role, beside the healthy repository's targets
	edits  []string
}

var vectorKinds = map[string]error{
	"refused": ErrRefused, "expired": ErrExpired, "incomplete": ErrIncomplete, "unsigned": ErrUnsigned,
	"unpinned": ErrUnpinnedRoot, "unavailable": ErrUnavailable, "denied": ErrDenied, "not-notary": ErrNotNotary,
}

// loadVectors reads all of testdata/dct. Vectors with several roles become several.
func loadVectors(t testing.TB) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.FromSlash("../testdata/dct/*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("listing vectors: %d files, %v", len(files), err)
	}
	var all []vector
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatalf("reading vectors: %v", err)
		}
		some, err := parseVectors(strings.TrimSuffix(filepath.Base(f), ".txt"), string(raw))
		if err != nil {
			t.Fatalf("reading vectors in %s: %v", f, err)
		}
		all = append(all, some...)
	}
	return all
}

// parseVectors reads stanzas that are separated by empty lines.
func parseVectors(file, text string) ([]vector, error) {
	var all []vector
	seen := map[string]bool{}
	for stanza := range strings.SplitSeq(text, "\n\n") {
		v, roles, err := parseVector(stanza)
		if err != nil {
			return nil, err
		}
		if v.name == "" {
			continue // comments alone
		}
		for _, role := range roles {
			each := v.forRole(role)
			each.name = file + "/" + each.name
			if seen[each.name] {
				return nil, fmt.Errorf("%s is there twice", each.name)
			}
			seen[each.name] = true
			all = append(all, each)
		}
	}
	return all, nil
}

func parseVector(stanza string) (v vector, roles []string, err error) {
	v, roles = vector{pins: "key", known: "nothing", via: "both"}, []string{""}
	for line := range strings.SplitSeq(strings.Trim(stanza, "\n"), "\n") {
		if edit, ok := strings.CutPrefix(line, "- "); ok {
			v.edits = append(v.edits, edit)
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		one := map[string]*string{
			"vector": &v.name, "expect": &v.expect, "says": &v.says, "pins": &v.pins, "known": &v.known, "via": &v.via,
		}
		switch {
		case ok && one[key] != nil:
			*one[key] = value
		case ok && key == "roles":
			roles = strings.Fields(value)
		case ok && key == "allow":
			v.allow = strings.Fields(value)
		case ok && key == "shows":
			v.shows = append(v.shows, value)
		case ok && key == "finds":
			v.finds = append(v.finds, value)
		case line != "":
			return v, nil, fmt.Errorf("%s: line %q is of no known kind", v.name, line)
		}
	}
	if v.name != "" && v.expect == "" {
		return v, nil, fmt.Errorf("%s expects nothing", v.name)
	}
	return v, roles, nil
}

// forRole puts a role in the place of $ROLE.
func (v vector) forRole(role string) vector {
	if role == "" {
		return v
	}
	v.name += "/" + role
	v.expect, v.known = strings.ReplaceAll(v.expect, "$ROLE", role), strings.ReplaceAll(v.known, "$ROLE", role)
	v.edits = slices.Clone(v.edits)
	for i, e := range v.edits {
		v.edits[i] = strings.ReplaceAll(e, "$ROLE", role)
	}
	return v
}

// TestVectors: each kind of damage, and each kind of attack, is met with the answer that
// its vector names.
func TestVectors(t *testing.T) {
	t.Parallel()
	base := vectorBase(t)
	healthy, err := base.reader().Read(context.Background(), gun(t, base.gun), Known{})
	must(t, err)
	for _, v := range loadVectors(t) {
		for _, via := range v.ways() {
			t.Run(strings.TrimSuffix(v.name+" "+via, " "), func(t *testing.T) {
				t.Parallel()
				v.run(t, base.clone(t), healthy, via)
			})
			if v.expect == "timeout" {
				continue
			}
			t.Run(strings.TrimSuffix(v.name+" "+via, " ")+" cached", func(t *testing.T) {
				t.Parallel()
				v.runCached(t, base.clone(t), healthy, via)
			})
		}
	}
}

// ways are the transports to run it with: none where only files are changed.
func (v vector) ways() []string {
	switch {
	case !slices.ContainsFunc(v.edits, func(e string) bool { return strings.HasPrefix(e, "http ") }):
		return []string{""}
	case v.via == "both":
		return []string{"plain", "transport"}
	}
	return []string{v.via}
}

// apply makes the vector's changes, and what to read the result with.
func (v vector) apply(t *testing.T, m *mint, healthy *Repository, via string) (*Reader, Known) {
	reader := &Reader{Pins: v.pinsFor(m), AllowExpired: v.allow, AllowDegraded: slices.Contains(v.allow, "degraded")}
	known := map[string]Known{"nothing": {}, "root": {Root: m.files["root"]}, "versions": healthy.Known()}[v.known]
	apply(t, m, v.edits)
	reader.Source = sourceVia(t, m, via)
	return reader, known
}

func (v vector) run(t *testing.T, m *mint, healthy *Repository, via string) {
	reader, known := v.apply(t, m, healthy, via)
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	if v.expect != "timeout" {
		ctx = t.Context()
	}
	got, err := reader.Read(ctx, gun(t, m.gun), known)
	kind, role, _ := strings.Cut(v.expect, " ")
	switch {
	case kind == "ok":
		must(t, err)
		v.check(t, got, healthy)
	case kind == "timeout":
		if !errors.Is(err, context.DeadlineExceeded) || got != nil {
			t.Errorf("error %v", err)
		}
	case vectorKinds[kind] == nil:
		t.Errorf("no such expectation: %s", v.expect)
	default:
		wantError(t, got, err, vectorKinds[kind], role)
		if err != nil && !strings.Contains(err.Error(), v.says) {
			t.Errorf("the error does not say %q: %v", v.says, err)
		}
	}
}

// runCached reads with the healthy repository's files kept. Damage may be hidden by them,
// as by not asking for a file: what is read then is what the publisher signed last, and no
// other thing is accepted than without them.
func (v vector) runCached(t *testing.T, m *mint, healthy *Repository, via string) {
	cache := &memoryCache{}
	healthyReader := m.reader()
	healthyReader.Cache = cache
	_, err := healthyReader.Read(t.Context(), gun(t, m.gun), Known{})
	must(t, err)
	reader, known := v.apply(t, m, healthy, via)
	reader.Cache = cache
	got, err := reader.Read(t.Context(), gun(t, m.gun), known)
	kind, role, _ := strings.Cut(v.expect, " ")
	switch {
	case err == nil && kind != "ok":
		if show(got) != show(healthy) || len(got.Expired()) > 0 {
			t.Errorf("accepted:\n%s", show(got))
		}
	case err == nil:
		if show(got) != show(healthy) {
			v.check(t, got, healthy)
		}
	case kind == "ok":
		t.Error(err)
	default:
		wantError(t, got, err, vectorKinds[kind], role)
	}
}

// memoryCache keeps the files of one repository.
type memoryCache struct{ files [][]byte }

func (c *memoryCache) Load(GUN) [][]byte          { return c.files }
func (c *memoryCache) Keep(_ GUN, files [][]byte) { c.files = files }

// check compares what was accepted with what was to be.
func (v vector) check(t *testing.T, got, healthy *Repository) {
	t.Helper()
	var found []string
	for _, f := range got.Findings() {
		found = append(found, f.Class+" "+f.Role)
	}
	if v.finds != nil && !slices.Equal(found, v.finds) {
		t.Errorf("found %q, want %q", found, v.finds)
	}
	want, have := show(healthy), show(got)
	if v.finds != nil {
		have = show(&Repository{targets: got.Targets()}) // odd names are not for lines of text
	}
	if v.shows != nil {
		want = strings.Join(v.shows, "\n")
	}
	if have != want {
		t.Errorf("got\n%s\nwant\n%s", have, want)
	}
}

func (v vector) pinsFor(m *mint) Pins {
	switch v.pins {
	case "key":
		return Pins{Certs: map[string][]string{m.gun: m.pin}}
	case "other":
		return Pins{Certs: map[string][]string{m.gun: {sha("1")}}, TOFU: true}
	}
	return Pins{TOFU: v.pins == "tofu"}
}
