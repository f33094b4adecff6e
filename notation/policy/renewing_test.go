package policy_test

import (
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/policy"
)

const (
	arn    = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/release"
	signer = "com.amazonaws.signer.notation.plugin"
)

func rootOf(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	c := chain(t, name)
	return c[len(c)-1]
}

// renewing is a key that its configuration identifies by what outlives its certificates.
func renewing(t *testing.T, id notation.Identity, err error) policy.Key {
	t.Helper()
	must(t, err)
	return policy.Configured{Identity: id, Root: rootOf(t, "release"), Plugin: signer}.Key("release", false, chain(t, "tsa"))
}

func byProfile(t *testing.T, arn string) policy.Key {
	t.Helper()
	id, err := notation.ProfileIdentity(rootOf(t, "release"), arn)
	return renewing(t, id, err)
}

func bySubject(t *testing.T, subject string, ekus ...string) policy.Key {
	t.Helper()
	id, err := notation.SubjectIdentity(rootOf(t, "release"), subject, ekus)
	return renewing(t, id, err)
}

const wholeSubject = "C=US, ST=WA, O=Acme, CN=release"

// What each consumer gets for keys whose identity outlives their certificates, and which consumers
// get nothing.
func TestConsumersOfKeysThatRenewTheirCertificates(t *testing.T) {
	t.Parallel()
	profile, subject := byProfile(t, arn), bySubject(t, wholeSubject, "1.3.6.1.4.1.311.97.1")
	dedicated := bySubject(t, wholeSubject)
	dedicated.Dedicated = true
	for name, c := range map[string]struct {
		key    policy.Key
		change func(*policy.Trust)
		want   map[string][]string // in the files, by consumer; the others must refuse with why
		not    string              // in none of the files
		why    string
	}{
		"a signing profile": {key: profile, want: map[string][]string{
			"notation":       {`"signingAuthority:migrated"`, `"` + arn + `"`, signer, "AWS_REGION=eu-west-1", "truststore/x509/signingAuthority/migrated/"},
			"github-actions": {`"signingAuthority:migrated"`, `"` + arn + `"`, signer, "AWS_REGION: eu-west-1", "Install the verification plugin"},
			"ratify":         {"signingAuthority:", "- " + arn, signer, "AWS_REGION=eu-west-1", "/.ratify/plugins"},
		}, not: "ca:migrated", why: "runs no verification plugin"},
		"a subject with a usage": {key: subject, want: map[string][]string{
			"notation":       {`"ca:migrated"`, `"tsa:migrated"`, "CN=release, O=Acme", `"verifyTimestamp": "always"`, "than 1.3.6.1.4.1.311.97.1", "extended key usage"},
			"github-actions": {`"ca:migrated"`, "CN=release, O=Acme"},
			"ratify":         {"ca:migrated", "CN=release, O=Acme", "extended key usage"},
			"ratify-v2":      {"CN=release, O=Acme", "extended key usage"},
			"flux":           {"ca:migrated", "CN=release, O=Acme", "extended key usage"},
		}, not: "signingAuthority", why: "knows no subjects"},
		"a subject of a root of its own": {key: dedicated, want: map[string][]string{
			"notation": {"CN=release, O=Acme"}, "github-actions": {"CN=release"}, "ratify": {"CN=release"}, "ratify-v2": {"CN=release"}, "flux": {"CN=release"},
			"kyverno": {"tsaCerts", "now and later"}, "connaisseur": {"tsCert", "now and later"},
		}},
		"a ClusterPolicy": {key: dedicated, change: func(tr *policy.Trust) { tr.ClusterPolicy = true }, want: map[string][]string{
			"notation": nil, "github-actions": nil, "ratify": nil, "ratify-v2": nil, "flux": nil, "connaisseur": nil,
		}, why: "no time-stamping authority"},
	} {
		trust := one(t, "release")
		trust.Statements[0].Keys = []policy.Key{c.key}
		if c.change != nil {
			c.change(&trust)
		}
		for _, consumer := range policy.Consumers() {
			wanted, ok := c.want[consumer.Name]
			o, err := consumer.Write(trust)
			if !ok {
				refused(t, err, c.why)
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: got error %v, want files", name, consumer.Name, err)
				continue
			}
			var text strings.Builder
			for _, f := range o.Files {
				text.WriteString(f.Name + "\n" + string(f.Content))
				if workflow := (map[string]any{}); strings.HasSuffix(f.Name, ".yml") {
					must(t, yaml.UnmarshalStrict(f.Content, &workflow))
				}
			}
			// The head of a file is wrapped.
			got := strings.Join(strings.Fields(strings.ReplaceAll(text.String(), "\n# ", " ")), " ")
			for _, w := range wanted {
				if !strings.Contains(got, w) {
					t.Errorf("%s, %s: got no %q, want it in\n%s", name, consumer.Name, w, text.String())
				}
			}
			if c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("%s, %s: got %q, want it nowhere", name, consumer.Name, c.not)
			}
		}
	}
}

