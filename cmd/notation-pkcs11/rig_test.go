//go:build softhsm && cgo && unix

package main

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/softhsmtest"
	"github.com/dct2notation/dct2notation/internal/rawplugin/pkitest"
)

// binary is the plugin, built once for all tests. They run the program that Notation starts, with
// its own process, environment and PKCS#11 module.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "notation-pkcs11")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "notation-pkcs11")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the plugin: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// rig is one token, one certificate authority and the plugin's environment.
type rig struct {
	*softhsmtest.Token
	t  *testing.T
	ca *pkitest.CA
}

func newRig(t *testing.T) *rig {
	t.Helper()
	token, err := softhsmtest.New(t.TempDir())
	if err != nil {
		t.Fatal(err) // names the package softhsm2 if it is missing
	}
	return &rig{token, t, pkitest.Root(t, "root")}
}

// config returns plugin-config for the rig's token, with pairs added or changed.
func (r *rig) config(pairs ...string) map[string]string {
	c := map[string]string{"module": r.Module, "token": r.Label}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

func (r *rig) ec(label string, options ...softhsmtest.Option) crypto.PublicKey {
	r.t.Helper()
	pub, err := r.GenerateEC(label, elliptic.P256(), options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return pub
}

func (r *rig) store(label string, certs ...*x509.Certificate) {
	r.t.Helper()
	for _, c := range certs {
		if err := r.ImportCertificate(label, c); err != nil {
			r.t.Fatal(err)
		}
	}
}

// withKey makes an EC key of that label and returns ca_certs for it.
func (r *rig) withKey(label string) (caCerts string) {
	r.t.Helper()
	return pkitest.WritePEM(r.t, r.ca.Leaf(r.t, r.ec(label)), r.ca.Cert)
}

// run starts the plugin and decodes its answer into out or returns its error. It fails the test if
// the answer is malformed or contains the PIN.
func (r *rig) run(command string, request, out any, env ...string) *plugin.Error {
	r.t.Helper()
	input, err := json.Marshal(request)
	if err != nil {
		r.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	c := exec.Command(binary, command)
	c.Env = append(append(r.Env(), "NOTATION_PKCS11_PIN="+r.PIN), env...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &stdout, &stderr
	err = c.Run()
	if all := stdout.String() + stderr.String(); strings.Contains(all, r.PIN) {
		r.t.Errorf("%s shows the PIN: %s", command, all)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		var failure plugin.Error
		if err := json.Unmarshal(stderr.Bytes(), &failure); err != nil {
			r.t.Fatalf("%s: malformed error %q: %v", command, stderr.String(), err)
		}
		return &failure
	}
	if err != nil {
		r.t.Fatalf("%s: %v: %s", command, err, stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		r.t.Fatalf("%s: malformed answer %q: %v", command, stdout.String(), err)
	}
	return nil
}

func (r *rig) describe(id string, config map[string]string, env ...string) (plugin.DescribeKeyResponse, *plugin.Error) {
	r.t.Helper()
	var out plugin.DescribeKeyResponse
	err := r.run("describe-key", plugin.DescribeKeyRequest{ContractVersion: "1.0", KeyID: id, PluginConfig: config}, &out, env...)
	return out, err
}

// sign asks for a signature by an EC P-256 key.
func (r *rig) sign(id string, config map[string]string, env ...string) (plugin.GenerateSignatureResponse, *plugin.Error) {
	r.t.Helper()
	var out plugin.GenerateSignatureResponse
	err := r.run("generate-signature", plugin.GenerateSignatureRequest{
		ContractVersion: "1.0", KeyID: id, PluginConfig: config, Payload: []byte("payload"),
		KeySpec: plugin.KeySpecEC256, Hash: plugin.HashAlgorithmSHA256,
	}, &out, env...)
	return out, err
}

// refused fails the test unless both commands refuse with code and text.
func (r *rig) refused(code plugin.ErrorCode, text, id string, config map[string]string, env ...string) {
	r.t.Helper()
	_, described := r.describe(id, config, env...)
	_, signed := r.sign(id, config, env...)
	for command, got := range map[string]*plugin.Error{"describe-key": described, "generate-signature": signed} {
		if got == nil {
			r.t.Errorf("%s: accepted, want %s with %q", command, code, text)
		} else if got.ErrCode != code || !strings.Contains(got.Message, text) {
			r.t.Errorf("%s: %s %q, want %s with %q", command, got.ErrCode, got.Message, code, text)
		}
	}
}

// chainIs fails the test unless signing works and returns these certificates.
func (r *rig) chainIs(id string, config map[string]string, want ...*x509.Certificate) {
	r.t.Helper()
	got, failure := r.sign(id, config)
	if failure != nil {
		r.t.Fatal(failure)
	}
	if len(got.CertificateChain) != len(want) {
		r.t.Fatalf("a chain of %d certificates, want %d", len(got.CertificateChain), len(want))
	}
	for i, c := range want {
		if !bytes.Equal(got.CertificateChain[i], c.Raw) {
			r.t.Errorf("certificate %d is not that of %q", i, c.Subject)
		}
	}
}
