//go:build unix

package main

import (
	"encoding/json"
	"fmt"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// answer makes the JSON that goes to stdout, true or, if a fault says so, a lie.
func (j *job) answer() ([]byte, error) {
	response, err := j.respond()
	if err != nil {
		return nil, err
	}
	answer, err := json.Marshal(response)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return answer, nil
}

func (j *job) respond() (any, error) {
	raw := j.behaviour.Capability == "" || j.behaviour.Capability == kmstest.RAW
	envelope := j.behaviour.Capability == kmstest.ENVELOPE
	switch command := plugin.Command(j.command); {
	case command == plugin.CommandGetMetadata:
		return j.metadata(raw), nil
	case command == plugin.CommandDescribeKey && raw:
		return j.describeKey()
	case command == plugin.CommandGenerateSignature && raw:
		return j.generateSignature()
	case command == plugin.CommandGenerateEnvelope && envelope:
		return j.generateEnvelope()
	case command == plugin.CommandVerifySignature && !raw && !envelope:
		return j.verifySignature(), nil
	}
	return nil, plugin.NewUnsupportedError(j.command)
}

func (j *job) metadata(raw bool) plugin.GetMetadataResponse {
	m := plugin.GetMetadataResponse{
		Name:                      kmstest.Name,
		Description:               "Signs with keys from files, for tests, and misbehaves as ordered",
		Version:                   "1.0.0",
		URL:                       "https://github.com/dct2notation/dct2notation",
		SupportedContractVersions: []string{plugin.ContractVersion},
		Capabilities:              []plugin.Capability{plugin.CapabilityEnvelopeGenerator},
	}
	if raw {
		m.Capabilities = []plugin.Capability{plugin.CapabilitySignatureGenerator}
	}
	if j.behaviour.Capability == kmstest.VERIFIER {
		m.Capabilities = []plugin.Capability{plugin.CapabilityTrustedIdentityVerifier, plugin.CapabilityRevocationCheckVerifier}
	}
	switch j.fault.Kind {
	case kmstest.WrongContract:
		m.SupportedContractVersions = []string{"2.0"}
	case kmstest.WrongName:
		m.Name = "impostor"
	case kmstest.NoCapability:
		m.Capabilities = []plugin.Capability{}
	}
	return m
}

// verifySignature answers what it is asked, without a look at the signature.
func (j *job) verifySignature() *plugin.VerifySignatureResponse {
	r := &plugin.VerifySignatureResponse{VerificationResults: map[plugin.Capability]*plugin.VerificationResult{}, ProcessedAttributes: []any{}}
	for _, c := range j.request.TrustPolicy.SignatureVerification {
		reason, rejects := j.behaviour.Rejects[string(c)]
		r.VerificationResults[c] = &plugin.VerificationResult{Success: !rejects, Reason: reason}
	}
	if !j.behaviour.Ignores {
		for _, name := range j.request.Signature.UnprocessedAttributes {
			r.ProcessedAttributes = append(r.ProcessedAttributes, name)
		}
	}
	return r
}

func (j *job) describeKey() (*plugin.DescribeKeyResponse, error) {
	id, err := j.identity(j.request.KeyID)
	if err != nil {
		return nil, err
	}
	algorithm, err := id.Algorithm()
	if err != nil {
		return nil, err
	}
	if j.fault.Kind == kmstest.WrongAlgorithm {
		algorithm = otherThan(algorithm)
	}
	return &plugin.DescribeKeyResponse{KeyID: j.echo(), KeySpec: plugin.KeySpec(algorithm)}, nil
}

// signatureAlgorithms is what the protocol calls the algorithm that goes with each kind of key.
var signatureAlgorithms = map[pki.Algorithm]plugin.SignatureAlgorithm{
	pki.RSA2048: plugin.SignatureAlgorithmRSASSA_PSS_SHA256,
	pki.RSA3072: plugin.SignatureAlgorithmRSASSA_PSS_SHA384,
	pki.RSA4096: plugin.SignatureAlgorithmRSASSA_PSS_SHA512,
	pki.EC256:   plugin.SignatureAlgorithmECDSA_SHA256,
	pki.EC384:   plugin.SignatureAlgorithmECDSA_SHA384,
	pki.EC521:   plugin.SignatureAlgorithmECDSA_SHA512,
}

func (j *job) generateSignature() (*plugin.GenerateSignatureResponse, error) {
	pen, err := j.pen()
	if err != nil {
		return nil, err
	}
	payload := j.request.Payload
	if j.fault.Kind == kmstest.WrongPayload {
		payload = append(payload, "and more"...)
	}
	signature, chain, err := pen.Sign(payload)
	if err != nil {
		return nil, err
	}
	algorithm := pen.algorithm
	if j.fault.Kind == kmstest.WrongAlgorithm {
		algorithm = otherThan(algorithm)
	}
	response := &plugin.GenerateSignatureResponse{
		KeyID: j.echo(), Signature: signature, SigningAlgorithm: signatureAlgorithms[algorithm],
	}
	for _, certificate := range chain {
		response.CertificateChain = append(response.CertificateChain, certificate.Raw)
	}
	return response, nil
}

// echo is the key id to answer with.
func (j *job) echo() string {
	if j.fault.Kind == kmstest.WrongKeyID {
		return "not-" + j.request.KeyID
	}
	return j.request.KeyID
}

func otherThan(a pki.Algorithm) pki.Algorithm {
	if a == pki.EC256 {
		return pki.RSA2048
	}
	return pki.EC256
}
