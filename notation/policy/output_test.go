package policy_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// Golden files are for reviewers: they show what a code change does to what users apply.
func TestOutputsAreTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		for _, stage := range []policy.Stage{policy.Audit, policy.Enforce} {
			compare(t, c.Name+"-"+string(stage), c.Write, rich(t, stage))
		}
	}
	for name, stage := range map[string]policy.Stage{"kyverno-cluster-policy": policy.Enforce, "kyverno-cluster-policy-audit": policy.Audit} {
		cluster := rich(t, stage)
		cluster.ClusterPolicy = true
		compare(t, name, policy.Kyverno.Write, cluster)
	}
	provider := one(t, "release")
	provider.RatifyCA = []byte("-----BEGIN CERTIFICATE-----\nMFkw\n-----END CERTIFICATE-----\n")
	compare(t, "ratify-provider", policy.Ratify.Write, provider)
}

func compare(t *testing.T, name string, write func(policy.Trust) (*policy.Output, error), trust policy.Trust) {
	t.Helper()
	o, err := write(trust)
	if err != nil {
		t.Errorf("%s: got error %v, want none", name, err)
		return
	}
	dir := filepath.Join("testdata", "golden", name)
	if *update {
		must(t, os.RemoveAll(dir))
	}
	names := map[string]bool{}
	for _, f := range o.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		names[path] = true
		if *update {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, f.Content, 0o644))
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(want, f.Content) {
			t.Errorf("%s/%s: got other bytes (%v), want those of the golden file; look at what -update changes", name, f.Name, err)
		}
	}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !names[path] {
			t.Errorf("got %s not written, want it written or removed", path)
		}
		return err
	}))
}

// Consumers that are beta or on their way out are written only on request; all others by default.
func TestOnlyBetaConsumersMustBeAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		if want := c.Name == "ratify-v2"; c.Asked != want {
			t.Errorf("%s: got asked %t, want %t", c.Name, c.Asked, want)
		}
	}
}

// Maps have no order; the output must have one.
func TestTheSameTrustGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		first, err := c.Write(rich(t, policy.Enforce))
		must(t, err)
		for range 4 {
			again, err := c.Write(rich(t, policy.Enforce))
			must(t, err)
			if len(first.Files) != len(again.Files) {
				t.Fatalf("%s: got %d files, then %d, want the same", c.Name, len(first.Files), len(again.Files))
			}
			for i, f := range first.Files {
				if f.Name != again.Files[i].Name || !bytes.Equal(f.Content, again.Files[i].Content) {
					t.Fatalf("%s: got %s other than before, want the same", c.Name, f.Name)
				}
			}
		}
	}
}

// objects returns the YAML documents of a file.
func objects(t *testing.T, raw []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, part := range bytes.Split(raw, []byte("\n---\n")) {
		var o map[string]any
		must(t, yaml.UnmarshalStrict(part, &o))
		all = append(all, o)
	}
	return all
}

// at follows keys and positions into an object.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("got no map at %v of %v, want one", step, path)
			}
			v = m[s]
		case int:
			l, ok := v.([]any)
			if !ok || len(l) <= s {
				t.Fatalf("got no list at %v of %v, want one", step, path)
			}
			v = l[s]
		}
	}
	return v
}

// hostile is text that breaks out of comments, YAML, JSON, CEL and shells if it can.
var hostile = []string{
	"a\nkind: Secret\n---\nb", "x'])).all(n, true) || ([images", `"}],"trustPolicies":[{"name":"all"`, "../../etc/passwd", "\x1b[2J", "user\u202etxt",
	"$(reboot)", "`reboot`", "# comment", "*", "team/*", "a:b@sha256:c", "{{ .Values }}", "${{ secrets.TOKEN }}", "%s%n", "a\u2028kind: Secret", "a\u0085b", "\u00a0", strings.Repeat("x", 5000),
}

// Repository names are data: an invalid one is in no output.
func TestHostileRepositoriesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range hostile {
		for _, full := range []string{name, "registry.example.com/" + name, name + "/app"} {
			for _, c := range policy.Consumers() {
				trust := one(t, "release")
				trust.Statements[0].Repositories = []string{full}
				_, err := c.Write(trust)
				refused(t, err, "is not a repository")
			}
		}
	}
	for _, name := range []string{"docker.io/library/alpine", "localhost/a", "localhost:5000/a/b", "10.0.0.1:5000/a__b/c-d.e", "registry:5000/a"} {
		trust := one(t, "release")
		trust.Statements[0].Repositories = []string{name}
		for _, c := range policy.Consumers() {
			_, err := c.Write(trust)
			must(t, err)
		}
	}
}

// A key's name is shown up to its 128th character.
func TestLongNamesOfKeysAreCut(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{128: strings.Repeat("k", 128) + "\n", 129: strings.Repeat("k", 128) + "…\n"} {
		trust := one(t, "release")
		trust.Statements[0].Keys[0].Name = strings.Repeat("k", n)
		o, err := policy.Notation.Write(trust)
		must(t, err)
		if !strings.Contains(string(o.Files[0].Content), "key "+want) {
			t.Errorf("got a name of %d characters not shown, want %q", n, want)
		}
	}
}

