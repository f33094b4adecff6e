package notation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// naming makes an envelope name the plugin that must verify it.
func naming(plugin any) func(*signature.SignRequest) {
	return func(r *signature.SignRequest) {
		r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, signature.Attribute{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: plugin})
	}
}

// attribute adds a critical attribute that only a plugin understands.
func attribute(r *signature.SignRequest) {
	r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, signature.Attribute{Key: "com.example.profile", Critical: true, Value: "release"})
}

// plugged makes a verifier with verification plugins that trusts one authority for
// registry.example.com/app.
func plugged(t *testing.T, level string, trusted *pki.Identity, plugins ...VerificationPlugin) *Verifier {
	t.Helper()
	m, err := newPluginManager(plugins)
	must(t, err)
	v, err := newVerifier(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "test", RegistryScopes: []string{"registry.example.com/app"}, TrustStores: []string{"ca:test"}, TrustedIdentities: []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: level},
	}}}, memory(trusted.Chain[len(trusted.Chain)-1:]), m, verifier.VerifierOptions{})
	must(t, err)
	return v
}

func judged(t *testing.T, v *Verifier, blob []byte) Verdict {
	t.Helper()
	got, err := v.Verify(context.Background(), "registry.example.com/app@"+image("a").Digest.String(), image("a"), jws.MediaTypeEnvelope, blob)
	must(t, err)
	return got
}

// verifying installs a verification plugin.
func verifying(t *testing.T, b kmstest.Behaviour) (*kmstest.Plugin, VerificationPlugin) {
	t.Helper()
	b.Capability = kmstest.VERIFIER
	p, err := kmstest.Install(t.TempDir(), b)
	must(t, err)
	return p, VerificationPlugin{Name: kmstest.Name, Path: p.Path, Config: p.Config(), Timeout: 5 * time.Second}
}

