package notation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// Each way a plugin can misbehave while signing ends in its class, in time, and never in an
// envelope.
func TestPluginMisbehavesWhileSigning(t *testing.T) {
	t.Parallel()
	const timeout = waitDelay + 1500*time.Millisecond
	for kind, want := range map[kmstest.Kind]failure.Class{
		kmstest.AccessDenied: failure.Denied, kmstest.Validation: failure.Denied, kmstest.TimeoutCode: failure.Transient, kmstest.GenericError: failure.Transient,
		kmstest.PlainTextStderr: failure.Transient, kmstest.PanicText: failure.Transient, kmstest.EmptyStderr: failure.Transient, kmstest.ExitOneValidStdout: failure.Transient,
		kmstest.Hang: failure.Transient, kmstest.HangIgnoreTerm: failure.Transient, kmstest.ChildHoldsAndHangs: failure.Transient,
		kmstest.ChildHoldsStdout: failure.Transient, kmstest.SetsidDaemon: failure.Transient, kmstest.GarbageStdout: failure.Permanent, kmstest.EmptyStdout: failure.Permanent,
		kmstest.HugeStdout: failure.Permanent, kmstest.DuplicateJSONKeys: failure.Permanent, kmstest.TruncatedJSON: failure.Permanent,
		kmstest.WrongKey: failure.Security, kmstest.WrongChain: failure.Security, kmstest.ExpiredChain: failure.Security, kmstest.WrongKeyID: failure.Security,
		kmstest.WrongPayload: failure.Security, kmstest.WrongAlgorithm: failure.Security, kmstest.BadSignature: failure.Security,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pki.EC256, kmstest.RAW)
			s := r.open(t, "jws")
			s.plug.timeout = timeout
			r.misbehave(t, kmstest.Fault{Command: r.command(), Kind: kind, Ms: 20_000})
			began := time.Now()
			e, err := s.Sign(context.Background(), image("a"), nil)
			if err == nil || failure.Of(err) != want {
				t.Errorf("got class %s, want %s: %v", failure.Of(err), want, err)
			}
			if e.Blob != nil {
				t.Errorf("got an envelope of %d bytes with the error, want none", len(e.Blob))
			}
			if d := time.Since(began); d > timeout+waitDelay+10*time.Second {
				t.Errorf("got an error after %s, want it within %s", d, timeout+waitDelay+10*time.Second)
			}
		})
	}
}

// The same with a plugin that makes whole envelopes.
func TestEnvelopePluginMisbehaves(t *testing.T) {
	t.Parallel()
	for _, kind := range []kmstest.Kind{kmstest.WrongKey, kmstest.WrongChain, kmstest.WrongPayload, kmstest.BadSignature, kmstest.WrongEnvelopeType} {
		for _, format := range []string{"jws", "cose"} {
			t.Run(fmt.Sprint(kind, format), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, pki.EC256, kmstest.ENVELOPE)
				s := r.open(t, format)
				r.misbehave(t, kmstest.Fault{Command: r.command(), Kind: kind})
				if _, err := s.Sign(context.Background(), image("a"), nil); failure.Of(err) != failure.Security {
					t.Errorf("got class %s, error %v, want class %s", failure.Of(err), err, failure.Security)
				}
			})
		}
	}
}

// Throttling, in all its disguises, is waited out and the call repeated.
func TestThrottledKeyIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range []kmstest.Kind{kmstest.Throttled, kmstest.ThrottledAzure, kmstest.ThrottledText, kmstest.LogLineThenJSON} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pki.EC256, kmstest.RAW)
			told := 0
			s, err := Open(context.Background(), r.key, Options{OnThrottled: func(Throttling) { told++ }})
			must(t, err)
			r.misbehave(t, kmstest.Fault{Command: r.command(), Kind: kind, Count: 2})
			if _, err := s.Sign(context.Background(), image("a"), nil); err != nil || told == 0 {
				t.Errorf("got told %d times, error %v, want at least once and none", told, err)
			}
		})
	}
}

func TestWaitForTheKeyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	s := r.open(t, "jws")
	r.misbehave(t, kmstest.Fault{Command: r.command(), Kind: kmstest.Throttled})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.Sign(ctx, image("a"), nil); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("got error %v after %s, want one within 5s", err, time.Since(began))
	}
}

// A plugin that is not what it should be is refused before any key operation.
func TestPluginIsRefused(t *testing.T) {
	t.Parallel()
	for kind, want := range map[kmstest.Kind]string{
		kmstest.WrongContract: "plugin protocol", kmstest.WrongName: "calls itself", kmstest.NoCapability: "cannot sign",
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pki.EC256, kmstest.RAW)
			r.misbehave(t, kmstest.Fault{Command: "get-plugin-metadata", Kind: kind})
			if _, err := Open(context.Background(), r.key, Options{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want one with %q", err, want)
			}
			if calls, _ := r.plugin.Calls("generate-signature"); len(calls) != 0 {
				t.Errorf("got %d key operations, want 0", len(calls))
			}
		})
	}
}

