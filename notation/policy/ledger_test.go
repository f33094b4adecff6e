package policy_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

func seq[T any](all ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, one := range all {
			if !yield(one, nil) {
				return
			}
		}
	}
}

// ledger is that of a run that signed with the key release, countersigned or not.
func ledger(t *testing.T, tsa string, images ...policy.Image) policy.Ledger {
	t.Helper()
	c := chain(t, "release")
	var der [][]byte
	for _, one := range c {
		der = append(der, one.Raw)
	}
	leaf := policy.Thumbprint(c[0])
	return policy.Ledger{
		Recorded: func(key string) []policy.Recorded {
			if key != "release" {
				return nil
			}
			return []policy.Recorded{{Identity: "certificate:sha256:" + leaf, Chain: der, TSA: tsa}}
		},
		Signatures: seq(policy.Signature{Key: "release", Digest: "sha256:s", Leaf: leaf}),
		Images:     seq(images...),
	}
}

func image(place string, state policy.ImageState) policy.Image {
	return policy.Image{Place: "registry.example.com/" + place, GUN: "registry.example.com/" + place, Key: "release", Signature: "sha256:s", State: state}
}

// A ledger with images that would be refused makes the policy incomplete, or is at least reported.
// One that could not be read to its end does not count.
func TestWhatALedgerHasNotSignedIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		images       []policy.Image
		repositories int
		problem      string // why it is incomplete; empty: it is complete
		warning      string
	}{
		"all signed":                    {[]policy.Image{image("a", policy.Signed), image("a", policy.Signed), image("b", policy.Signed)}, 2, "", ""},
		"nothing of one":                {[]policy.Image{image("a", policy.Signed), image("b", policy.Unsigned)}, 1, "none of its images is signed: repository registry.example.com/b, images 1", ""},
		"not yet":                       {[]policy.Image{image("a", policy.Signed), image("a", policy.Unfinished)}, 1, "run again first: repository registry.example.com/a, images 1", ""},
		"never":                         {[]policy.Image{image("a", policy.Signed), image("a", policy.Unsigned)}, 1, "", "without a signature would be refused"},
		"undone":                        {[]policy.Image{image("a", policy.Signed), image("a", policy.Undone)}, 1, "", "undo has deleted"},
		"gone from the registry":        {[]policy.Image{image("a", policy.Signed), image("b", policy.Gone)}, 1, "", "all of its images are gone"},
		"gone, beside one that is good": {[]policy.Image{image("a", policy.Signed), image("a", policy.Gone)}, 1, "", ""},
		"gone, beside one that is not":  {[]policy.Image{image("a", policy.Unsigned), image("a", policy.Gone)}, 0, "images 1", ""},
	} {
		var log bytes.Buffer
		m := policy.NewMigrated(slog.New(slog.NewTextHandler(&log, nil)))
		must(t, m.ReadLedger(ledger(t, "", c.images...)))
		if n := m.Repositories(); n != c.repositories {
			t.Errorf("%s: got %d repositories, want %d", name, n, c.repositories)
		}
		if got := problemsOf(m); (got == "") != (c.problem == "") || !strings.Contains(got, c.problem) {
			t.Errorf("%s: got problems %q, want one with %q", name, got, c.problem)
		}
		if got := log.String(); strings.Contains(got, "level=WARN") != (c.warning != "") || !strings.Contains(got, c.warning) {
			t.Errorf("%s: got the log %q, want a warning with %q", name, got, c.warning)
		}
	}
	broken := ledger(t, "", image("a", policy.Signed))
	broken.Images = func(yield func(policy.Image, error) bool) { yield(policy.Image{}, errors.New("damaged")) }
	if err := policy.NewMigrated(slog.New(slog.DiscardHandler)).ReadLedger(broken); err == nil || err.Error() != "damaged" {
		t.Errorf("a ledger that cannot be read: got %v, want its error", err)
	}
}

// The ledger chooses no certificate: the given ones are used. Where the ledger differs, that is
// refused or reported.
func TestCertificatesAreGivenAndNotTheLedgers(t *testing.T) {
	t.Parallel()
	release := policy.Thumbprint(chain(t, "release")[0])
	for name, c := range map[string]struct {
		given   []string
		says    string // the error
		problem string
	}{
		"a file":                        {[]string{"release=release"}, "", ""},
		"the ledger's thumbprint":       {[]string{"release=sha256:" + release}, "", ""},
		"another thumbprint":            {[]string{"release=sha256:" + strings.Repeat("0", 64)}, "and not the one that was given", ""},
		"nothing":                       {nil, "its certificate is not given\nhint: the ledger says that it is", ""},
		"another's certificate alone":   {[]string{"release=alice"}, "which is not among those that are given", ""},
		"another's certificate as well": {[]string{"release=release", "release=alice"}, "", "has signed nothing in the ledger"},
		"of a key that did not sign":    {[]string{"alice=alice"}, "the keys that signed are release", ""},
	} {
		m := policy.NewMigrated(slog.New(slog.DiscardHandler))
		must(t, m.ReadLedger(ledger(t, "", image("a", policy.Signed))))
		got, err := m.Certificates(policy.Given{
			Certificates: c.given, Now: time.Now(),
			Read: func(path string) ([]*x509.Certificate, error) { return chain(t, path), nil },
		}, policy.Enforce)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got error %v, want %q", name, err, c.says)
		}
		if want := max(1, len(c.given)); err == nil && len(got["release"]) != want {
			t.Errorf("%s: got %d certificates, want %d", name, len(got["release"]), want)
		}
		if problems := problemsOf(m); (problems == "") != (c.problem == "") || !strings.Contains(problems, c.problem) {
			t.Errorf("%s: got problems %q, want one with %q", name, problems, c.problem)
		}
	}
}

// A consumer that requires a timestamp on every signature refuses those of keys that no run had
// countersigned. For other consumers nothing is reported.
func TestUnstampedSignaturesAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		for _, authority := range []string{"", "https://tsa.example.com"} {
			m := policy.NewMigrated(slog.New(slog.DiscardHandler))
			must(t, m.ReadLedger(ledger(t, authority, image("a", policy.Signed))))
			k := key(t, "release")
			k.TSA = chain(t, "tsa")
			trust := policy.Trust{Statements: m.Statements("x", map[string][]policy.Key{"release": {k}})}
			m.TellUnstamped(c, trust)
			want := authority == "" && slices.Contains([]string{"kyverno", "ratify-v2"}, c.Name)
			if got := len(m.Problems) > 0; got != want {
				t.Errorf("%s, authority %q: got problems %q, want one: %t", c.Name, authority, m.Problems, want)
			}
			m.Problems, trust.ClusterPolicy = nil, true
			m.TellUnstamped(c, trust)
			if want := authority == "" && c.Name == "ratify-v2"; (len(m.Problems) > 0) != want {
				t.Errorf("%s, with a ClusterPolicy: got problems %q, want one: %t", c.Name, m.Problems, want)
			}
		}
	}
}

func problemsOf(m *policy.Migrated) string {
	var all []string
	for _, p := range m.Problems {
		all = append(all, p.String())
	}
	return strings.Join(all, "\n")
}
