package preflight

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/migrate/report"
)

// answer returns a header with a server's time, off from ours.
func answer(off time.Duration, age string) http.Header {
	h := http.Header{}
	h.Set("Date", time.Now().Add(-off).UTC().Format(http.TimeFormat))
	if age != "" {
		h.Set("Age", age)
	}
	return h
}

func TestClockIsComparedWithTheServers(t *testing.T) {
	t.Parallel()
	type answers map[string][]http.Header
	for name, c := range map[string]struct {
		answers answers
		want    string // results, by host in order
	}{
		"right":                      {answers{"a": {answer(0, "")}}, "ok"},
		"a little off":               {answers{"a": {answer(2*time.Minute, "")}}, "warn"},
		"far ahead":                  {answers{"a": {answer(time.Hour, "")}}, "fail"},
		"far behind":                 {answers{"a": {answer(-time.Hour, "")}}, "fail"},
		"kept by a cache":            {answers{"a": {answer(time.Hour, "3600")}}, "ok"},
		"once from a cache":          {answers{"a": {answer(time.Hour, ""), answer(0, "")}}, "ok"},
		"one server that is wrong":   {answers{"a": {answer(time.Hour, "")}, "b": {answer(0, "")}}, "warn ok"},
		"all servers say the same":   {answers{"a": {answer(time.Hour, "")}, "b": {answer(time.Hour, "")}}, "fail fail"},
		"no server tells it":         {answers{"a": {http.Header{}}}, "unknown"},
		"a date that is none":        {answers{"a": {http.Header{"Date": {"soon"}}}}, "unknown"},
		"an age that nothing can be": {answers{"a": {answer(0, "-99999999999999999999")}}, "ok"},
	} {
		t.Run(name, func(t *testing.T) { // at once: the answers have the present time
			e := &exam{clock: newServerClocks()}
			for host, headers := range c.answers {
				for _, h := range headers {
					e.clock.answered(host, h)
				}
			}
			e.clocks()
			if got := results(e.checks); got != c.want {
				t.Errorf("got %s, want %s: %+v", got, c.want, e.checks)
			}
		})
	}
}

func results(checks []report.Check) string {
	var all []string
	for _, c := range checks {
		all = append(all, string(c.Result))
	}
	return strings.Join(all, " ")
}

func TestCertificateThatExpiresSoonIsAWarning(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		left    time.Duration
		stamped bool
		want    report.Health
		says    string
	}{
		{400 * day, false, report.OK, "in 400 days"},
		{30 * day, false, report.OK, "in 30 days"},
		{30*day - time.Second, false, report.Warn, "in 29 days"},
		{day, false, report.Warn, "in 1 day,"},
		{day - time.Second, false, report.Fail, "in less than 24h0m0s"},
		{day - time.Second, true, report.Warn, "in 0 days"},
		{time.Second, true, report.Warn, "in 0 days"},
		{0, true, report.Fail, "expired at 2026-01-01T00:00:00Z"},
		{-day, false, report.Fail, "expired at 2025-12-31T00:00:00Z"},
	} {
		e := &exam{}
		e.opts.MinValidity = day
		e.expiry("key", now.Add(c.left), c.stamped, now)
		if got := e.checks[0]; got.Result != c.want || !strings.Contains(got.Detail, c.says) {
			t.Errorf("%s left, timestamped %t: got %+v, want %s and %q", c.left, c.stamped, got, c.want, c.says)
		}
	}
}

// Text from servers and plugins is data, and secrets are removed from addresses.
func TestFindingsShowNothingSecretOrHostile(t *testing.T) {
	t.Parallel()
	var f findings
	f.failed("notary-server", "https://user:canary@host/", errors.New("asking https://a:canary@b/?sig=canary: \x1b[2Jno\nhint: see https://x:canary@y\nhint: and mend it"))
	c := f.checks[0]
	for _, text := range []string{c.Subject, c.Detail, c.Hint} {
		if strings.Contains(text, "canary") || strings.ContainsAny(text, "\x1b\n") {
			t.Errorf("got it shown as %q, want no canary and no control characters", text)
		}
	}
	if !strings.Contains(c.Hint, "see ") || !strings.Contains(c.Hint, "and mend it") || strings.Contains(c.Detail, "mend") {
		t.Errorf("got check %+v, want the way to mend it in the hint alone", c)
	}
}

func TestKnownLimitsAreOfTheRegistryNamed(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"docker.io": true, "acme.azurecr.io": true, "1234.dkr.ecr.eu-west-1.amazonaws.com": true, "ghcr.io": true,
		"registry.example.com": false, "azurecr.io.example.com": false,
	} {
		if got := len(knownLimits(host)) > 0; got != want {
			t.Errorf("%s: got known limits %t, want %t", host, got, want)
		}
	}
}
