package notation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// pluginClient implements notation-go's plugin.Plugin with our own executor. It asks for the plugin's metadata and
// for the key's description only once. It is safe for concurrent use.
type pluginClient struct {
	name    string
	file    pluginFile
	needs   []plugin.Capability // needs one of these
	env     []string
	timeout time.Duration
	secrets redactor

	metadata onceOK[*plugin.GetMetadataResponse]
	key      onceOK[*plugin.DescribeKeyResponse]
}

// Capabilities of which a plugin must have one.
var (
	signers   = []plugin.Capability{plugin.CapabilitySignatureGenerator, plugin.CapabilityEnvelopeGenerator}
	verifiers = []plugin.Capability{plugin.CapabilityTrustedIdentityVerifier, plugin.CapabilityRevocationCheckVerifier}
)

// newPlug describes a plugin that has not been looked for yet.
func newPlug(file pluginFile, config map[string]string, moreEnv []string, timeout time.Duration) *pluginClient {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	env := pluginEnviron(moreEnv)
	return &pluginClient{name: file.name, file: file, needs: signers, timeout: timeout, env: env, secrets: secretsOf(config, env, moreEnv)}
}

// onceOK remembers a success and forgets a failure.
type onceOK[T any] struct {
	mu   sync.Mutex
	done bool
	v    T
}

func (o *onceOK[T]) get(f func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return o.v, nil
	}
	v, err := f()
	if err == nil {
		o.v, o.done = v, true
	}
	return v, err
}

// GetMetadata asks once for the plugin's metadata. It refuses a plugin that differs from its file name or speaks
// another version of the protocol.
func (p *pluginClient) GetMetadata(ctx context.Context, req *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return p.metadata.get(func() (*plugin.GetMetadataResponse, error) {
		var m plugin.GetMetadataResponse
		if err := p.call(ctx, plugin.CommandGetMetadata, req, &m); err != nil {
			return nil, err
		}
		wrong := func(format string, args ...any) error {
			return failure.WithHint(failure.Permanent, errors.New(p.secrets.hide(fmt.Sprintf("plugin %s: "+format, append([]any{p.name}, args...)...))), "install a version of the plugin that notation "+plugin.ContractVersion+" can use")
		}
		switch {
		case m.Name != p.name:
			own := shown(p.secrets.hide(m.Name))
			return nil, failure.WithHint(failure.Permanent, fmt.Errorf("plugin %s: it calls itself %s", shown(p.name), own), "name it by its own name, "+own+", and have its file in the folder of that name; or give the file with --plugin-path")
		case !slices.Contains(m.SupportedContractVersions, plugin.ContractVersion):
			return nil, wrong("speaks plugin protocol %s, not %s", shown(fmt.Sprint(m.SupportedContractVersions)), plugin.ContractVersion)
		case !slices.ContainsFunc(p.needs, m.HasCapability) && slices.Equal(p.needs, verifiers):
			return nil, wrong("cannot verify")
		case !slices.ContainsFunc(p.needs, m.HasCapability):
			return nil, wrong("cannot sign")
		}
		return &m, nil
	})
}

// DescribeKey asks once for the description of the one key that this value is used with.
func (p *pluginClient) DescribeKey(ctx context.Context, req *plugin.DescribeKeyRequest) (*plugin.DescribeKeyResponse, error) {
	return p.key.get(func() (*plugin.DescribeKeyResponse, error) {
		var k plugin.DescribeKeyResponse
		if err := p.call(ctx, plugin.CommandDescribeKey, req, &k); err != nil {
			return nil, err
		}
		if k.KeyID != req.KeyID {
			return nil, failure.New(failure.Security, fmt.Errorf("plugin %s describes key %s, and was asked for another", p.name, safetext.Safe(p.secrets.hide(k.KeyID), 128)))
		}
		return &k, nil
	})
}

// GenerateSignature spends a key operation.
func (p *pluginClient) GenerateSignature(ctx context.Context, req *plugin.GenerateSignatureRequest) (*plugin.GenerateSignatureResponse, error) {
	var r plugin.GenerateSignatureResponse
	if err := p.call(ctx, plugin.CommandGenerateSignature, req, &r); err != nil {
		return nil, err
	}
	// notation-go takes the algorithm from the key and ignores this.
	if want := algorithms[req.KeySpec]; string(r.SigningAlgorithm) != want {
		return nil, failure.New(failure.Security, fmt.Errorf("plugin %s signed by algorithm %s, and the key's is %s", p.name, shown(p.secrets.hide(string(r.SigningAlgorithm))), want))
	}
	return &r, nil
}