// A plugin's answer counts for a signature by a trusted certificate. Only an answer that
// verification failed speaks against the signature: without an answer, the result is unknown. For
// a stranger's signature the plugin is not started.
func TestConfiguredPluginVerifies(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("plugins")
	must(t, err)
	id, err := ca.Issue("release", nil)
	must(t, err)
	old, err := ca.Issue("release", nil, pki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)))
	must(t, err)
	stranger := issued(t)
	const identity, revocation = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY", "SIGNATURE_VERIFIER.REVOCATION_CHECK"
	rejects := func(what, why string) kmstest.Behaviour {
		return kmstest.Behaviour{Rejects: map[string]string{what: why}}
	}
	fault := func(command string, kind kmstest.Kind) kmstest.Behaviour {
		return kmstest.Behaviour{Faults: []kmstest.Fault{{Command: command, Kind: kind, Ms: 20_000}}}
	}
	for name, c := range map[string]struct {
		does    kmstest.Behaviour
		by      *pki.Identity
		more    func(*signature.SignRequest)
		of      string // image; empty: the right one
		change  func(*VerificationPlugin)
		level   string
		want    Verdict // only Trusted and Doubt are compared
		started int     // calls of verify-signature
	}{
		"passes":                        {want: Verdict{Trusted: true}, started: 1},
		"processes attributes":          {more: attribute, want: Verdict{Trusted: true}, started: 1},
		"processes none":                {does: kmstest.Behaviour{Ignores: true}, more: attribute, want: Verdict{Doubt: Unsure}, started: 1},
		"rejects the identity":          {does: kmstest.Behaviour{Rejects: map[string]string{identity: "unknown profile"}}, want: Verdict{Doubt: Unproven}, started: 1},
		"says it was revoked":           {does: rejects(revocation, "revoked"), want: Verdict{Doubt: Unproven}, started: 1},
		"says so as AWS Signer's":       {does: rejects(revocation, kmstest.Revoked), want: Verdict{Doubt: Unproven}, started: 1},
		"says so of a profile error":    {does: rejects(revocation, strings.Replace(kmstest.Revoked, "signing-jobs/1", "signing-profiles/error/1", 1)), want: Verdict{Doubt: Unproven}, started: 1},
		"knows no profile revoked":      {does: rejects(revocation, "no answer about arn:aws:signer:eu-central-1:111122223333:/signing-profiles/revoked/1"), want: Verdict{Doubt: Unsure}, started: 1},
		"says so, audited":              {does: rejects(revocation, kmstest.Revoked), level: "audit", want: Verdict{Trusted: true, Doubt: Unproven}, started: 1},
		"its service is away":           {does: rejects(revocation, kmstest.ServiceAway), want: Verdict{Doubt: Unsure}, started: 1},
		"its service is away, audited":  {does: rejects(revocation, kmstest.ServiceAway), level: "audit", want: Verdict{Trusted: true, Doubt: Unsure}, started: 1},
		"has no credentials":            {does: rejects(revocation, kmstest.NoCredentials), want: Verdict{Doubt: Unsure}, started: 1},
		"could not ask what is revoked": {does: rejects(revocation, "error: asking whether it was revoked: 503"), want: Verdict{Doubt: Unsure}, started: 1},
		"gives no reason":               {does: rejects(revocation, ""), want: Verdict{Doubt: Unsure}, started: 1},
		"cannot ask for a stranger's":   {does: rejects(revocation, kmstest.ServiceAway), by: stranger, want: Verdict{Doubt: Unproven}},
		"cannot ask, another image's":   {does: rejects(revocation, kmstest.ServiceAway), of: "b", want: Verdict{Doubt: Unproven}, started: 1},
		"cannot ask, another's profile": {does: kmstest.Behaviour{Rejects: map[string]string{identity: "no", revocation: kmstest.ServiceAway}}, level: "audit", want: Verdict{Trusted: true, Doubt: Unproven}, started: 1},
		"is throttled":                  {does: fault("verify-signature", kmstest.Throttled), want: Verdict{Doubt: Unsure}, started: 1},
		"times out":                     {does: fault("verify-signature", kmstest.TimeoutCode), want: Verdict{Doubt: Unsure}, started: 1},
		"rejects, audited":              {does: kmstest.Behaviour{Rejects: map[string]string{identity: "no"}}, level: "audit", want: Verdict{Trusted: true, Doubt: Unproven}, started: 1},
		"another image's":               {of: "b", want: Verdict{Doubt: Unproven}, started: 1},
		"a stranger's":                  {by: stranger, want: Verdict{Doubt: Unproven}},
		"a stranger's, audited":         {by: stranger, level: "audit", want: Verdict{Doubt: Unproven}},
		"fails":                         {does: fault("verify-signature", kmstest.GenericError), want: Verdict{Doubt: Unsure}, started: 1},
		"denies":                        {does: fault("verify-signature", kmstest.AccessDenied), want: Verdict{Doubt: Unsure}, started: 1},
		"fails, another image's":        {does: fault("verify-signature", kmstest.GenericError), of: "b", want: Verdict{Doubt: Unproven}, started: 1},
		"fails, past its date, audited": {does: fault("verify-signature", kmstest.GenericError), by: old, level: "audit", want: Verdict{Doubt: Dated}, started: 1},
		"fails, audited":                {does: fault("verify-signature", kmstest.GenericError), level: "audit", want: Verdict{Doubt: Unsure}, started: 1},
		"panics":                        {does: fault("verify-signature", kmstest.PanicText), want: Verdict{Doubt: Unsure}, started: 1},
		"answers twice":                 {does: fault("verify-signature", kmstest.DuplicateJSONKeys), want: Verdict{Doubt: Unsure}, started: 1},
		"answers nothing":               {does: fault("verify-signature", kmstest.EmptyStdout), want: Verdict{Doubt: Unsure}, started: 1},
		"answers too much":              {does: fault("verify-signature", kmstest.HugeStdout), want: Verdict{Doubt: Unsure}, started: 1},
		"hangs":                         {does: fault("verify-signature", kmstest.ChildHoldsAndHangs), change: func(p *VerificationPlugin) { p.Timeout = time.Second }, want: Verdict{Doubt: Unsure}, started: 1},
		"hangs, asked what it is":       {does: fault("get-plugin-metadata", kmstest.Hang), change: func(p *VerificationPlugin) { p.Timeout = time.Second }, want: Verdict{Doubt: Unsure}},
		"cannot verify":                 {does: fault("get-plugin-metadata", kmstest.NoCapability), want: Verdict{Doubt: Unsure}},
		"has another name":              {does: fault("get-plugin-metadata", kmstest.WrongName), want: Verdict{Doubt: Unsure}},
		"is not installed":              {change: func(p *VerificationPlugin) { p.Path += "-not" }, want: Verdict{Doubt: Unsure}},
		"is another file":               {change: func(p *VerificationPlugin) { p.SHA256 = strings.Repeat("0", 64) }, want: Verdict{Doubt: Unsure}},
		"is too old":                    {more: atLeast("2.0.0"), want: Verdict{Doubt: Unsure}},
		"is not what it names":          {more: naming("other"), want: Verdict{Doubt: Unsure}},
		"is not what a stranger's":      {by: stranger, more: naming("other"), want: Verdict{Doubt: Unproven}},
		"names a path":                  {more: naming("../kmstest"), want: Verdict{Doubt: Unsure}},
		"names a path, a stranger":      {by: stranger, more: naming("../../kmstest"), want: Verdict{Doubt: Unproven}},
		"names no name":                 {more: naming("  "), want: Verdict{Doubt: Unproven}},
		"names a number":                {more: naming(7), want: Verdict{Doubt: Unproven}},
		"wants what is no version":      {more: atLeast("soon"), want: Verdict{Doubt: Unproven}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installed, configured := verifying(t, c.does)
			if c.change != nil {
				c.change(&configured)
			}
			if c.by == nil {
				c.by = id
			}
			if c.level == "" {
				c.level = "strict"
			}
			if c.of == "" {
				c.of = "a"
			}
			more := []func(*signature.SignRequest){naming(kmstest.Name)}
			if c.more != nil {
				more = append(more, c.more)
			}
			began := time.Now()
			got := judged(t, plugged(t, c.level, id, configured), signedBy(t, c.by, c.of, only(more)))
			if got.Trusted != c.want.Trusted || got.Doubt != c.want.Doubt {
				t.Errorf("got trusted %t, doubt %q (%s), want %t, %q", got.Trusted, got.Doubt, got.Reason, c.want.Trusted, c.want.Doubt)
			}
			calls, err := installed.Calls("")
			must(t, err)
			verified, err := installed.Calls("verify-signature")
			must(t, err)
			if len(verified) != c.started || c.by == stranger && len(calls) > 0 {
				t.Errorf("got %d starts, %d to verify, want %d to verify and none at all for a stranger", len(calls), len(verified), c.started)
			}
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("got an answer after %s, want it within 15s", d)
			}
		})
	}
}

