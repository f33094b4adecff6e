package preflight

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// keys checks each key and its time-stamping authority. known is the configuration that the ledger was made with, or
// nil. The error is a usage error.
func (e *exam) keys(ctx context.Context, f *session.Session, rules []session.KeyRule, known *state.Fingerprint) error {
	var opened []session.OpenedKey
	seen := map[string]bool{}
	authorities := map[string]*notation.TSA{}
	for _, rule := range rules {
		key, err := rule.NotationKey()
		if err != nil {
			e.failed("key", cmp.Or(rule.Key, "default"), err)
			continue
		}
		if seen[key.Name] {
			return session.Twice(key.Name)
		}
		seen[key.Name] = true
		stamped := e.authority(ctx, f, rule, authorities)
		if s := e.key(ctx, f, rule, key, authorities[rule.TSAURL], known); s != nil && stamped {
			opened = append(opened, session.OpenedKey{KeyRule: rule, Signer: s})
		}
	}
	if len(opened) > 0 {
		e.subjects(f, opened)
	}
	if len(opened) == len(rules) {
		e.sameConfiguration(f, opened, known)
	}
	return nil
}

// authority checks the key's time-stamping authority, once for all keys, and reports whether signatures of the key
// can be finished.
func (e *exam) authority(ctx context.Context, f *session.Session, rule session.KeyRule, asked map[string]*notation.TSA) bool {
	if rule.TSAURL == "" {
		return true
	}
	if tsa, done := asked[rule.TSAURL]; done {
		return tsa != nil
	}
	tsa, err := f.OpenTSA(ctx, rule.KeyOptions, e.log)
	asked[rule.TSAURL] = tsa
	if err != nil {
		e.failed("timestamp-authority", rule.TSAURL, err)
		return false
	}
	e.ok("timestamp-authority", rule.TSAURL, "issues timestamps under the given root")
	return true
}

// key takes the steps in which a run proves a key. It returns the key if all of them succeed.
func (e *exam) key(ctx context.Context, f *session.Session, rule session.KeyRule, key notation.Key, tsa *notation.TSA, known *state.Fingerprint) *notation.Signer {
	told := false
	s, err := f.Examine(ctx, rule.KeyOptions, key, tsa, known, !e.noSign, e.log, func(found notation.Finding) {
		told = told || found.Err != nil
		if found.Err != nil {
			e.failed(string(found.Step), key.Name, found.Err)
			return
		}
		e.ok(string(found.Step), key.Name, "%s", found.Found)
	})
	if err != nil && !told {
		e.failed("key", key.Name, err)
	}
	if e.noSign && err == nil {
		c := report.Check{Check: string(notation.StepSignature), Subject: key.Name, Result: report.Unknown, Detail: "not checked (--no-sign)"}
		if s == nil {
			c.Detail += "; without a signature, the key's certificate is unknown"
		}
		e.add(c)
	}
	if s != nil {
		e.identity(s)
	}
	if s != nil && !s.Identity().Renews() {
		e.expiry(key.Name, s.NotAfter(), tsa != nil, time.Now())
	}
	return s
}

// identity reports whose signatures count as the key's, what decides that, and what a verifier needs.
func (e *exam) identity(s *notation.Signer) {
	i := s.Identity()
	rests := "its certificate"
	if i.Renews() {
		rests = "the configuration: a renewed certificate counts as the same key"
	}
	e.ok("key-identity", s.Name(), "%s; according to %s. Verifiers need %s", i.Title(), rests, s.VerifierNeeds())
}

// subjects reports whether a trust policy could name the certificates.
func (e *exam) subjects(f *session.Session, opened []session.OpenedKey) {
	var names []string
	for _, k := range opened {
		names = append(names, k.Name())
	}
	subject := strings.Join(names, ", ")
	if err := e.opts.Nameable(f, opened); err != nil {
		e.failed("certificate-subject", subject, err)
		return
	}
	e.ok("certificate-subject", subject, "a trust policy can name its signatures")
}

// expiry reports how long the certificates of a key last.
func (e *exam) expiry(name string, at time.Time, stamped bool, now time.Time) {
	if err := e.opts.Lasts(name, at, stamped, now); err != nil {
		e.failed("certificate-expiry", name, err)
		return
	}
	c := report.Check{Check: "certificate-expiry", Subject: name, Result: report.OK}
	left := at.Sub(now)
	c.Detail = fmt.Sprintf("expires in %s, on %s", safetext.Count(int(left/(24*time.Hour)), "day"), at.UTC().Format(time.DateOnly))
	if left < notation.Soon {
		c.Result, c.Hint = report.Warn, "signatures without a timestamp are not valid after that: renew it before the run, or give --timestamp-url"
	}
	e.add(c)
}

// verificationPlugins starts each plugin as the verification of a signature would. The error is a usage error.
func (e *exam) verificationPlugins(ctx context.Context) error {
	plugins, err := e.opts.Plugins()
	if err != nil {
		return cli.Usage(err)
	}
	return cli.Usage(notation.ExaminePlugins(ctx, plugins, func(name, found string, err error) {
		if err != nil {
			e.failed("verification-plugin", name, err)
			return
		}
		e.ok("verification-plugin", name, "%s", found)
	}))
}
