package kmstest_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	corex509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/notation-go/plugin/proto"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// TestCertificatesSatisfyNotation also checks that the key on disk is the key in the certificate.
func TestCertificatesSatisfyNotation(t *testing.T) {
	t.Parallel()
	for _, a := range kmstest.Algorithms {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			id := issue(t, "k", a, kmstest.IssueOptions{})
			now := time.Now()
			if err := corex509.ValidateCodeSigningCertChain(id.Chain, &now); err != nil {
				t.Error(err)
			}
			spec, err := signature.ExtractKeySpec(id.Chain[0])
			if err != nil {
				t.Fatal(err)
			}
			if name, err := proto.EncodeKeySpec(spec); err != nil || string(name) != string(a) {
				t.Errorf("key spec %s, %v; want %s", name, err, a)
			}
			if subject := id.Chain[0].Subject.String(); subject != "CN=k,O=dct2notation test,ST=WA,C=US" {
				t.Errorf("subject %s", subject)
			}
			loaded, err := save(t, id).Load()
			if err != nil {
				t.Fatal(err)
			}
			public := loaded.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
			if !public.Equal(loaded.Chain[0].PublicKey) || len(loaded.Chain) != 2 {
				t.Errorf("loaded a chain of %d that does not fit its key", len(loaded.Chain))
			}
		})
	}
}

func TestKeysAndChainsArePEM(t *testing.T) {
	t.Parallel()
	id := issue(t, "pem", kmstest.EC384, kmstest.IssueOptions{})
	key, err := id.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(key)
	if block == nil || block.Type != "PRIVATE KEY" {
		t.Fatalf("no PKCS #8 block in %.30s", key)
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(id.ChainPEM()), "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("%d certificates, want leaf and root", n)
	}
	if !strings.HasSuffix(string(id.ChainPEM()), string(authority(t).RootPEM())) {
		t.Error("the chain does not end with the root")
	}
}

func TestValidityIsAsAsked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	id := issue(t, "old", kmstest.EC256, kmstest.IssueOptions{NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(-1, 0, 0)})
	if err := corex509.ValidateCodeSigningCertChain(id.Chain, &now); err == nil {
		t.Error("valid today")
	}
	then := now.AddDate(-1, -6, 0)
	if err := corex509.ValidateCodeSigningCertChain(id.Chain, &then); err != nil {
		t.Errorf("not valid back then: %v", err)
	}
}

// TestNamesNeverShareRSAKeys: else a test of a wrong key would sign with the right one.
func TestNamesNeverShareRSAKeys(t *testing.T) {
	t.Parallel()
	one := issue(t, "one", kmstest.RSA2048, kmstest.IssueOptions{})
	again := issue(t, "one", kmstest.RSA2048, kmstest.IssueOptions{})
	two := issue(t, "two", kmstest.RSA2048, kmstest.IssueOptions{})
	if one.Key != again.Key {
		t.Error("the key was made twice")
	}
	if one.Key == two.Key {
		t.Error("two names, one key")
	}
}
