package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-awskms/localkms"
	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/pkitest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// binary is the plugin, built once for all tests. They run the program that Notation starts, with
// its own process and environment.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "notation-awskms")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "notation-awskms")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the plugin: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// rig is a KMS with one key and its certificates.
type rig struct {
	*localkms.Server
	t       *testing.T
	ca      *pkitest.CA
	id      string // the key's ARN
	public  crypto.PublicKey
	chain   []*x509.Certificate
	request plugin.GenerateSignatureRequest
	env     []string
}

func newRig(t *testing.T, a pki.Algorithm) *rig {
	t.Helper()
	r := &rig{Server: localkms.Start(t.TempDir()), t: t, ca: pkitest.Root(t, "root")}
	t.Cleanup(r.Close)
	var err error
	if r.id, r.public, err = r.CreateKey(a); err != nil {
		t.Fatal(err)
	}
	spec, err := algorithm.Of(r.public)
	if err != nil {
		t.Fatal(err)
	}
	r.chain = []*x509.Certificate{r.ca.Leaf(t, r.public), r.ca.Cert}
	r.env = r.Env()
	r.request = plugin.GenerateSignatureRequest{
		ContractVersion: "1.0", KeyID: r.id, Payload: []byte("payload"), KeySpec: spec.KeySpec, Hash: spec.HashName,
		PluginConfig: map[string]string{"ca_certs": pkitest.WritePEM(t, r.chain...)},
	}
	return r
}

// run starts the plugin and decodes its answer into out, or returns its error. The test fails if the
// answer is malformed or shows the secret.
func (r *rig) run(command string, out any) *plugin.Error {
	r.t.Helper()
	input, err := json.Marshal(r.request)
	if err != nil {
		r.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	c := exec.Command(binary, command)
	c.Env, c.Stdin, c.Stdout, c.Stderr = r.env, bytes.NewReader(input), &stdout, &stderr
	err = c.Run()
	if all := stdout.String() + stderr.String(); strings.Contains(all, localkms.Secret) {
		r.t.Errorf("%s shows the secret: %s", command, all)
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

func (r *rig) sign() (plugin.GenerateSignatureResponse, *plugin.Error) {
	var out plugin.GenerateSignatureResponse
	return out, r.run("generate-signature", &out)
}

// P-256 uses local-kms; the other specs use the stand-in.
func TestSignsWithEveryKeySpec(t *testing.T) {
	t.Parallel()
	for _, a := range pki.Algorithms {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, a)
			var described plugin.DescribeKeyResponse
			if failure := r.run("describe-key", &described); failure != nil || string(described.KeySpec) != string(a) || described.KeyID != r.id {
				t.Fatalf("describe-key: got %+v, %v, want %s", described, failure, a)
			}
			if n := r.Count("Sign"); n != 0 {
				t.Errorf("describe-key: got %d key operations, want none", n)
			}
			var got plugin.GenerateSignatureResponse
			if failure := r.run("generate-signature", &got); failure != nil {
				t.Fatal(failure)
			}
			spec, err := algorithm.Of(r.public)
			if err != nil {
				t.Fatal(err)
			}
			if err := spec.Verify(r.public, spec.Digest([]byte("payload")), got.Signature); err != nil {
				t.Error(err)
			}
			if len(got.CertificateChain) != 2 || !bytes.Equal(got.CertificateChain[0], r.chain[0].Raw) || got.SigningAlgorithm != spec.Name {
				t.Errorf("got %d certificates, %s, want leaf and root, %s", len(got.CertificateChain), got.SigningAlgorithm, spec.Name)
			}
			if n := r.Count("Sign"); n != 1 {
				t.Errorf("got %d key operations, want 1", n)
			}
		})
	}
}

// Between the two requests, an alias can be moved to another key.
func TestAliasIsResolvedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256)
	if err := r.Do("CreateAlias", map[string]string{"AliasName": "alias/release", "TargetKeyId": r.id}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan any, 1)
	r.Hook(func(q localkms.Request) string {
		if q.Action == "Sign" {
			asked <- q.Body["KeyId"]
		}
		return ""
	})
	r.request.KeyID = "alias/release"
	if _, failure := r.sign(); failure != nil {
		t.Fatal(failure)
	}
	if got := <-asked; got != r.id {
		t.Errorf("got key %v asked to sign, want %s", got, r.id)
	}
}

// This also shows that no request is repeated: the caller decides whether to retry.
func TestErrorsHaveTheProtocolsCodes(t *testing.T) {
	t.Parallel()
	const throttled, denied, invalid, timeout, failed = plugin.ErrorCodeThrottled, plugin.ErrorCodeAccessDenied, plugin.ErrorCodeValidation, plugin.ErrorCodeTimeout, plugin.ErrorCodeGeneric
	for code, want := range map[string]plugin.ErrorCode{
		"ThrottlingException": throttled, "Throttling": throttled, "TooManyRequestsException": throttled, "LimitExceededException": throttled, "RequestLimitExceeded": throttled,
		"AccessDeniedException": denied, "UnrecognizedClientException": denied, "ExpiredTokenException": denied, "InvalidSignatureException": denied,
		"NotFoundException": invalid, "DisabledException": invalid, "KMSInvalidStateException": invalid, "ValidationException": invalid, "InvalidKeyUsageException": invalid,
		"DependencyTimeoutException": timeout, "KMSInternalException": failed, "KeyUnavailableException": failed, "NewException": failed,
	} {
		for _, action := range []string{"GetPublicKey", "Sign"} {
			t.Run(code+" "+action, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, pki.EC256)
				requests := make(chan int, 10)
				r.Hook(func(q localkms.Request) string {
					if q.Action != action {
						return ""
					}
					requests <- q.Nth
					return code
				})
				_, failure := r.sign()
				if failure == nil || failure.ErrCode != want || !strings.Contains(failure.Message, code) || strings.Contains(failure.Message, "StatusCode") {
					t.Errorf("got %v, want %s with %s and nothing of HTTP", failure, want, code)
				}
				if len(requests) != 1 {
					t.Errorf("got %d requests, want 1", len(requests))
				}
			})
		}
	}
}

