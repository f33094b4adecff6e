//go:build cgo && unix

package main

import (
	"context"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/chain"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/fault"
)

// version is set by the release build (-ldflags "-X main.version=1.2.3"). It has
// to be a semantic version: `notation plugin install` compares it.
var version = "0.1.0"

// signer answers the protocol's commands. Its exported methods return either a
// nil error or a bare *plugin.Error, see package fault.
type signer struct {
	getenv func(string) string
}

var _ plugin.Plugin = signer{}

// GetMetadata opens no token: Notation calls it for each listing of plugins.
func (signer) GetMetadata(context.Context, *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return &plugin.GetMetadataResponse{
		Name:                      "pkcs11",
		Description:               "Sign with a key on a PKCS#11 token (HSM, smart card, SoftHSM)",
		Version:                   version,
		URL:                       "https://github.com/dct2notation/dct2notation",
		SupportedContractVersions: []string{plugin.ContractVersion},
		Capabilities:              []plugin.Capability{plugin.CapabilitySignatureGenerator},
	}, nil
}

// DescribeKey makes every check that GenerateSignature makes before it signs, so
// that a bad set-up is found out without a key operation.
func (s signer) DescribeKey(_ context.Context, req *plugin.DescribeKeyRequest) (*plugin.DescribeKeyResponse, error) {
	if err := sameContract(req.ContractVersion); err != nil {
		return nil, err
	}
	key, err := s.prepare(req.KeyID, req.PluginConfig)
	if err != nil {
		return nil, fault.Protocol(err)
	}
	defer key.Close()
	return &plugin.DescribeKeyResponse{KeyID: req.KeyID, KeySpec: key.algorithm.KeySpec}, nil
}

// GenerateSignature spends one key operation on the payload.
func (s signer) GenerateSignature(_ context.Context, req *plugin.GenerateSignatureRequest) (*plugin.GenerateSignatureResponse, error) {
	if err := sameContract(req.ContractVersion); err != nil {
		return nil, err
	}
	key, err := s.prepare(req.KeyID, req.PluginConfig)
	if err != nil {
		return nil, fault.Protocol(err)
	}
	defer key.Close()
	if err := key.agree(req.KeySpec, req.Hash); err != nil {
		return nil, fault.Protocol(err)
	}
	signature, err := key.sign(req.Payload)
	if err != nil {
		return nil, fault.Protocol(err)
	}
	return &plugin.GenerateSignatureResponse{
		KeyID:            req.KeyID,
		Signature:        signature,
		SigningAlgorithm: key.algorithm.Name,
		CertificateChain: chain.Raw(key.chain),
	}, nil
}

// GenerateEnvelope is not among the plugin's capabilities.
func (signer) GenerateEnvelope(context.Context, *plugin.GenerateEnvelopeRequest) (*plugin.GenerateEnvelopeResponse, error) {
	return nil, plugin.NewUnsupportedError("generate-envelope")
}

// VerifySignature is not among the plugin's capabilities.
func (signer) VerifySignature(context.Context, *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	return nil, plugin.NewUnsupportedError("verify-signature")
}

func sameContract(asked string) error {
	if asked != plugin.ContractVersion {
		return plugin.NewUnsupportedContractVersionError(asked)
	}
	return nil
}