// self makes a self-signed certificate with any subject.
func self(t testing.TB, subject pkix.Name) *x509.Certificate {
	t.Helper()
	id, err := pki.SelfSigned("", nil, func(c *x509.Certificate) { c.Subject, c.ExtKeyUsage = subject, nil })
	if err != nil {
		t.Fatal(err)
	}
	return id.Certificate()
}

// Key names and certificate subjects may be anything: whatever they are, the files are otherwise
// the same.
func FuzzNamesStayData(f *testing.F) {
	for _, name := range hostile {
		f.Add(name, "Example")
		f.Add("release", name)
	}
	f.Fuzz(func(t *testing.T, key, organisation string) { harmless(t, key, organisation) })
}

func harmless(t *testing.T, name, organisation string) {
	t.Helper()
	if strings.ToValidUTF8(organisation, "") != organisation {
		organisation = "Example" // no certificate can have the given one
	}
	leaf := self(t, pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{organisation}, CommonName: "release"})
	other := policy.Key{Name: "other", Chain: []*x509.Certificate{self(t, pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"Other"}, CommonName: "other"})}}
	keys := map[string][]policy.Key{name: {{Name: name, Chain: []*x509.Certificate{leaf}}}, "other": {other}}
	trust := policy.Trust{Name: "migrated", Stage: policy.Enforce, Namespace: "apps", Statements: policy.Group("migrated",
		map[string][]string{app: {name}, "registry.example.com/team/web": {"other"}}, keys)}
	for _, c := range policy.Consumers() {
		o, err := c.Write(trust)
		if err != nil {
			t.Errorf("%s: got error %v, want none", c.Name, err)
			continue
		}
		for _, f := range o.Files {
			wellFormed(t, c.Name, f)
		}
		exactScopes(t, o, trust)
	}
}

// A repository name is refused, or it is a scope that means this repository and no other.
func FuzzRepositoriesStayData(f *testing.F) {
	for _, name := range hostile {
		f.Add(name)
		f.Add("registry.example.com/" + name)
	}
	f.Add("docker.io/library/alpine")
	f.Add("registry.example.com:5000/a_b/c.d-e")
	leaf := self(f, pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"Example"}, CommonName: "release"})
	f.Fuzz(func(t *testing.T, name string) {
		trust := policy.Trust{Name: "migrated", Stage: policy.Enforce, Namespace: "apps", Statements: policy.Group("migrated",
			map[string][]string{name: {"release"}}, map[string][]policy.Key{"release": {{Name: "release", Chain: []*x509.Certificate{leaf}}}})}
		for _, c := range policy.Consumers() {
			o, err := c.Write(trust)
			if err != nil {
				refused(t, err, "is not a repository")
				continue
			}
			if strings.ContainsAny(name, "*?[]{}\\@ ") {
				t.Errorf("%s: got %q, want a name and no more", c.Name, name)
			}
			for _, f := range o.Files {
				wellFormed(t, c.Name, f)
			}
			exactScopes(t, o, trust)
		}
	})
}

// exactScopes checks that the scopes of a trust policy are the repositories, and no others.
func exactScopes(t *testing.T, o *policy.Output, trust policy.Trust) {
	t.Helper()
	want := map[string]bool{}
	for _, s := range trust.Statements {
		for _, r := range s.Repositories {
			want[r] = true
		}
	}
	for _, f := range o.Files {
		if path.Base(f.Name) != "trustpolicy.json" {
			continue
		}
		got := map[string]bool{}
		for _, p := range document(t, f.Content).TrustPolicies {
			for _, scope := range p.RegistryScopes {
				got[scope] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got the scopes %v, want %v", o.Consumer.Name, got, want)
		}
	}
}

var fileName = regexp.MustCompile(`^[a-zA-Z0-9./-]+$`)

// wellFormed checks that a file is what its name says, and that nothing injected takes effect.
func wellFormed(t *testing.T, consumer string, f policy.File) {
	t.Helper()
	if f.Name != path.Clean(f.Name) || path.IsAbs(f.Name) || strings.HasPrefix(f.Name, "..") || !fileName.MatchString(f.Name) {
		t.Errorf("%s: got a file called %q, want a plain name", consumer, f.Name)
	}
	if i := bytes.IndexFunc(f.Content, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
	}); i >= 0 {
		t.Errorf("%s: %s has a character that is obeyed: %q", consumer, f.Name, f.Content[i:min(len(f.Content), i+20)])
	}
	switch path.Ext(f.Name) {
	case ".json":
		if !json.Valid(f.Content) {
			t.Errorf("%s: got %s that is no JSON, want JSON", consumer, f.Name)
		}
	case ".yaml":
		known := map[string]bool{"": true, "Secret": true, "KeyManagementProvider": true, "Verifier": true, "Store": true, "Policy": true, "Executor": true, "ConstraintTemplate": true, "NotationVerified": true, "ImageValidatingPolicy": true}
		for _, part := range bytes.Split(f.Content, []byte("\n---\n")) {
			var o map[string]any
			if err := yaml.UnmarshalStrict(part, &o); err != nil {
				t.Errorf("%s, %s: got error %v, want YAML", consumer, f.Name, err)
			}
			kind, _ := o["kind"].(string)
			if !known[kind] || kind == "Secret" && consumer != "flux" {
				t.Errorf("%s: got an object of kind %q in %s, want a known one", consumer, kind, f.Name)
			}
		}
	}
}