// algorithms by key.
//
// SPEC (Notary Project, signature-specification, algorithm selection).
var algorithms = map[plugin.KeySpec]string{
	plugin.KeySpecRSA2048: "RSASSA-PSS-SHA-256", plugin.KeySpecRSA3072: "RSASSA-PSS-SHA-384", plugin.KeySpecRSA4096: "RSASSA-PSS-SHA-512",
	plugin.KeySpecEC256: "ECDSA-SHA-256", plugin.KeySpecEC384: "ECDSA-SHA-384", plugin.KeySpecEC521: "ECDSA-SHA-512",
}

// GenerateEnvelope spends a key operation.
func (p *pluginClient) GenerateEnvelope(ctx context.Context, req *plugin.GenerateEnvelopeRequest) (*plugin.GenerateEnvelopeResponse, error) {
	var r plugin.GenerateEnvelopeResponse
	return &r, p.call(ctx, plugin.CommandGenerateEnvelope, req, &r)
}

// VerifySignature asks the plugin for the checks that notation-go leaves to it.
func (p *pluginClient) VerifySignature(ctx context.Context, req *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	var r plugin.VerifySignatureResponse
	if err := p.call(ctx, plugin.CommandVerifySignature, req, &r); err != nil {
		return nil, err
	}
	for _, one := range r.VerificationResults {
		if one != nil {
			one.Reason = p.secrets.hide(one.Reason)
		}
	}
	return &r, nil
}

// call runs one command and decodes its answer, or its error, into an [*Error].
func (p *pluginClient) call(ctx context.Context, command plugin.Command, request, response any) error {
	in, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("plugin %s: %s: %w", p.name, command, err)
	}
	path, err := p.file.ready()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	r, err := runProcess(limited, path, string(command), in, p.env)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return failure.WithHint(failure.Transient, fmt.Errorf("plugin %s: %s: no answer within %s", p.name, command, p.timeout), "its service may be slow, or throttle and have the plugin wait: raise "+p.timeoutFlag()+", or lower --key-rate")
	case errors.Is(err, errLeftOpen):
		return failure.New(failure.Transient, fmt.Errorf("plugin %s: %s: %w", p.name, command, err))
	case err != nil:
		return failure.New(failure.Permanent, fmt.Errorf("plugin %s: %s: %w", p.name, command, err))
	case r.failed:
		return p.reported(string(command), r.stderr)
	}
	if err := strictjson.Unmarshal(r.stdout, response); err != nil {
		return failure.New(failure.Permanent, fmt.Errorf("plugin %s: %s: its answer cannot be read: %s", p.name, command, safetext.Safe(p.secrets.hide(fmt.Sprintf("%s: %s", err, r.stdout)), 300)))
	}
	return nil
}

// timeoutFlag returns the name of the setting for the timeout.
func (p *pluginClient) timeoutFlag() string {
	if slices.Equal(p.needs, verifiers) {
		return "verification-plugin-timeout"
	}
	return "plugin-timeout"
}

// reported reads the error that a plugin wrote to stderr: the last JSON object there, since several plugins write log
// lines first, or otherwise the plain text.
func (p *pluginClient) reported(command string, stderr []byte) error {
	for i := bytes.LastIndexByte(stderr, '{'); i >= 0; i = bytes.LastIndexByte(stderr[:i], '{') {
		var e struct {
			Code    string `json:"errorCode"`
			Message string `json:"errorMessage"`
		}
		if json.Unmarshal(bytes.TrimSpace(stderr[i:]), &e) == nil && e.Code != "" {
			return pluginError(p.name, command, e.Code, e.Message, p.secrets)
		}
	}
	text := string(bytes.TrimSpace(stderr))
	if text == "" {
		text = "it failed and said nothing"
	}
	e := pluginError(p.name, command, "ERROR", text, p.secrets)
	if e.Hint == "" {
		// A runtime that lacks something to start with does not know the protocol.
		e.Hint = "a plugin sees a part of the environment only; --plugin-env names more variables that it may see"
	}
	return e
}

// verifies reports whether the plugin also verifies signatures.
func (p *pluginClient) verifies(ctx context.Context, config map[string]string) (bool, error) {
	m, err := p.GetMetadata(ctx, &plugin.GetMetadataRequest{PluginConfig: config})
	return err == nil && slices.ContainsFunc(verifiers, m.HasCapability), err
}
