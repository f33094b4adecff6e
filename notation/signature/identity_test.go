package signature_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/notation/signature"
)

func TestIdentityIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	i := signature.Certificate(&x509.Certificate{Raw: []byte("leaf")})
	got, err := signature.Parse(i.String())
	if err != nil || !got.Equal(i) || got.String() != i.String() {
		t.Errorf("got %q, %v, want %q", got, err, i)
	}
	if !strings.HasPrefix(i.String(), "certificate:sha256:") {
		t.Errorf("got %q: ledgers hold the form certificate:sha256:<hex>", i)
	}
	upper, err := signature.OfThumbprint(strings.ToUpper(strings.TrimPrefix(i.String(), "certificate:sha256:")))
	if err != nil || !upper.Equal(i) {
		t.Errorf("of the thumbprint in capitals: got %q, %v, want %q", upper, err, i)
	}
}

func TestWhatIsNoIdentityIsRefused(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("ab", 32)
	for _, text := range []string{"", hex, "sha256:" + hex, "certificate:" + hex, "certificate:sha256:" + hex[2:], "certificate:sha256:" + hex + "00",
		"certificate:sha256:" + strings.ToUpper(hex), "subject:sha256:" + hex, "certificate:sha256:" + hex + ",x", " certificate:sha256:" + hex} {
		if got, err := signature.Parse(text); err == nil || !got.IsZero() {
			t.Errorf("%q: got %q, want an error", text, got)
		}
	}
}

func TestZeroIdentityIsNobodys(t *testing.T) {
	t.Parallel()
	var zero signature.Identity
	leaf := &x509.Certificate{Raw: []byte("leaf")}
	if zero.Equal(zero) || zero.String() != "" || zero.Matches([]*x509.Certificate{leaf}) == nil {
		t.Error("the zero identity matches something")
	}
	i := signature.Certificate(leaf)
	if i.Matches(nil) == nil || i.Matches([]*x509.Certificate{{Raw: []byte("other")}, leaf}) == nil {
		t.Error("matched where the leaf is another's")
	}
	if err := i.Matches([]*x509.Certificate{leaf}); err != nil {
		t.Error(err)
	}
}
