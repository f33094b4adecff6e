// Package rawplugin is shared by our Notation plugins that sign with a key elsewhere, on a token or at a key service.
// It contains the protocol, the key specs, the certificate chain and the errors.
//
// It promises for all of them: the key's certificate and chain are checked before the key is used; generate-signature
// uses the key once; and the signature it returns verifies with the certificate.
package rawplugin

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/notaryproject/notation-plugin-framework-go/cli"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/chain"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// A Key is ready to use: the first certificate is its own, and Notation accepts the chain.
type Key struct {
	Algorithm algorithm.Algorithm
	Chain     []*x509.Certificate // leaf..root
	// Sign spends one key operation on the digest and returns the signature in Notation's form.
	Sign func(ctx context.Context, digest []byte) ([]byte, error)
	// Close ends what Open began.
	Close func()
}

// Plugin answers the protocol's commands. Its exported methods return either a nil error or a bare
// *plugin.Error, see package fault.
type Plugin struct {
	Name, Description string
	// Version must be a semantic version: `notation plugin install` compares it.
	Version string
	// Open does everything except signing.
	Open func(ctx context.Context, keyID string, options map[string]string) (*Key, error)
}

var _ plugin.Plugin = Plugin{}

// Main answers one command on stdin and stdout, and exits if that fails.
func (p Plugin) Main() {
	c, err := cli.New(p)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c.Execute(context.Background(), os.Args) // exits on errors
}

// GetMetadata opens no key: Notation calls it for each listing of plugins.
func (p Plugin) GetMetadata(context.Context, *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return &plugin.GetMetadataResponse{
		Name:                      p.Name,
		Description:               p.Description,
		Version:                   p.Version,
		URL:                       "https://github.com/dct2notation/dct2notation",
		SupportedContractVersions: []string{plugin.ContractVersion},
		Capabilities:              []plugin.Capability{plugin.CapabilitySignatureGenerator},
	}, nil
}

// DescribeKey makes every check that GenerateSignature makes before it signs, so that a bad set-up shows without a
// key operation.
func (p Plugin) DescribeKey(ctx context.Context, req *plugin.DescribeKeyRequest) (*plugin.DescribeKeyResponse, error) {
	if err := sameContract(req.ContractVersion); err != nil {
		return nil, err
	}
	key, err := p.Open(ctx, req.KeyID, req.PluginConfig)
	if err != nil {
		return nil, fault.Protocol(err)
	}
	defer key.Close()
	return &plugin.DescribeKeyResponse{KeyID: req.KeyID, KeySpec: key.Algorithm.KeySpec}, nil
}

// GenerateSignature spends one key operation on the payload.
func (p Plugin) GenerateSignature(ctx context.Context, req *plugin.GenerateSignatureRequest) (*plugin.GenerateSignatureResponse, error) {
	if err := sameContract(req.ContractVersion); err != nil {
		return nil, err
	}
	key, err := p.Open(ctx, req.KeyID, req.PluginConfig)
	if err != nil {
		return nil, fault.Protocol(err)
	}
	defer key.Close()
	if err := key.agree(req.KeySpec, req.Hash); err != nil {
		return nil, fault.Protocol(err)
	}
	signature, err := key.sign(ctx, req.Payload)
	if err != nil {
		return nil, fault.Protocol(err)
	}
	return &plugin.GenerateSignatureResponse{
		KeyID:            req.KeyID,
		Signature:        signature,
		SigningAlgorithm: key.Algorithm.Name,
		CertificateChain: chain.Raw(key.Chain),
	}, nil
}

// GenerateEnvelope is not among the plugin's capabilities.
func (Plugin) GenerateEnvelope(context.Context, *plugin.GenerateEnvelopeRequest) (*plugin.GenerateEnvelopeResponse, error) {
	return nil, plugin.NewUnsupportedError("generate-envelope")
}

// VerifySignature is not among the plugin's capabilities.
func (Plugin) VerifySignature(context.Context, *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	return nil, plugin.NewUnsupportedError("verify-signature")
}

func sameContract(asked string) error {
	if asked != plugin.ContractVersion {
		return plugin.NewUnsupportedContractVersionError(asked)
	}
	return nil
}

// agree rejects a request for a different key: the key may have been replaced since describe-key answered.
func (k *Key) agree(spec plugin.KeySpec, hash plugin.HashAlgorithm) error {
	if spec != k.Algorithm.KeySpec {
		return fault.Invalid("the key was exchanged; begin again with describe-key",
			"the request is for a key of spec %q, the key is now %q", spec, k.Algorithm.KeySpec)
	}
	if hash != k.Algorithm.HashName {
		return fault.Invalid("", "the request asks for hash %q, keys of spec %q sign with %q", hash, spec, k.Algorithm.HashName)
	}
	return nil
}

// sign returns a signature that the leaf certificate verifies.
func (k *Key) sign(ctx context.Context, payload []byte) ([]byte, error) {
	digest := k.Algorithm.Digest(payload)
	signature, err := k.Sign(ctx, digest)
	if err != nil {
		return nil, err
	}
	leaf := k.Chain[0]
	if err := k.Algorithm.Verify(leaf.PublicKey, digest, signature); err != nil {
		return nil, &fault.Fault{
			Code: plugin.ErrorCodeGeneric,
			Hint: "either the certificate belongs to another key, or what holds the key does not sign as it should",
			Cause: fmt.Errorf("checking the signature with the certificate %q: %w",
				leaf.Subject, err),
		}
	}
	return signature, nil
}
