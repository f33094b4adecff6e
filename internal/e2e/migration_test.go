package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// migration is what one user does with one registry and one Notary server.
type migration struct {
	*home
	registry *registry
	notary   *notaryServer
	pins     string   // file of trust pinning
	key      []string // flags for the key and its signer
}

// dct2notation runs a verb and returns how it ended.
func (m *migration) dct2notation(t testing.TB, verb string, args ...string) result {
	t.Helper()
	return m.run(t, "dct2notation", m.line(verb, args...)...)
}

// line returns the command line for a verb.
func (m *migration) line(verb string, args ...string) []string {
	flags := append([]string{verb, "--notary-server", m.notary.url, "--trust-pinning", m.pins}, m.registry.flags()...)
	if verb != "verify" && verb != "inspect" {
		flags = append(flags, m.key...)
	}
	return append(flags, args...)
}

// exits runs a verb that must end with that code.
func (m *migration) exits(t testing.TB, code int, verb string, args ...string) result {
	t.Helper()
	r := m.dct2notation(t, verb, args...)
	if r.code != code {
		t.Fatalf("got exit code %d, want %d: %s", r.code, code, r)
	}
	return r
}

// runCounts runs a complete migration and returns how many items had which result.
func (m *migration) runCounts(t testing.TB, gun string) map[string]int {
	t.Helper()
	var report struct {
		Complete bool           `json:"complete"`
		Results  map[string]int `json:"results"`
	}
	decode(t, m.exits(t, 0, "run", "-o", "json", gun), &report)
	if !report.Complete {
		t.Errorf("run of %s: got exit code 0 and not complete, want it complete", gun)
	}
	return report.Results
}

// class is what verify reports about a tag.
type class struct {
	Class string
	Bound bool
}

// verify compares both signature sets. It must exit with that code, and must give exactly these
// tags these classes.
func (m *migration) verify(t testing.TB, code int, gun string, want map[string]class) {
	t.Helper()
	var report struct {
		Repositories []struct {
			Tags []struct {
				Tag string `json:"tag"`
				class
			} `json:"tags"`
		} `json:"repositories"`
	}
	r := m.exits(t, code, "verify", "-o", "json", gun)
	decode(t, r, &report)
	got := map[string]class{}
	for _, repo := range report.Repositories {
		for _, tag := range repo.Tags {
			got[tag.Tag] = tag.class
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("verify: got %v, want %v\n%s", got, want, r)
	}
}

// notationVerify asks the real notation command about an image.
func (m *migration) notationVerify(t testing.TB, reference string, args ...string) result {
	t.Helper()
	line := slices.Concat([]string{"verify"}, m.registry.notationFlags(), args, []string{reference})
	return m.notationHome().run(t, "notation", line...)
}

// notationHome is the same home for the notation command, which has no flag for an authority.
// dct2notation must not see that variable: it gets --ca-file instead.
func (m *migration) notationHome() *home {
	if m.registry.tls == nil {
		return m.home
	}
	h := *m.home
	h.extra = append(slices.Clone(h.extra), "SSL_CERT_FILE="+m.registry.tls.CAFile)
	return &h
}

// signatures returns how many signatures the real notation command lists for an image.
func (m *migration) signatures(t testing.TB, reference string) int {
	t.Helper()
	var report struct {
		Signatures []json.RawMessage
	}
	line := slices.Concat([]string{"inspect", "-o", "json"}, m.registry.notationFlags(), []string{reference})
	decode(t, m.notationHome().must(t, "notation", line...), &report)
	return len(report.Signatures)
}

// decode reads the JSON that a program printed.
func decode(t testing.TB, r result, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		t.Fatalf("reading the output: got error %v, want none: %s", err, r)
	}
}