func TestPluginFileIsPinned(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	open := func(change func(k *Key)) error {
		k := r.key
		change(&k)
		_, err := Open(context.Background(), k, Options{})
		return err
	}
	if err := open(func(k *Key) { k.PluginSHA256 = strings.Repeat("0", 64) }); failure.Of(err) != failure.Security {
		t.Errorf("another hash: got class %s, error %v, want class %s", failure.Of(err), err, failure.Security)
	}
	if err := open(func(k *Key) { k.PluginPath = filepath.Join(t.TempDir(), "none") }); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "--plugin-path") {
		t.Errorf("no file: got error %v, want %v that names --plugin-path", err, ErrFile)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(r.plugin.Path, link))
	if err := open(func(k *Key) { k.PluginPath = link }); err == nil {
		t.Error("a symbolic link: got no error, want it refused")
	}
	must(t, os.Chmod(r.plugin.Path, 0o777))
	if err := open(func(*Key) {}); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("a file that others can write: got error %v, want one with \"written by others\"", err)
	}
}

// A plugin sees only the variables that it needs.
func TestPluginEnvironment(t *testing.T) {
	t.Setenv("NOTATION_PASSWORD", "canary")
	t.Setenv("REGISTRY_TOKEN", "canary")
	t.Setenv("AZURE_CLIENT_ID", "wanted")
	t.Setenv("MY_OWN", "wanted")
	t.Setenv("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1")
	t.Setenv("REQUESTS_CA_BUNDLE", "wanted")
	got := strings.Join(pluginEnviron([]string{"MY_OWN"}), "\n")
	if strings.Contains(got, "canary") || !strings.Contains(got, "AZURE_CLIENT_ID=wanted") || !strings.Contains(got, "MY_OWN=wanted") ||
		!strings.Contains(got, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1") || !strings.Contains(got, "REQUESTS_CA_BUNDLE=wanted") {
		t.Errorf("got environment\n%s\nwant no canary, all that is wanted and globalization invariant", got)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, message string
		want          failure.Class
	}{
		{"THROTTLED", "", failure.Throttled}, {"Throttled", "", failure.Throttled}, {"ERROR", "Error making API request. Code: 429", failure.Throttled},
		{"ERROR", "TooManyRequestsException", failure.Throttled}, {"ERROR", "rpc error: RESOURCE_EXHAUSTED", failure.Throttled},
		{"TIMEOUT", "", failure.Transient}, {"ERROR", "503 Service Unavailable", failure.Transient}, {"ERROR", "something", failure.Transient},
		// As seen from Azure, AWS, Google, Vault, Venafi and Alibaba Cloud.
		{"ERROR", "rpc error: code = ResourceExhausted desc = slow", failure.Throttled}, {"ERROR", "googleapi: Error 429: Quota exceeded for quota metric, rateLimitExceeded", failure.Throttled},
		{"ERROR", "429 Quota exceeded", failure.Throttled}, {"ERROR", "LimitExceededException: Request limit exceeded", failure.Throttled}, {"ERROR", "Status: 429 ()", failure.Throttled},
		{"ERROR", "ThrottlingException: Rate exceeded", failure.Throttled}, {"VALIDATION_ERROR", "Throttled", failure.Throttled},
		{"ERROR", "Code: 403. Errors: permission denied", failure.Denied}, {"Unauthorized", "", failure.Denied}, {"CertificateNotFound", "release", failure.Denied}, {"ERROR", "rpc error: code = PermissionDenied", failure.Denied},
		{"ERROR", "ExpiredTokenException", failure.Denied}, {"ERROR", "AADSTS7000215: Invalid client secret", failure.Denied}, {"ERROR", "no EC2 IMDS role found", failure.Denied},
		// An account number is not a status.
		{"ACCESS_DENIED", "arn:aws:signer:us-west-2:115033223333:/signing-profiles/p", failure.Denied}, {"ERROR", "arn:aws:kms:eu-west-1:140342950300:key/1 is unknown", failure.Transient},
		{"ERROR", "arn:aws:kms:eu-west-1:142942950300:key/1 is unknown", failure.Transient}, {"ACCESS_DENIED", "Code: 429", failure.Denied}, {"ACCESS_DENIED", "503", failure.Denied},
		{"VALIDATION_ERROR", "unexpected status 503", failure.Transient}, {"VALIDATION_ERROR", "dial tcp: connect: connection refused", failure.Transient}, {"VALIDATION_ERROR", "no such key", failure.Denied},
		{"ERROR", "500 Internal Server Error", failure.Transient}, {"ERROR", "dial tcp 10.0.0.1:403: connect: connection refused", failure.Transient},
		{"ERROR", "AADSTS90033: A transient error has occurred", failure.Transient}, {"ERROR", "status 403", failure.Denied},
		{"ACCESS_DENIED", "", failure.Denied}, {"Forbidden", "caller lacks sign", failure.Denied}, {"VALIDATION_ERROR", "", failure.Denied},
	} {
		if got := classify(c.code, c.message); got != c.want {
			t.Errorf("classify(%q, %q): got %s, want %s", c.code, c.message, got, c.want)
		}
	}
}
