package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	corex509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/notation-go/plugin/proto"
)

// authority is one for all tests.
var authority = sync.OnceValue(func() *Identity {
	a, err := NewAuthority("test root")
	if err != nil {
		panic(err)
	}
	return a
})

func issue(t *testing.T, cn string, a Algorithm, change ...func(*x509.Certificate)) *Identity {
	t.Helper()
	key, err := NewKey(cn, a)
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority().Issue(cn, key, change...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestCertificatesSatisfyNotation also checks that the key on disk is the key in the certificate.
func TestCertificatesSatisfyNotation(t *testing.T) {
	t.Parallel()
	for _, a := range Algorithms {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			id := issue(t, "k", a)
			now := time.Now()
			if err := corex509.ValidateCodeSigningCertChain(id.Chain, &now); err != nil {
				t.Error(err)
			}
			spec, err := signature.ExtractKeySpec(id.Chain[0])
			if err != nil {
				t.Fatal(err)
			}
			if name, err := proto.EncodeKeySpec(spec); err != nil || string(name) != string(a) {
				t.Errorf("got key spec %s, error %v, want %s", name, err, a)
			}
			if subject := id.Chain[0].Subject.String(); subject != "CN=k,O=dct2notation test,ST=WA,C=US" {
				t.Errorf("got subject %s, want that of k", subject)
			}
			saved, err := id.Save(t.TempDir(), "test")
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := saved.Load()
			if err != nil {
				t.Fatal(err)
			}
			public := loaded.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
			if !public.Equal(loaded.Chain[0].PublicKey) || len(loaded.Chain) != 2 {
				t.Errorf("got a chain of %d, want 2 that fit the key", len(loaded.Chain))
			}
		})
	}
}

func TestKeysAndChainsArePEM(t *testing.T) {
	t.Parallel()
	id := issue(t, "pem", EC384)
	key, err := id.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(key)
	if block == nil || block.Type != "PRIVATE KEY" {
		t.Fatalf("got %.30s, want a PKCS #8 block", key)
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(id.ChainPEM()), "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("got %d certificates, want leaf and root", n)
	}
	if !strings.HasSuffix(string(id.ChainPEM()), string(authority().CertificatePEM())) {
		t.Error("got another end of the chain, want the root")
	}
}

func TestValidityIsAsAsked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	id := issue(t, "old", EC256, Valid(now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0)))
	if err := corex509.ValidateCodeSigningCertChain(id.Chain, &now); err == nil {
		t.Error("got it valid today, want it expired")
	}
	then := now.AddDate(-1, -6, 0)
	if err := corex509.ValidateCodeSigningCertChain(id.Chain, &then); err != nil {
		t.Errorf("back then: got error %v, want none", err)
	}
}

// Otherwise a test of a wrong key would sign with the right one.
func TestNamesNeverShareRSAKeys(t *testing.T) {
	t.Parallel()
	one := issue(t, "one", RSA2048)
	again := issue(t, "one", RSA2048)
	two := issue(t, "two", RSA2048)
	if one.Key != again.Key {
		t.Error("got the key made twice, want it made once")
	}
	if one.Key == two.Key {
		t.Error("got one key for two names, want two")
	}
}