// A plugin's answer counts for a while, as results about certificates do. Good answers count
// longer than others. Only answers that the plugin gave are remembered.
func TestPluginAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &answering{}
		answers := pluginAnswers{ask: p.VerifySignature}
		asked := 0
		for _, step := range []struct {
			profile string
			answer  string
			after   time.Duration
			asks    bool
			reason  string // empty: success
		}{
			{profile: "a", asks: true},
			{profile: "a", answer: "was revoked", after: goodFor - time.Second},
			{profile: "b", answer: "was revoked", asks: true, reason: "was revoked"},
			{profile: "b", after: otherwise - time.Second, reason: "was revoked"},
			{profile: "b", after: time.Second, asks: true},
			{profile: "a", answer: "error: away", asks: true, reason: "error: away"},
			{profile: "c", answer: "fails", asks: true, reason: "fails"},
			{profile: "c", asks: true},
		} {
			time.Sleep(step.after)
			p.reason = step.answer
			got, err := answers.get(t.Context(), &plugin.VerifySignatureRequest{Signature: plugin.Signature{
				CriticalAttributes: plugin.CriticalAttributes{ExtendedAttributes: map[string]any{"profile": step.profile}},
			}})
			reason := ""
			switch {
			case err != nil:
				reason = err.Error()
			case !got.VerificationResults[plugin.CapabilityRevocationCheckVerifier].Success:
				reason = got.VerificationResults[plugin.CapabilityRevocationCheckVerifier].Reason
			}
			if step.asks {
				asked++
			}
			if reason != step.reason || p.asked != asked {
				t.Fatalf("%+v: got %q, asked %d times, want %d", step, reason, p.asked, asked)
			}
		}
	})
}