// Beside a signing profile, a key of another kind: whoever is trusted for that key could vouch for
// the profile.
func TestProfileBesideAnotherKeyIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		beside policy.Key
		want   bool
	}{
		"a certificate": {key(t, "alice"), true}, "a subject": {bySubject(t, wholeSubject), true}, "another profile": {byProfile(t, arn+"2"), false},
	} {
		trust := one(t, "release")
		trust.Statements[0].Keys = []policy.Key{byProfile(t, arn), c.beside}
		o, err := policy.Notation.Write(trust)
		must(t, err)
		if got := strings.Contains(strings.Join(o.Warnings, "\n"), "whatever plugin a signature names"); got != c.want {
			t.Errorf("%s: got warnings %q, want one of its authority: %t", name, o.Warnings, c.want)
		}
	}
}

// Every consumer refuses a policy that would trust more than an identity.
func TestWhatOutlivesCertificatesIsNotWidened(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		own, other policy.Key // other signs another repository, if it has a name
		change     func(*policy.Key)
		why        string
	}{
		"a profile's root is not its own":     {own: byProfile(t, arn), change: func(k *policy.Key) { k.Dedicated = true }, why: "signs for others"},
		"a root that needs a usage is shared": {own: bySubject(t, wholeSubject, "1.2.3.4"), change: func(k *policy.Key) { k.Dedicated = true }, why: "certifies others too"},
		"without a time-stamping authority":   {own: bySubject(t, wholeSubject), change: func(k *policy.Key) { k.TSA = nil }, why: "no time-stamping authority"},
		"another certificate beside the root": {own: bySubject(t, wholeSubject), change: func(k *policy.Key) { k.Chain = chain(t, "release") }, why: "one root"},
		"a subject without a CN":              {own: bySubject(t, "C=US, ST=WA, O=Acme"), why: "has no CN"},
		"a CN within another part":            {own: bySubject(t, `C=US, ST=WA, O=Acme\, CN=release`), why: "has no CN"},
		"a subject that no policy can name":   {own: bySubject(t, "O=Acme, CN=release"), why: "no trust policy can name"},
		"a version of the profile":            {own: byProfile(t, arn), other: byProfile(t, arn+"/v1"), why: "would pass for"},
		"a part of the subject":               {own: bySubject(t, wholeSubject), other: bySubject(t, wholeSubject+", OU=tests"), why: "would pass for"},
		"the same subject with a usage":       {own: bySubject(t, wholeSubject), other: bySubject(t, wholeSubject, "1.2.3.4"), why: "would pass for"},
		"a certificate of the subject":        {own: bySubject(t, `C=US, ST=WA, O=Example\, Inc., CN=release`), other: key(t, "release"), why: "would pass for"},
		"a dedicated root with two subjects": {own: bySubject(t, wholeSubject), other: bySubject(t, "C=US, ST=WA, O=Acme, CN=alice"),
			change: func(k *policy.Key) { k.Dedicated = true }, why: "not dedicated to the one"},
	} {
		if c.change != nil {
			c.change(&c.own)
		}
		trust := one(t, "release")
		trust.Statements[0].Keys = []policy.Key{c.own}
		if c.other.Name != "" {
			c.other.Name = "other"
			trust.Statements = append(trust.Statements, policy.Statement{Name: "other", Repositories: []string{"registry.example.com/other"}, Keys: []policy.Key{c.other}})
		}
		_, err := policy.Notation.Write(trust)
		if refused(t, err, c.why); t.Failed() {
			t.Fatal(name)
		}
	}
	// Neighbours that a policy can tell apart.
	trust := one(t, "release")
	trust.Statements[0].Keys = []policy.Key{byProfile(t, arn)}
	neighbour := byProfile(t, arn+"2")
	neighbour.Name = "neighbour"
	trust.Statements = append(trust.Statements, policy.Statement{Name: "other", Repositories: []string{"registry.example.com/other"}, Keys: []policy.Key{neighbour}})
	if _, err := policy.Notation.Write(trust); err != nil {
		t.Errorf("two profiles: got error %v, want none", err)
	}
}

