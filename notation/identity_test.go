package notation_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/notation"
)

func TestIdentityIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	i := notation.IdentityOf(&x509.Certificate{Raw: []byte("leaf")})
	got, err := notation.ParseIdentity(i.String())
	if err != nil || !got.Equal(i) || got.String() != i.String() {
		t.Errorf("got %q, %v, want %q", got, err, i)
	}
	if !strings.HasPrefix(i.String(), "certificate:sha256:") {
		t.Errorf("got %q, want the form certificate:sha256:<hex>, which ledgers hold", i)
	}
	upper, err := notation.IdentityOfThumbprint(strings.ToUpper(strings.TrimPrefix(i.String(), "certificate:sha256:")))
	if err != nil || !upper.Equal(i) {
		t.Errorf("of the thumbprint in capitals: got %q, %v, want %q", upper, err, i)
	}
}

// A thumbprint is read as openssl, browsers and other tools write it. Any other text may be a
// file.
func TestThumbprintIsReadInEachSpelling(t *testing.T) {
	t.Parallel()
	bare, sha1 := strings.Repeat("ab", 32), strings.Repeat("ab", 20)
	colons := func(hex string) string { return strings.TrimSuffix(strings.ReplaceAll(hex, "ab", "ab:"), ":") }
	for _, text := range []string{bare, "sha256:" + bare, colons(bare), "sha256:" + colons(bare), "SHA256:" + strings.ToUpper(colons(bare)), strings.ToUpper(bare)} {
		if got, meant, err := notation.ParseThumbprint(text); err != nil || !meant || got != bare {
			t.Errorf("%s: got %q, %t, %v, want %s", text, got, meant, err, bare)
		}
	}
	for text, want := range map[string]string{
		sha1: "is a SHA-1", colons(sha1): "is a SHA-1", "sha1:" + sha1: "is a SHA-1", "sha256:" + sha1: "is a SHA-1", "sha1:" + bare: "is a SHA-1",
		bare[2:]: "64 hex digits", colons(bare[2:]): "64 hex digits", "sha256:": "64 hex digits", "sha256:x.pem": "64 hex digits",
		"ab:" + bare[2:]: "64 hex digits", colons(bare) + ":": "64 hex digits", bare + "ab": "64 hex digits", bare[1:]: "64 hex digits",
	} {
		got, meant, err := notation.ParseThumbprint(text)
		if err == nil || got != "" || !meant || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "openssl x509") {
			t.Errorf("%s: got %q, %t, %v, want an error with %q and the command", text, got, meant, err, want)
		}
	}
	for _, text := range []string{"", "ab", "cafe", "release.pem", "./" + bare, "C:\\release.pem", "a/" + bare, bare + ".pem"} {
		if got, meant, err := notation.ParseThumbprint(text); meant || err == nil || got != "" {
			t.Errorf("%s: got %q, %t, %v, want a file's name", text, got, meant, err)
		}
	}
}

func TestWhatIsNoIdentityIsRefused(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("ab", 32)
	for _, text := range []string{"", hex, "sha256:" + hex, "certificate:" + hex, "certificate:sha256:" + hex[2:], "certificate:sha256:" + hex + "00",
		"certificate:sha256:" + strings.ToUpper(hex), "subject:sha256:" + hex, "certificate:sha256:" + hex + ",x", " certificate:sha256:" + hex} {
		if got, err := notation.ParseIdentity(text); err == nil || !got.IsZero() {
			t.Errorf("%q: got %q, want an error", text, got)
		}
	}
}

func TestZeroIdentityIsNobodys(t *testing.T) {
	t.Parallel()
	var zero notation.Identity
	leaf := &x509.Certificate{Raw: []byte("leaf")}
	if zero.Equal(zero) || zero.String() != "" || zero.Matches(notation.Contents{Chain: []*x509.Certificate{leaf}}) == nil {
		t.Errorf("zero identity: got %q or a match, want nothing and none", zero)
	}
	i := notation.IdentityOf(leaf)
	if i.Matches(notation.Contents{}) == nil || i.Matches(notation.Contents{Chain: []*x509.Certificate{{Raw: []byte("other")}, leaf}}) == nil {
		t.Error("the leaf is another's: got a match, want none")
	}
	if err := i.Matches(notation.Contents{Chain: []*x509.Certificate{leaf}}); err != nil {
		t.Error(err)
	}
}