// answering is a plugin that answers with its reason.
type answering struct {
	reason string
	asked  int
}

func (a *answering) VerifySignature(context.Context, *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	a.asked++
	if a.reason == "fails" {
		return nil, errors.New(a.reason)
	}
	return &plugin.VerifySignatureResponse{VerificationResults: map[plugin.Capability]*plugin.VerificationResult{
		plugin.CapabilityTrustedIdentityVerifier: {Success: true}, plugin.CapabilityRevocationCheckVerifier: {Success: a.reason == "", Reason: a.reason},
	}}, nil
}

// only applies changes; the last one of each attribute counts.
func only(changes []func(*signature.SignRequest)) func(*signature.SignRequest) {
	return func(r *signature.SignRequest) {
		for _, change := range changes {
			change(r)
		}
		last := map[any]signature.Attribute{}
		var order []any
		for _, a := range r.ExtendedSignedAttributes {
			if _, ok := last[a.Key]; !ok {
				order = append(order, a.Key)
			}
			last[a.Key] = a
		}
		r.ExtendedSignedAttributes = nil
		for _, key := range order {
			r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, last[key])
		}
	}
}

func atLeast(version string) func(*signature.SignRequest) {
	return func(r *signature.SignRequest) {
		r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes,
			signature.Attribute{Key: "io.cncf.notary.verificationPluginMinVersion", Critical: true, Value: version})
	}
}

// A verification plugin runs as a signing one does: it sees only the variables that it needs, and
// a reason that quotes its configuration is not shown.
func TestVerificationPluginIsConfined(t *testing.T) {
	t.Setenv("NOTATION_PASSWORD", "canary")
	t.Setenv("REGISTRY_TOKEN", "canary")
	t.Setenv("MY_OWN", "wanted")
	folder := t.TempDir()
	path, seen, told := filepath.Join(folder, "notation-own"), filepath.Join(folder, "seen"), filepath.Join(folder, "told")
	must(t, os.WriteFile(path, fmt.Appendf(nil, `#!/bin/sh
env > %q
cat >> %q
case $1 in
get-plugin-metadata) echo '{"name":"own","description":"d","version":"1.0.0","url":"u","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY"]}' ;;
*) echo '{"verificationResults":{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY":{"success":false,"reason":"token is s3cr3t-value"}},"processedAttributes":[]}' ;;
esac
`, seen, told), 0o755))
	id := issued(t)
	got := judged(t, plugged(t, "strict", id, VerificationPlugin{Name: "own", Path: path, Env: []string{"MY_OWN"}, Config: map[string]string{"token": "s3cr3t-value"}}),
		signedBy(t, id, "a", naming("own")))
	if got.Trusted || got.Doubt != Unproven || strings.Contains(got.Reason, "s3cr3t-value") || !strings.Contains(got.Reason, "token is") {
		t.Errorf("got %+v, want it refused by the plugin, and its configuration hidden", got)
	}
	env, err := os.ReadFile(seen)
	must(t, err)
	if strings.Contains(string(env), "canary") || !strings.Contains(string(env), "MY_OWN=wanted") {
		t.Errorf("got its environment\n%s\nwant no canary and MY_OWN", env)
	}
	// Its configuration comes on stdin, with each command.
	requests, err := os.ReadFile(told)
	must(t, err)
	if n := strings.Count(string(requests), `"pluginConfig":{"token":"s3cr3t-value"}`); n != 2 {
		t.Errorf("got its configuration %d times, want 2, in %s", n, requests)
	}
}

