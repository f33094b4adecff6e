package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// keyField is how the ledger names the yard's key.
const keyField = "kmstest/release kmstest release"

// runOn is a call of run with more flags, on a ledger of that name.
func (y *yard) runOn(ledger string, more ...string) (int, report.Run) {
	y.t.Helper()
	other := *y
	other.args = append(slices.Clone(y.args), more...)
	other.args[slices.Index(other.args, "--state")+1] = y.path(ledger)
	return other.run()
}

// bindTo makes a ledger that says that the key has the stranger's certificate.
func (y *yard) bindTo(ledger string, s *notation.Signer, forge func(*state.Ledger)) {
	y.t.Helper()
	l, err := state.Open(y.path(ledger), state.Options{Tool: "forger"})
	must(y.t, err)
	defer func() { must(y.t, l.Close()) }()
	chain, err := json.Marshal(s.Chain())
	must(y.t, err)
	must(y.t, l.Bind(state.Fingerprint{
		session.FieldKeys: keyField, state.FieldIdentity + keyField: s.Identity().String(), session.FieldChain + keyField: string(chain),
	}, true))
	forge(l)
}

// A ledger cannot choose whose signatures are ours: one that says that the key has an attacker's
// certificate makes neither his signatures in the registry count, nor the envelope that he laid into
// the outbox be pushed.
func TestForgedCertificateInTheLedgerCountsForNothing(t *testing.T) {
	t.Parallel()
	attacker := stranger(t)
	theirs, err := notation.Open(t.Context(), attacker, notation.Options{})
	must(t, err)
	for name, configured := range map[string]bool{"": false, ", the key's certificate configured": true} {
		for place, laid := range map[string]bool{"in the registry": false, "in the outbox": true} {
			t.Run(place+name, func(t *testing.T) {
				t.Parallel()
				y := newYard(t, registrytest.Options{Referrers: true})
				var more []string
				if configured {
					more = []string{"--accept-certificate", y.key.ChainFile}
				}
				gun := y.registry.Host() + "/bad"
				bound := map[string]string{migrate.MetadataGUN: gun, migrate.MetadataTag + "v1": "targets"}
				want := 0
				y.bindTo("forged.db", theirs, func(l *state.Ledger) {
					if !laid {
						y.attach(attacker, y.bad, bound)
						want = 1
						return
					}
					e, err := session.Signer{Signer: theirs}.Sign(t.Context(), y.bad, bound)
					must(t, err)
					k := state.Key{Repository: gun, Digest: y.bad.Digest.String(), KeyName: "kmstest/release"}
					_, err = l.Plan([]state.Item{{Key: k, GUN: gun, Tags: []state.Tag{{Name: "v1", Role: "targets", TargetsVersion: 1}}}})
					must(t, err)
					must(t, l.Sign(k, e))
				})
				code, r := y.runOn("forged.db", more...)
				if code != cli.ExitCannot || r.Complete || r.Results[migrate.ResultAlready]+r.Results[migrate.ResultReplayed] != 0 {
					t.Errorf("got exit code %d, complete %t, %v, want %d and nothing that counts", code, r.Complete, r.Results, cli.ExitCannot)
				}
				if n := y.signatures("bad", y.bad); n != want {
					t.Errorf("got %d signatures in the registry, want %d", n, want)
				}
			})
		}
	}
}