// Both commands find it, and report it in the same words.
func TestWhatIsWrongIsFoundBeforeTheKeyIsUsed(t *testing.T) {
	t.Parallel()
	without := func(r *rig, name string) {
		r.env = slices.DeleteFunc(r.env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	certs := func(r *rig, certs ...*x509.Certificate) {
		r.request.PluginConfig["ca_certs"] = pkitest.WritePEM(r.t, certs...)
	}
	const invalid, denied = plugin.ErrorCodeValidation, plugin.ErrorCodeAccessDenied
	for name, c := range map[string]struct {
		spoil func(*rig)
		code  plugin.ErrorCode
		want  string
	}{
		"another key's certificate": {func(r *rig) { certs(r, r.ca.Leaf(r.t, pkitest.NewKey(r.t).Public()), r.ca.Cert) }, invalid, "none of the 2 certificates"},
		"two of its certificates":   {func(r *rig) { certs(r, r.chain[0], r.ca.Leaf(r.t, r.public), r.ca.Cert) }, invalid, "2 certificates"},
		"no root":                   {func(r *rig) { certs(r, r.chain[0]) }, invalid, "does not reach a self-signed root"},
		"an authority":              {func(r *rig) { certs(r, r.ca.Leaf(r.t, r.public, pki.CA), r.ca.Cert) }, invalid, "checking the certificate chain"},
		"no certificates":           {func(r *rig) { delete(r.request.PluginConfig, "ca_certs") }, invalid, "ca_certs=FILE"},
		"no such file":              {func(r *rig) { r.request.PluginConfig["ca_certs"] += "x" }, invalid, "reading ca_certs"},
		"a secret in plugin-config": {func(r *rig) { r.request.PluginConfig["aws_secret_access_key"] = localkms.Secret }, invalid, "unknown name"},
		"no such key":               {func(r *rig) { r.request.KeyID = "alias/none" }, invalid, "NotFoundException"},
		"a disabled key": {func(r *rig) {
			if err := r.Do("DisableKey", map[string]string{"KeyId": r.id}); err != nil {
				r.t.Fatal(err)
			}
		}, invalid, "DisabledException"},
		"no region":      {func(r *rig) { without(r, "AWS_REGION") }, invalid, "AWS_REGION"},
		"no credentials": {func(r *rig) { without(r, "AWS_ACCESS_KEY_ID"); without(r, "AWS_SECRET_ACCESS_KEY") }, denied, "getting AWS credentials"},
		"no credentials, and no instance": {func(r *rig) {
			without(r, "AWS_ACCESS_KEY_ID")
			without(r, "AWS_SECRET_ACCESS_KEY")
			without(r, "AWS_EC2_METADATA_DISABLED")
			r.env = append(r.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1")
		}, denied, "no EC2 IMDS role found"},
		"a role, and nobody there to give it": {func(r *rig) {
			without(r, "AWS_ACCESS_KEY_ID")
			without(r, "AWS_SECRET_ACCESS_KEY")
			r.env = append(r.env, "AWS_ROLE_ARN=arn:aws:iam::111122223333:role/release", "AWS_WEB_IDENTITY_TOKEN_FILE="+r.request.PluginConfig["ca_certs"],
				"AWS_ENDPOINT_URL_STS=http://127.0.0.1:1")
		}, plugin.ErrorCodeGeneric, "connection refused"},
		"no such profile":  {func(r *rig) { r.env = append(r.env, "AWS_PROFILE=none") }, invalid, "reading the AWS configuration"},
		"another contract": {func(r *rig) { r.request.ContractVersion = "2.0" }, plugin.ErrorCodeUnsupportedContractVersion, "2.0"},
		"nobody there":     {func(r *rig) { r.env = append(r.env, "AWS_ENDPOINT_URL=http://127.0.0.1:1") }, plugin.ErrorCodeGeneric, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pki.EC256)
			c.spoil(r)
			for _, command := range []string{"describe-key", "generate-signature"} {
				if got := r.run(command, new(any)); got == nil || got.ErrCode != c.code || !strings.Contains(got.Message, c.want) {
					t.Errorf("%s: got %v, want %s with %q", command, got, c.code, c.want)
				}
			}
			if n := r.Count("Sign"); n != 0 {
				t.Errorf("got %d key operations, want none", n)
			}
		})
	}
}

// The answer of describe-key can be out of date.
func TestKeyThatWasExchangedIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256)
	r.request.KeySpec, r.request.Hash = plugin.KeySpecEC384, plugin.HashAlgorithmSHA384
	if _, failure := r.sign(); failure == nil || failure.ErrCode != plugin.ErrorCodeValidation || r.Count("Sign") != 0 {
		t.Errorf("got %v, %d key operations, want it refused without one", failure, r.Count("Sign"))
	}
}
