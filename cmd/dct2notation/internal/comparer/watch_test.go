package comparer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// A pass is named by its outcome, and is complete only if everything was compared.
func TestOutcomesOfVerifyPasses(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for want, c := range map[string]struct {
		ctx   context.Context
		whole bool
		err   error
	}{
		"complete": {t.Context(), true, nil}, "partial": {t.Context(), false, nil}, "disagree": {t.Context(), true, cli.Exit(cli.ExitDisagree)},
		"incomplete": {t.Context(), false, cli.Exit(cli.ExitFailures)}, "nothing-read": {t.Context(), false, dct.ErrNothingRead},
		"error": {t.Context(), false, errors.New("down")}, "interrupted": {over, false, context.Canceled},
	} {
		if got := outcome(c.ctx, passed{whole: c.whole}, c.err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// The metrics count a repository as compared only if it was compared as a whole.
func TestComparedIsWholeOnlyWithoutGaps(t *testing.T) {
	t.Parallel()
	soon := time.Unix(2e9, 0)
	well := func() verify.Repository {
		return verify.Repository{GUN: "a/b", Totals: map[verify.Class]int{verify.Agree: 1}, Tags: []verify.Row{{Tag: "v1", Class: verify.Agree, CertificateExpires: soon}}}
	}
	for name, c := range map[string]struct {
		harm   func(r *verify.Repository)
		whole  bool
		unread string
	}{
		"all":              {func(*verify.Repository) {}, true, ""},
		"disagrees":        {func(r *verify.Repository) { r.Totals[verify.Untrusted] = 1 }, true, ""},
		"a tag is unknown": {func(r *verify.Repository) { r.Totals[verify.Unknown] = 1 }, false, ""},
		"tags left out":    {func(r *verify.Repository) { r.LeftOut = 1 }, false, ""},
		"in part":          {func(r *verify.Repository) { r.Reason, r.Totals[verify.Unknown] = "no list of tags", 1 }, false, "unknown"},
		"not read":         {func(r *verify.Repository) { r.Class, r.Totals, r.Tags = verify.Unknown, nil, nil }, false, "unknown"},
		"refused":          {func(r *verify.Repository) { r.Class, r.Totals, r.Tags = verify.Untrusted, nil, nil }, false, "untrusted"},
	} {
		r := well()
		c.harm(&r)
		got := compared(r)
		if got.Whole != c.whole || got.Unread != c.unread || (got.Rows == nil) != (r.Class != "") || r.Class == "" && !got.Signed.Equal(soon) {
			t.Errorf("%s: got %+v, want whole %v, unread %q", name, got, c.whole, c.unread)
		}
		if want := string(verify.Agree); r.Class == "" && got.Tags["v1"] != want {
			t.Errorf("%s: got the tags %v, want v1 as %s", name, got.Tags, want)
		}
	}
}

// The alert rules and the dashboard use only classes that exist, and every problem raises an alert.
func TestAlertsKnowEveryClass(t *testing.T) {
	t.Parallel()
	alerted := map[string]bool{}
	for _, file := range []string{"prometheus/dct2notation.rules.yaml", "grafana/dct2notation.json"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "deploy", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`class(=~|=|!~|!=)\\?"([^"\\]+)`).FindAllStringSubmatch(string(raw), -1) {
			for _, class := range strings.Split(m[2], "|") {
				if !slices.Contains(report.Classes(), verify.Class(class)) {
					t.Errorf("%s: got class %s, want one that exists", file, class)
				}
				if m[1][0] == '=' && strings.HasPrefix(file, "prometheus") {
					alerted[class] = true
				}
			}
		}
	}
	for _, class := range report.Classes() {
		if class != verify.Agree && !alerted[string(class)] {
			t.Errorf("got no alert on %s, want one", class)
		}
	}
}