// The configuration says whose signatures are good. A ledger of another identity is refused, and
// so is a ledger alone.
func TestALedgerGivesNoIdentity(t *testing.T) {
	t.Parallel()
	profile := byProfile(t, arn)
	configured := policy.Configured{Identity: profile.Identity, Root: profile.Chain[0], Plugin: signer}
	for name, c := range map[string]struct {
		recorded, earlier string
		keys              map[string]policy.Configured
		given             []string
		why, problem      string
	}{
		"as configured":            {recorded: profile.Identity.String(), keys: map[string]policy.Configured{"release": configured}},
		"no key of a run":          {keys: map[string]policy.Configured{"release": configured}},
		"the ledger alone":         {recorded: profile.Identity.String(), given: []string{"release=release"}, why: "a ledger alone does not vouch for"},
		"another identity":         {recorded: byProfile(t, arn+"2").Identity.String(), keys: map[string]policy.Configured{"release": configured}, why: "and the configuration says"},
		"a certificate's":          {recorded: notation.IdentityOf(chain(t, "release")[0]).String(), keys: map[string]policy.Configured{"release": configured}, why: "and the configuration says"},
		"with a certificate":       {recorded: profile.Identity.String(), keys: map[string]policy.Configured{"release": configured}, given: []string{"release=release"}, why: "leave out --certificate"},
		"another identity earlier": {recorded: profile.Identity.String(), earlier: byProfile(t, arn+"2").Identity.String(), keys: map[string]policy.Configured{"release": configured}, problem: "had another identity before"},
		"a certificate earlier": {recorded: profile.Identity.String(), earlier: notation.IdentityOf(chain(t, "release")[0]).String(),
			keys: map[string]policy.Configured{"release": configured}, problem: "images 1"},
	} {
		l := ledger(t, "", image("a", policy.Signed))
		l.Recorded = func(string) []policy.Recorded {
			if c.recorded == "" {
				return nil
			}
			r := policy.Recorded{Identity: c.recorded}
			if c.earlier != "" {
				r.Earlier = []string{c.earlier}
			}
			return []policy.Recorded{r}
		}
		m := policy.NewMigrated(slog.New(slog.DiscardHandler))
		must(t, m.ReadLedger(l))
		got, err := m.Certificates(policy.Given{Certificates: c.given, Keys: c.keys, Read: func(name string) ([]*x509.Certificate, error) { return chain(t, name), nil }}, policy.Enforce)
		if (err != nil) != (c.why != "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, c.why)
		}
		if err == nil && (len(got["release"]) != 1 || got["release"][0].Identity != profile.Identity) {
			t.Errorf("%s: got %+v, want the key by its profile", name, got)
		}
		if problems := problemsOf(m); (problems == "") != (c.problem == "") || !strings.Contains(problems, c.problem) {
			t.Errorf("%s: got problems %q, want %q", name, problems, c.problem)
		}
	}
}
