//go:build softhsm && cgo && unix

package main

import (
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/softhsmtest"
	"github.com/dct2notation/dct2notation/internal/rawplugin/pkitest"
)

const (
	invalid = plugin.ErrorCodeValidation
	denied  = plugin.ErrorCodeAccessDenied
)

func TestKeyIsFoundByLabelIDAndURI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	leaf := r.ca.Leaf(t, r.ec("release"))
	r.store("release", leaf)
	ids, err := r.IDs("release")
	if err != nil || len(ids) != 1 {
		t.Fatalf("got IDs %v, error %v, want one", ids, err)
	}
	escaped := ""
	for _, b := range ids[0] {
		escaped += fmt.Sprintf("%%%02x", b)
	}
	ca := pkitest.WritePEM(t, r.ca.Cert)
	onlyCA := map[string]string{"module": r.Module, "ca_certs": ca}
	for name, c := range map[string]struct {
		id     string
		config map[string]string
	}{
		"label and token":   {"release", r.config("ca_certs", ca)},
		"the only token":    {"release", onlyCA},
		"URI with object":   {"pkcs11:token=notation;object=release", onlyCA},
		"URI with id":       {"pkcs11:token=notation;id=" + escaped, onlyCA},
		"id in config":      {"a name", r.config("ca_certs", ca, "id", fmt.Sprintf("%x", ids[0]))},
		"label in config":   {"a name", r.config("ca_certs", ca, "label", "release")},
		"manufacturer also": {"pkcs11:manufacturer=SoftHSM%20project;model=SoftHSM%20v2;object=release", onlyCA},
	} {
		t.Run(name, func(t *testing.T) {
			got, failure := r.describe(c.id, c.config)
			if failure != nil || got.KeyID != c.id || got.KeySpec != plugin.KeySpecEC256 {
				t.Fatalf("describe-key: got %+v, %v, want key %s, %s", got, failure, c.id, plugin.KeySpecEC256)
			}
			r.chainIs(c.id, c.config, leaf, r.ca.Cert)
		})
	}
}

func TestModuleFromEnvironment(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, failure := r.sign("k", map[string]string{"ca_certs": r.withKey("k")}, "NOTATION_PKCS11_MODULE="+r.Module); failure != nil {
		t.Error(failure)
	}
}

func TestPIN(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ca := r.withKey("k")
	file := func(text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "pin")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := "NOTATION_PKCS11_PIN="
	private, open, wrong := file(r.PIN+"\n", 0o600), file(r.PIN, 0o644), file("55554444", 0o600)

	r.refused(denied, "CKR_PIN_INCORRECT", "k", r.config("ca_certs", ca), none+"55554444")
	r.refused(denied, "CKR_PIN", "k", r.config("ca_certs", ca), none+"1") // too short for this token
	r.refused(denied, "CKR_PIN_INCORRECT", "k", r.config("ca_certs", ca, "pin_file", wrong))
	r.refused(denied, "no PIN is configured", "k", r.config("ca_certs", ca), none)
	r.refused(denied, `"UNSET"`, "k", r.config("ca_certs", ca, "pin_env", "UNSET"))
	r.refused(invalid, "0644", "k", r.config("ca_certs", ca, "pin_file", open))
	r.refused(invalid, "plain text", "k", r.config("ca_certs", ca, "pin", r.PIN))
	r.refused(invalid, "no place in a key id", "pkcs11:object=k?pin-value="+r.PIN, r.config("ca_certs", ca))

	if _, failure := r.sign("k", r.config("ca_certs", ca, "pin_file", private), none); failure != nil {
		t.Errorf("pin_file: got %v, want no failure", failure)
	}
	if _, failure := r.sign("k", r.config("ca_certs", ca, "pin_env", "OTHER"), none, "OTHER="+r.PIN); failure != nil {
		t.Errorf("pin_env: got %v, want no failure", failure)
	}
}

func TestNothingFitsOrTooMuch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ca := r.withKey("k")
	r.ec("twin")
	r.ec("twin")
	r.refused(invalid, `no private key with label "none"`, "none", r.config("ca_certs", ca))
	r.refused(invalid, `no private key with id 00`, "k", r.config("ca_certs", ca, "id", "00"))
	r.refused(invalid, "holds 2 private keys", "twin", r.config("ca_certs", ca))
	r.refused(invalid, `no token with label "other"`, "k", r.config("ca_certs", ca, "token", "other"))
	r.refused(invalid, "no such file", "k", r.config("ca_certs", ca, "module", "/nonexistent/p11.so"))
	r.refused(invalid, "no such file", "k", r.config("ca_certs", "/nonexistent/ca.pem"))
}

func TestTwinsAreToldApartByID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ec("twin")
	ids, err := r.IDs("twin")
	if err != nil || len(ids) != 1 {
		t.Fatalf("got IDs %v, error %v, want one", ids, err)
	}
	leaf := r.ca.Leaf(t, r.ec("twin"))
	both, err := r.IDs("twin")
	if err != nil || len(both) != 2 {
		t.Fatalf("got IDs %v, error %v, want two", both, err)
	}
	second := both[0]
	if string(second) == string(ids[0]) {
		second = both[1]
	}
	ca := pkitest.WritePEM(t, leaf, r.ca.Cert)
	r.chainIs("twin", r.config("ca_certs", ca, "id", fmt.Sprintf("%x", second)), leaf, r.ca.Cert)
	r.refused(invalid, "none of the 2 certificates", "twin", r.config("ca_certs", ca, "id", fmt.Sprintf("%x", ids[0])))
}

func TestCertificateOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ec("k")
	foreign := r.ca.Leaf(t, pkitest.NewKey(t).Public())
	r.refused(invalid, "no certificate for this key", "k", r.config())
	r.refused(invalid, "none of the 2 certificates", "k", r.config("ca_certs", pkitest.WritePEM(t, foreign, r.ca.Cert)))
	r.store("k", foreign)
	r.refused(invalid, "is not the certificate of this key", "k", r.config("ca_certs", pkitest.WritePEM(t, r.ca.Cert)))
}

func TestChain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inter := r.ca.Intermediate(t, "intermediate")
	leaf := inter.Leaf(t, r.ec("k"))
	all := []*x509.Certificate{leaf, inter.Cert, r.ca.Cert}

	r.chainIs("k", r.config("ca_certs", pkitest.WritePEM(t, r.ca.Cert, leaf, inter.Cert)), all...) // all from the file
	r.store("k", leaf)
	r.refused(invalid, "intermediate", "k", r.config("ca_certs", pkitest.WritePEM(t, r.ca.Cert)))
	r.chainIs("k", r.config("ca_certs", pkitest.WritePEM(t, inter.Cert, r.ca.Cert)), all...) // leaf from the token
	r.store("some ca", inter.Cert)
	r.chainIs("k", r.config("ca_certs", pkitest.WritePEM(t, r.ca.Cert)), all...) // root from the file
	r.store("some root", r.ca.Cert)
	r.chainIs("k", r.config(), all...) // all from the token
}

func TestUnfitCertificateCostsNoKeyOperation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := r.ca.Leaf(t, r.ec("k"), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	r.refused(invalid, "checking the certificate chain", "k", r.config("ca_certs", pkitest.WritePEM(t, server, r.ca.Cert)))
}

func TestKeySpecsThatNotationLacks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	small, err := r.GenerateRSA("rsa1024", 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.GenerateEC("p224", elliptic.P224()); err != nil {
		t.Fatal(err)
	}
	r.refused(invalid, "1024 bits", "rsa1024", r.config("ca_certs", pkitest.WritePEM(t, r.ca.Leaf(t, small), r.ca.Cert)))
	r.refused(invalid, "1.3.132.0.33", "p224", r.config("ca_certs", pkitest.WritePEM(t, r.ca.Cert)))
}

func TestKeyThatAsksForThePINEachTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	leaf := r.ca.Leaf(t, r.ec("k", softhsmtest.AlwaysAuthenticate))
	r.chainIs("k", r.config("ca_certs", pkitest.WritePEM(t, leaf, r.ca.Cert)), leaf, r.ca.Cert)
}

func TestTokenWithoutPublicKeyObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	own := r.ca.Leaf(t, r.ec("k"))
	foreign := r.ca.Leaf(t, pkitest.NewKey(t).Public()) // on the same curve
	if err := r.DeletePublicKey("k"); err != nil {
		t.Fatal(err)
	}
	r.chainIs("k", r.config("ca_certs", pkitest.WritePEM(t, own, r.ca.Cert)), own, r.ca.Cert)
	_, failure := r.sign("k", r.config("ca_certs", pkitest.WritePEM(t, foreign, r.ca.Cert)))
	if failure == nil || failure.ErrCode != plugin.ErrorCodeGeneric {
		t.Errorf("a signature that the certificate does not verify: got %v, want %s", failure, plugin.ErrorCodeGeneric)
	}
}

func TestRequestForAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good := plugin.GenerateSignatureRequest{
		ContractVersion: "1.0", KeyID: "k", PluginConfig: r.config("ca_certs", r.withKey("k")), Payload: []byte("p"),
		KeySpec: plugin.KeySpecEC256, Hash: plugin.HashAlgorithmSHA256,
	}
	spec, hash, contract := good, good, good
	spec.KeySpec, hash.Hash, contract.ContractVersion = plugin.KeySpecRSA2048, plugin.HashAlgorithmSHA512, "2.0"
	for want, request := range map[plugin.ErrorCode][]plugin.GenerateSignatureRequest{
		invalid: {spec, hash}, plugin.ErrorCodeUnsupportedContractVersion: {contract},
	} {
		for _, q := range request {
			if failure := r.run("generate-signature", q, &plugin.GenerateSignatureResponse{}); failure == nil || failure.ErrCode != want {
				t.Errorf("%+v: got %v, want %s", q, failure, want)
			}
		}
	}
}

// TestManyAtOnce simulates the worker pool of a migration. Without turns (see takeTurn), about a
// third of these calls fail.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	config := r.config("ca_certs", r.withKey("k"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 8 {
				if _, failure := r.sign("k", config); failure != nil {
					t.Error(failure)
				}
			}
		})
	}
	all.Wait()
}
