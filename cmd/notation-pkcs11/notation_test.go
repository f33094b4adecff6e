//go:build softhsm && cgo && unix

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	notationgo "github.com/notaryproject/notation-go"
	notationplugin "github.com/notaryproject/notation-go/plugin"
	notationsigner "github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/rawplugin/pkitest"
)

// TestNotationSignsWithEveryKeySpec is not parallel: Notation's own plugin runner passes on the
// process's environment, so the token's variables are set there.
func TestNotationSignsWithEveryKeySpec(t *testing.T) {
	r := newRig(t)
	for _, pair := range r.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	t.Setenv("NOTATION_PKCS11_PIN", r.PIN)
	pkcs11, err := notationplugin.NewCLIPlugin(context.Background(), "pkcs11", binary)
	if err != nil {
		t.Fatal(err)
	}
	for label, make := range map[string]func(string) (crypto.PublicKey, error){
		"RSA-2048": func(l string) (crypto.PublicKey, error) { return r.GenerateRSA(l, 2048) },
		"RSA-3072": func(l string) (crypto.PublicKey, error) { return r.GenerateRSA(l, 3072) },
		"RSA-4096": func(l string) (crypto.PublicKey, error) { return r.GenerateRSA(l, 4096) },
		"EC-256":   func(l string) (crypto.PublicKey, error) { return r.GenerateEC(l, elliptic.P256()) },
		"EC-384":   func(l string) (crypto.PublicKey, error) { return r.GenerateEC(l, elliptic.P384()) },
		"EC-521":   func(l string) (crypto.PublicKey, error) { return r.GenerateEC(l, elliptic.P521()) },
	} {
		pub, err := make(label)
		if err != nil {
			t.Fatal(err)
		}
		r.store(label, r.ca.Leaf(t, pub))
		config := r.config("ca_certs", pkitest.WritePEM(t, r.ca.Cert))
		if got, failure := r.describe(label, config); failure != nil || string(got.KeySpec) != label {
			t.Fatalf("describe-key of %s: got %+v, %v, want that key spec", label, got, failure)
		}
		s, err := notationsigner.NewPluginSigner(pkcs11, label, config)
		if err != nil {
			t.Fatal(err)
		}
		for _, mediaType := range []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope} {
			t.Run(label+" "+mediaType, func(t *testing.T) { signAndVerify(t, s, mediaType, r.ca.Cert) })
		}
	}
}

// signAndVerify makes an envelope and verifies it from its bytes alone.
func signAndVerify(t *testing.T, s notationgo.Signer, mediaType string, root *x509.Certificate) {
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
	blob, _, err := s.Sign(context.Background(), image, notationgo.SignerSignOptions{SignatureMediaType: mediaType})
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := signature.ParseEnvelope(mediaType, blob)
	if err != nil {
		t.Fatal(err)
	}
	content, err := envelope.Verify()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signature.VerifyAuthenticity(&content.SignerInfo, []*x509.Certificate{root}); err != nil {
		t.Error(err)
	}
	var payload struct {
		TargetArtifact ocispec.Descriptor `json:"targetArtifact"`
	}
	if err := json.Unmarshal(content.Payload.Content, &payload); err != nil {
		t.Fatal(err)
	}
	if payload.TargetArtifact.Digest != image.Digest {
		t.Errorf("got the envelope sign %s, want %s", payload.TargetArtifact.Digest, image.Digest)
	}
}

// TestNoisyModuleCannotSpoilTheAnswer loads a library that prints to both
// descriptors when it is loaded, as vendors' libraries do.
func TestNoisyModuleCannotSpoilTheAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "noise.c"), filepath.Join(dir, "noise.so")
	text := "#include <unistd.h>\n__attribute__((constructor)) static void noise(void) { (void)!write(1, \"noise\\n\", 6); (void)!write(2, \"noise\\n\", 6); }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("building the noisy library: %v\n%s", err, out)
	}
	c := exec.Command(binary, "describe-key")
	c.Env = []string{"NOTATION_PKCS11_MODULE=" + library}
	c.Stdin = strings.NewReader(`{"contractVersion":"1.0","keyId":"k"}`)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got an end with %v, want exit code 1", err)
	}
	var failure plugin.Error
	if err := json.Unmarshal(stderr.Bytes(), &failure); err != nil || failure.ErrCode != invalid {
		t.Errorf("got stderr %q, error %v, want a VALIDATION_ERROR alone", stderr.String(), err)
	}
	if stdout.Len() != 0 {
		t.Errorf("got stdout %q, want nothing", stdout.String())
	}
}

func TestVersionAndUsageForPeople(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "version").Output()
	if err != nil || !strings.Contains(string(out), "Version: "+version) {
		t.Errorf("version: got %q, error %v, want %s", out, err, version)
	}
	out, err = exec.Command(binary).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "describe-key|generate-signature") {
		t.Errorf("without a command: got %q, error %v, want an error and the usage", out, err)
	}
}
