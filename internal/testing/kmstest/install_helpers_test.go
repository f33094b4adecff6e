package kmstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// root is one authority for all tests, since RSA keys are cached by name anyway.
var root = sync.OnceValues(func() (*pki.Identity, error) { return pki.NewAuthority("test root") })

func authority(t *testing.T) *pki.Identity {
	t.Helper()
	a, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, cn string, a pki.Algorithm) *pki.Identity {
	t.Helper()
	key, err := pki.NewKey(cn, a)
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority(t).Issue(cn, key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func save(t *testing.T, id *pki.Identity) pki.Files {
	t.Helper()
	key, err := id.Save(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// install installs the plugin with an EC key named "k", unless b brings keys of its own.
func install(t *testing.T, b kmstest.Behaviour) *kmstest.Plugin {
	t.Helper()
	if b.Keys == nil {
		b.Keys = map[string]pki.Files{"k": save(t, issue(t, "k", pki.EC256))}
	}
	p, err := kmstest.Install(t.TempDir(), b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outcome is what a process leaves behind.
type outcome struct {
	stdout, stderr string
	exit           int
	timedOut       bool // the deadline passed before the process ended and its pipes were closed
	ended          bool // we did not end it
	took           time.Duration
}

// start runs one plugin command like a careful caller, for deadline at most.
func start(t *testing.T, p *kmstest.Plugin, command string, request map[string]any, deadline time.Duration) outcome {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, p.Path, command)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(body), &stdout, &stderr
	c.WaitDelay = 500 * time.Millisecond // from the deadline, or from the end of the process
	begin := time.Now()
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		t.Fatal(err)
	}
	return outcome{
		stdout: stdout.String(), stderr: stderr.String(), exit: c.ProcessState.ExitCode(),
		timedOut: ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay),
		ended:    c.ProcessState.Exited(), took: time.Since(begin),
	}
}

// requestFor returns a valid request of the command for key "k".
func requestFor(p *kmstest.Plugin, command string) map[string]any {
	request := map[string]any{"contractVersion": "1.0", "pluginConfig": p.Config()}
	switch plugin.Command(command) {
	case plugin.CommandDescribeKey:
		request["keyId"] = "k"
	case plugin.CommandGenerateSignature:
		request["keyId"], request["keySpec"], request["hashAlgorithm"] = "k", "EC-256", "SHA-256"
		request["payload"] = []byte("sign me")
	case plugin.CommandGenerateEnvelope:
		request["keyId"], request["signatureEnvelopeType"] = "k", "application/jose+json"
		request["payloadType"] = "application/vnd.cncf.notary.payload.v1+json"
		request["payload"] = []byte(`{"targetArtifact":{"digest":"sha256:00","mediaType":"a","size":1}}`)
	}
	return request
}

// capabilityFor returns the capability without which the plugin does not know the command.
func capabilityFor(command string) string {
	if plugin.Command(command) == plugin.CommandGenerateEnvelope {
		return kmstest.ENVELOPE
	}
	return kmstest.RAW
}
