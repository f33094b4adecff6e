package notation

import (
	"context"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// What a plugin was given does not come back in its errors, whatever it writes. Each secret is
// replaced by its name.
func TestPluginsErrorsShowNoSecrets(t *testing.T) {
	t.Setenv("AZURE_CLIENT_SECRET", "canary-azure")
	const pin = `canary "pin"`
	for _, kind := range []kmstest.Kind{kmstest.EchoRequest, kmstest.GenericError, kmstest.PlainTextStderr, kmstest.PanicText} {
		r := newRig(t, pki.EC256, kmstest.RAW)
		r.key.Config["pin"] = pin
		s := r.open(t, "jws")
		r.misbehave(t, kmstest.Fault{Command: "generate-signature", Kind: kind, Text: "FORBIDDEN canary-azure " + pin})
		_, err := s.Sign(context.Background(), image("a"), nil)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got error %v, want one without the canary", kind, err)
		}
		for _, name := range []string{"<plugin-config pin>", "<$AZURE_CLIENT_SECRET>"} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: got error %v, want one that says %s", kind, err, name)
			}
		}
	}
}

// Only what may be secret is replaced: a setting in a message helps whoever reads it.
func TestWhatIsNotSecretStays(t *testing.T) {
	t.Parallel()
	c := secretsOf(map[string]string{"as_secret": "true", "n": "123", "region": "eu-west-1"},
		[]string{"PATH=/usr/bin", "AWS_REGION=us-east-2", "VAULT_TOKEN=s.abcdef", "MINE=handed on"}, []string{"MINE"})
	got := c.hide("true 123 eu-west-1 /usr/bin us-east-2 s.abcdef handed on")
	if want := "true 123 <plugin-config region> /usr/bin us-east-2 <$VAULT_TOKEN> <$MINE>"; got != want {
		t.Errorf("got it shown as %q, want %q", got, want)
	}
}
