package command

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
)

func TestVerificationPluginsAreAsConfigured(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]struct {
		plugins []notation.VerificationPlugin
		says    string
	}{
		"":                          {},
		"--verification-plugin aws": {plugins: []notation.VerificationPlugin{{Name: "aws"}}},
		"--verification-plugin aws --verification-plugin own=bin/notation-own --verification-plugin-sha256 own=ab --verification-plugin-env A --verification-plugin-config k=v": {
			plugins: []notation.VerificationPlugin{
				{Name: "aws", Config: map[string]string{"k": "v"}, Env: []string{"A"}},
				{Name: "own", Path: "bin/notation-own", SHA256: "ab", Config: map[string]string{"k": "v"}, Env: []string{"A"}},
			}},
		"--verification-plugin aws=":                                {says: "NAME or NAME=FILE"},
		"--verification-plugin-sha256 aws=ab":                       {says: "does not name it"},
		"--verification-plugin-config k=v":                          {says: "need --verification-plugin"},
		"--verification-plugin-env A":                               {says: "need --verification-plugin"},
		"--verification-plugin ../aws":                              {plugins: []notation.VerificationPlugin{{Name: "../aws"}}}, // refused when the verifier is opened
		"--verification-plugin a --verification-plugin-sha256 b=ab": {says: "does not name it"},
	} {
		var o session.RemoteOptions
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.Bind(f)
		must(t, f.Parse(strings.Fields(args)))
		got, err := o.Plugins()
		for i := range want.plugins {
			want.plugins[i].Timeout = time.Minute
		}
		if (err == nil) != (want.says == "") || err != nil && !strings.Contains(err.Error(), want.says) || !reflect.DeepEqual(got, want.plugins) {
			t.Errorf("%s: got %+v, %v, want %+v, %q", args, got, err, want.plugins, want.says)
		}
		if checked := o.Check(); (checked == nil) != (err == nil) {
			t.Errorf("%s: the options are checked as %v", args, checked)
		}
	}
}

// A signature that names a verification plugin is unknown until the plugin is named to us, and then
// what the plugin says of it.
func TestSignaturesAreVerifiedByTheNamedPlugin(t *testing.T) {
	g := newGround(t)
	installed, err := kmstest.Install(g.path("libexec"), kmstest.Behaviour{Capability: kmstest.VERIFIER})
	must(t, err)
	p := g.places[0]
	s := &scene{place: p, mark: p.marks[0]}
	var attributes func(*signature.SignRequest) = func(r *signature.SignRequest) {
		naming(kmstest.Name)(r)
		r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, signature.Attribute{Key: "com.example.profile", Critical: true, Value: "release"})
	}
	list := func(d ocispec.Descriptor) { s.replace(p.envelope(g.twin, d, attributes)) }
	list(s.Descriptor)
	named := []string{"--verification-plugin", kmstest.Name + "=" + installed.Path}
	for _, c := range []struct {
		name    string
		flags   []string
		rejects map[string]string
		code    int
		class   verify.Class
	}{
		{"not named", nil, nil, cli.ExitFailures, verify.Unknown},
		{"another is named", []string{"--verification-plugin", "other=" + installed.Path}, nil, cli.ExitFailures, verify.Unknown},
		{"named", named, nil, cli.ExitDone, verify.Agree},
		{"named, and rejects it", named, map[string]string{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY": "no"}, cli.ExitDisagree, verify.Untrusted},
	} {
		must(t, installed.Set(kmstest.Behaviour{Capability: kmstest.VERIFIER, Rejects: c.rejects}))
		g.flags = c.flags
		code, v := g.verify("strict", "")
		if code != c.code {
			t.Errorf("%s: got exit code %d, want %d", c.name, code, c.code)
		}
		for _, row := range v.Repositories[0].Tags {
			if row.Tag == s.mark.tags[0] && row.Class != c.class {
				t.Errorf("%s: got class %s, want %s", c.name, row.Class, c.class)
			}
		}
	}
	g.flags = []string{"--verification-plugin", "../kmstest"}
	if code, _, said := g.main("verify", p.trust.GUN()); code != cli.ExitUsage || !strings.Contains(said, "no name of a plugin") {
		t.Errorf("a path for a name: got exit code %d: %s", code, said)
	}
}
