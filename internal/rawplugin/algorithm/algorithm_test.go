package algorithm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// rsaOf returns a public key of that size; nobody knows its private key.
func rsaOf(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}

func TestKeySpecs(t *testing.T) {
	t.Parallel()
	cases := []struct {
		pub  crypto.PublicKey
		spec plugin.KeySpec
		hash plugin.HashAlgorithm
		name plugin.SignatureAlgorithm
		size int // of the hash, and so of the PSS salt
	}{
		{rsaOf(2048), "RSA-2048", "SHA-256", "RSASSA-PSS-SHA-256", 32},
		{rsaOf(3072), "RSA-3072", "SHA-384", "RSASSA-PSS-SHA-384", 48},
		{rsaOf(4096), "RSA-4096", "SHA-512", "RSASSA-PSS-SHA-512", 64},
		{&ecdsa.PublicKey{Curve: elliptic.P256()}, "EC-256", "SHA-256", "ECDSA-SHA-256", 32},
		{&ecdsa.PublicKey{Curve: elliptic.P384()}, "EC-384", "SHA-384", "ECDSA-SHA-384", 48},
		{&ecdsa.PublicKey{Curve: elliptic.P521()}, "EC-521", "SHA-512", "ECDSA-SHA-512", 64},
	}
	for _, c := range cases {
		t.Run(string(c.spec), func(t *testing.T) {
			t.Parallel()
			a, err := Of(c.pub)
			if err != nil {
				t.Fatal(err)
			}
			if a.KeySpec != c.spec || a.HashName != c.hash || a.Name != c.name || len(a.Digest([]byte("x"))) != c.size {
				t.Errorf("got %+v, want %s, %s, %s and a digest of %d bytes", a, c.spec, c.hash, c.name, c.size)
			}
		})
	}
}

func TestOtherKeysAreUnsupported(t *testing.T) {
	t.Parallel()
	for _, pub := range []crypto.PublicKey{
		rsaOf(1024), rsaOf(2047), &ecdsa.PublicKey{Curve: elliptic.P224()}, ed25519.PublicKey{}, nil,
	} {
		if a, err := Of(pub); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%T: got %v, error %v, want %v", pub, a, err, ErrUnsupported)
		}
	}
}

func TestRawECDSA(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ der, want string }{
		"short r and s":   {"3006020101020102", strings.Repeat("00", 31) + "01" + strings.Repeat("00", 31) + "02"},
		"something after": {"300602010102010200", ""},
		"zero":            {"3006020100020102", ""},
		"negative":        {"30060201ff020102", ""},
		"too large":       {"3026022100" + strings.Repeat("ff", 32) + "020102", ""},
		"raw":             {strings.Repeat("01", 64), ""},
	} {
		der, err := hex.DecodeString(c.der)
		if err != nil {
			t.Fatal(err)
		}
		got, err := RawECDSA(elliptic.P256(), der)
		if hex.EncodeToString(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %x, error %v, want %s", name, got, err, c.want)
		}
	}
}

func TestPadECDSA(t *testing.T) {
	t.Parallel()
	half := func(size, zeros int) []byte {
		return append(make([]byte, zeros), bytes.Repeat([]byte{7}, size-zeros)...)
	}
	for _, c := range []struct {
		curve elliptic.Curve
		size  int
	}{{elliptic.P256(), 32}, {elliptic.P384(), 48}, {elliptic.P521(), 66}} {
		for _, cut := range []int{0, 1, 3} {
			want := append(half(c.size, cut), half(c.size, cut)...)
			short := bytes.Repeat([]byte{7}, 2*(c.size-cut))
			got, err := PadECDSA(c.curve, short)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes cut: got %x, error %v, want %x", c.curve.Params().Name, cut, got, err, want)
			}
		}
		for _, n := range []int{0, 1, 2*c.size - 1, 2*c.size + 2} {
			if got, err := PadECDSA(c.curve, make([]byte, n)); err == nil {
				t.Errorf("%s, %d bytes: got %x, want an error", c.curve.Params().Name, n, got)
			}
		}
	}
}

func TestVerifyTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ra, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecAlg, _ := Of(ec.Public())
	raAlg, _ := Of(ra.Public())
	ecDigest, raDigest := ecAlg.Digest([]byte("payload")), raAlg.Digest([]byte("payload"))
	r, s, err := ecdsa.Sign(rand.Reader, ec, ecDigest)
	if err != nil {
		t.Fatal(err)
	}
	ecSig := append(r.FillBytes(make([]byte, 66)), s.FillBytes(make([]byte, 66))...)
	raSig, err := rsa.SignPSS(rand.Reader, ra, crypto.SHA256, raDigest, &rsa.PSSOptions{SaltLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	badSalt, err := rsa.SignPSS(rand.Reader, ra, crypto.SHA256, raDigest, &rsa.PSSOptions{SaltLength: 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := ecAlg.Verify(ec.Public(), ecDigest, ecSig); err != nil {
		t.Errorf("EC: got error %v, want none", err)
	}
	if err := raAlg.Verify(ra.Public(), raDigest, raSig); err != nil {
		t.Errorf("RSA: got error %v, want none", err)
	}
	other := ecAlg.Digest([]byte("other"))
	for name, err := range map[string]error{
		"EC, other payload":  ecAlg.Verify(ec.Public(), other, ecSig),
		"EC, unpadded":       ecAlg.Verify(ec.Public(), ecDigest, ecSig[1:]),
		"RSA, other payload": raAlg.Verify(ra.Public(), raAlg.Digest([]byte("other")), raSig),
		"RSA, other salt":    raAlg.Verify(ra.Public(), raDigest, badSalt),
	} {
		if err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