// renew gives the plugin's key another certificate, and returns the file of the one before.
func (y *yard) renew() (before string) {
	y.t.Helper()
	id, err := y.ca.Issue("release", nil)
	must(y.t, err)
	key, err := id.Save(y.t.TempDir(), "release")
	must(y.t, err)
	must(y.t, y.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": key}}))
	before, y.key = y.key.ChainFile, key
	return before
}

func leafOfFile(t *testing.T, path string) string {
	t.Helper()
	chain, err := session.ReadCertificates(path)
	must(t, err)
	return notation.IdentityOf(chain[0]).Leaf()
}

// After a renewal that is accepted, nothing is signed twice, and the result says by which
// certificates it is signed; --resign signs each once more. A ledger that is lost is told of the
// certificate before.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		y := newYard(t, registrytest.Options{Referrers: referrers})
		if code, r := y.run(); code != 0 || r.Certificates[leafOfFile(t, y.key.ChainFile)] != 2 {
			t.Fatalf("the first run: exit code %d, %v", code, r.Certificates)
		}
		file := y.renew()
		before, now := leafOfFile(t, file), leafOfFile(t, y.key.ChainFile)
		for _, c := range []struct {
			name, ledger string
			more         []string
			code         int
			signed       int
			by           map[string]int
			signatures   int
		}{
			{"not noticed, as nothing is left to do", "ledger.db", nil, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"looked up, and not accepted", "ledger.db", []string{"--recheck"}, cli.ExitCannot, 0, nil, 1},
			{"accepted", "ledger.db", []string{"--accept-changes"}, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"looked up", "ledger.db", []string{"--recheck"}, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"lost, and told of the one before", "lost.db", []string{"--accept-certificate", file}, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"renewed", "ledger.db", []string{"--resign"}, cli.ExitDone, 2, map[string]int{now: 2}, 2},
			{"and no more", "ledger.db", []string{"--resign"}, cli.ExitDone, 0, map[string]int{now: 2}, 2},
			{"lost, and told by thumbprint", "lost2.db", []string{"--accept-certificate", "sha256:" + before}, cli.ExitDone, 0, map[string]int{now: 2}, 2},
		} {
			code, r := y.runOn(c.ledger, c.more...)
			if code != c.code || r.Results[migrate.ResultSigned] != c.signed || r.Complete != (c.code == cli.ExitDone) {
				t.Errorf("referrers %t, %s: got exit code %d, %v, complete %t", referrers, c.name, code, r.Results, r.Complete)
			}
			for leaf, n := range c.by {
				if r.Certificates[leaf] != n || len(r.Certificates) != len(c.by) {
					t.Errorf("referrers %t, %s: got %v by certificate, want %v", referrers, c.name, r.Certificates, c.by)
				}
			}
			if n := y.signatures("good", y.good); n != c.signatures {
				t.Errorf("referrers %t, %s: got %d signatures, want %d", referrers, c.name, n, c.signatures)
			}
		}
	}
}

// Pinned authorities are what is in the file, wherever that is and whatever else it holds.
func TestPinnedAuthoritiesAreComparedByContent(t *testing.T) {
	t.Parallel()
	one, err := pki.NewAuthority("one")
	must(t, err)
	two, err := pki.NewAuthority("two")
	must(t, err)
	write := func(content ...string) string {
		path := filepath.Join(t.TempDir(), "ca.pem")
		must(t, os.WriteFile(path, []byte(strings.Join(content, "")), 0o600))
		got, err := session.Thumbprints(path)
		must(t, err)
		return got
	}
	a, b := string(one.CertificatePEM()), string(two.CertificatePEM())
	first := write(a)
	for name, c := range map[string]struct {
		content []string
		same    bool
	}{
		"the same elsewhere": {[]string{a}, true}, "with a comment": {[]string{"# ours\n", a}, true}, "twice": {[]string{a, a}, true},
		"another": {[]string{b}, false}, "one more": {[]string{a, b}, false},
	} {
		if got := write(c.content...); (got == first) != c.same {
			t.Errorf("%s: got %s and %s, want them the same: %t", name, first, got, c.same)
		}
	}
	if write(a, b) != write(b, a) {
		t.Error("their order makes a difference")
	}
}

// EarlierOf takes what the ledger has of the key by its name, and nothing that makes no sense.
func TestEarlierIdentitiesOfAKey(t *testing.T) {
	t.Parallel()
	id := func(n string) string { return "certificate:sha256:" + strings.Repeat(n, 64) }
	present, err := notation.ParseIdentity(id("c"))
	must(t, err)
	f := state.Fingerprint{
		state.FieldIdentity + "release kms new": id("c"), state.FieldEarlier + "release kms new": id("a") + "," + id("c") + ",nonsense",
		state.FieldIdentity + "release kms old": id("b"), state.FieldIdentity + "release2 kms x": id("d"), "leaf of release kms new": id("e"),
	}
	got := session.EarlierOf(f, "release", present)
	slices.Sort(got)
	if want := []string{id("a"), id("b")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
