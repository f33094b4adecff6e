package kmstest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// A rawAnswer is the answer to generate-signature, with its leaf certificate.
type rawAnswer struct {
	plugin.GenerateSignatureResponse
	leaf *x509.Certificate
}

// signed reports whether the key of id signed payload.
func (a rawAnswer) signed(id *pki.Identity, payload string) bool {
	digest := sha256.Sum256([]byte(payload))
	r, s := new(big.Int).SetBytes(a.Signature[:32]), new(big.Int).SetBytes(a.Signature[32:])
	return ecdsa.Verify(id.Key.Public().(*ecdsa.PublicKey), digest[:], r, s)
}

// lie orders one fault and returns the answer it spoils, the right key and the one to do it with.
func lie(t *testing.T, kind kmstest.Kind, with string) (a rawAnswer, right, other *pki.Identity) {
	t.Helper()
	right = issue(t, "right", pki.EC256)
	other = issue(t, "other", pki.EC256)
	p := install(t, kmstest.Behaviour{
		Keys:   map[string]pki.Files{"k": save(t, right), "other": save(t, other)},
		Faults: []kmstest.Fault{{Command: "generate-signature", Kind: kind, With: with}},
	})
	got := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
	if got.exit != 0 || got.stderr != "" {
		t.Fatalf("exit %d: %s", got.exit, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), &a); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.leaf, err = x509.ParseCertificate(a.CertificateChain[0]); err != nil {
		t.Fatal(err)
	}
	return a, right, other
}

// TestEachLieIsOneLie: what a fault is not about stays true, else a caller would notice for another reason.
func TestEachLieIsOneLie(t *testing.T) {
	t.Parallel()
	const payload = "sign me"
	for _, want := range []struct {
		kind       kmstest.Kind
		with       string
		signed     bool   // by the right key, over the right bytes
		chain      string // whose certificates: right, other, nobody
		keyID, alg string
	}{
		{kmstest.Slow, "", true, "right", "k", "ECDSA-SHA-256"}, // no lie: the measure for the others
		{kmstest.WrongKey, "", false, "right", "k", "ECDSA-SHA-256"},
		{kmstest.WrongKey, "other", false, "right", "k", "ECDSA-SHA-256"},
		{kmstest.WrongChain, "", true, "nobody", "k", "ECDSA-SHA-256"},
		{kmstest.WrongChain, "other", true, "other", "k", "ECDSA-SHA-256"},
		{kmstest.ExpiredChain, "", true, "nobody", "k", "ECDSA-SHA-256"},
		{kmstest.NewCertificate, "", true, "nobody", "k", "ECDSA-SHA-256"},
		{kmstest.WrongKeyID, "", true, "right", "not-k", "ECDSA-SHA-256"},
		{kmstest.WrongPayload, "", false, "right", "k", "ECDSA-SHA-256"},
		{kmstest.WrongAlgorithm, "", true, "right", "k", "RSASSA-PSS-SHA-256"},
		{kmstest.BadSignature, "", false, "right", "k", "ECDSA-SHA-256"},
	} {
		t.Run(string(want.kind)+" "+want.with, func(t *testing.T) {
			t.Parallel()
			if want.kind == kmstest.Slow {
				checkHonest(t)
				return
			}
			a, right, other := lie(t, want.kind, want.with)
			if a.signed(right, payload) != want.signed {
				t.Errorf("signed by the right key: %v", !want.signed)
			}
			whose := "nobody"
			switch {
			case bytes.Equal(a.leaf.Raw, right.Chain[0].Raw):
				whose = "right"
			case bytes.Equal(a.leaf.Raw, other.Chain[0].Raw):
				whose = "other"
			}
			if whose != want.chain || a.KeyID != want.keyID || string(a.SigningAlgorithm) != want.alg {
				t.Errorf("certificates of %s, key %s, %s", whose, a.KeyID, a.SigningAlgorithm)
			}
			checkDetails(t, want.kind, want.with, a, right, other)
		})
	}
}

func checkHonest(t *testing.T) {
	right := issue(t, "right", pki.EC256)
	p := install(t, kmstest.Behaviour{Keys: map[string]pki.Files{"k": save(t, right)}})
	got := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
	var a rawAnswer
	if err := json.Unmarshal([]byte(got.stdout), &a); err != nil || !a.signed(right, "sign me") || a.signed(right, "sign you") {
		t.Errorf("%v: not signed: %s", err, got.stdout)
	}
}

// checkDetails looks at what only one kind does.
func checkDetails(t *testing.T, kind kmstest.Kind, with string, a rawAnswer, right, other *pki.Identity) {
	switch kind {
	case kmstest.WrongKey:
		if with == "other" && !a.signed(other, "sign me") {
			t.Error("not signed with the key the fault names")
		}
	case kmstest.WrongPayload:
		if !a.signed(right, "sign meand more") {
			t.Error("not the right key over other bytes")
		}
	case kmstest.ExpiredChain:
		if !right.Key.Public().(*ecdsa.PublicKey).Equal(a.leaf.PublicKey) || !a.leaf.NotAfter.Before(time.Now()) {
			t.Errorf("not an expired certificate of the right key: valid until %v", a.leaf.NotAfter)
		}
	}
}