// A plugin that signs is not a verification plugin.
func TestPluginThatCannotVerifyIsRefused(t *testing.T) {
	t.Parallel()
	for capability, want := range map[string]string{kmstest.RAW: "cannot verify", kmstest.VERIFIER: ""} {
		p, err := kmstest.Install(t.TempDir(), kmstest.Behaviour{Capability: capability})
		must(t, err)
		must(t, ExaminePlugins(t.Context(), []VerificationPlugin{{Name: kmstest.Name, Path: p.Path, Timeout: 5 * time.Second}}, func(_, found string, err error) {
			if (found == "") != (want != "") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: got %q, %v, want an error that says %q", capability, found, err, want)
			}
		}))
	}
}

func TestVerificationPluginsAreNamedOnce(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{""}, {"."}, {".."}, {"../x"}, {`a\b`}, {"c:x"}, {"x\x00"}, {"x", "x"}} {
		var plugins []VerificationPlugin
		for _, n := range names {
			plugins = append(plugins, VerificationPlugin{Name: n})
		}
		if _, err := newPluginManager(plugins); err == nil {
			t.Errorf("plugins %q: got no error, want one", names)
		}
	}
}

// A name is shown up to its 64th character.
func TestLongNamesAreCut(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("x", 64)
	for given, want := range map[string]string{name: name + " ", name + "x": name + "… "} {
		if _, err := newPluginManager([]VerificationPlugin{{Name: given}, {Name: given}}); err == nil || !strings.Contains(err.Error(), " "+want) {
			t.Errorf("%d characters: got %v, want %s", len(given), err, want)
		}
	}
}

// If a trust store cannot be read, it is unknown whose plugin an envelope names. The plugin is not
// started.
func TestPluginOfAnUnreadableStoreIsUnknown(t *testing.T) {
	t.Parallel()
	id := issued(t)
	plugins := pluginManager{"configured": agreeable{}}
	for cause, want := range map[error]Doubt{errors.New("too many open files"): Unsure, fs.ErrNotExist: Unproven} {
		v, err := newVerifier(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
			Name: "test", RegistryScopes: []string{"*"}, TrustStores: []string{"ca:test"}, TrustedIdentities: []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "audit"},
		}}}, &shaky{memory: memory(id.Chain[1:]), fails: []error{cause}}, plugins, verifier.VerifierOptions{})
		must(t, err)
		if got := judged(t, v, signedBy(t, id, "a", naming("configured"))); got.Trusted || got.Doubt != want {
			t.Errorf("%v: got %+v, want doubt %q", cause, got, want)
		}
		if got := judged(t, v, signedBy(t, id, "a", naming("configured"))); !got.Strict() {
			t.Errorf("%v, and read then: got %+v, want it trusted", cause, got)
		}
	}
}

// For doctor: each plugin is started as a verification would start it.
func TestVerificationPluginsAreExamined(t *testing.T) {
	t.Parallel()
	_, good := verifying(t, kmstest.Behaviour{})
	signer, err := kmstest.Install(t.TempDir(), kmstest.Behaviour{})
	must(t, err)
	var told []string
	tell := func(name, found string, err error) {
		if err != nil {
			found = err.Error()
		}
		told = append(told, found)
	}
	must(t, ExaminePlugins(context.Background(), []VerificationPlugin{good}, tell))
	must(t, ExaminePlugins(context.Background(), []VerificationPlugin{{Name: kmstest.Name, Path: signer.Path}}, tell))
	good.SHA256 = strings.Repeat("0", 64)
	must(t, ExaminePlugins(context.Background(), []VerificationPlugin{good}, tell))
	for i, want := range []string{"protocol 1.0, verifies signatures", "cannot verify", "SHA-256"} {
		if !strings.Contains(told[i], want) {
			t.Errorf("got %q, want %q in it", told[i], want)
		}
	}
	if err := ExaminePlugins(context.Background(), []VerificationPlugin{good, good}, tell); err == nil || len(told) != 3 {
		t.Errorf("one plugin twice: got error %v, told %q, want an error, told 3 times", err, told)
	}
}
