//go:build unix

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// answer returns the JSON for stdout: true or, if a fault says so, a lie.
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
	envelope := j.behaviour.Capability == kmstest.ENVELOPE || j.behaviour.Capability == kmstest.MANAGED
	verifies := j.behaviour.Capability == kmstest.VERIFIER || j.behaviour.Capability == kmstest.MANAGED
	switch command := plugin.Command(j.command); {
	case command == plugin.CommandGetMetadata:
		return j.metadata(raw, envelope, verifies), nil
	case command == plugin.CommandDescribeKey && raw:
		return j.describeKey()
	case command == plugin.CommandGenerateSignature && raw:
		return j.generateSignature()
	case command == plugin.CommandGenerateEnvelope && envelope:
		return j.generateEnvelope()
	case command == plugin.CommandVerifySignature && verifies:
		return j.verifySignature()
	}
	return nil, plugin.NewUnsupportedError(j.command)
}

func (j *job) metadata(raw, envelope, verifies bool) plugin.GetMetadataResponse {
	m := plugin.GetMetadataResponse{
		Name:                      kmstest.Name,
		Description:               "Signs with keys from files, for tests, and misbehaves as ordered",
		Version:                   "1.0.0",
		URL:                       "https://github.com/dct2notation/dct2notation",
		SupportedContractVersions: []string{plugin.ContractVersion},
	}
	if raw {
		m.Capabilities = append(m.Capabilities, plugin.CapabilitySignatureGenerator)
	}
	if envelope {
		m.Capabilities = append(m.Capabilities, plugin.CapabilityEnvelopeGenerator)
	}
	if verifies {
		m.Capabilities = append(m.Capabilities, plugin.CapabilityTrustedIdentityVerifier, plugin.CapabilityRevocationCheckVerifier)
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

// verifySignature answers the request. Of the signature, it looks only at the signing profile.
func (j *job) verifySignature() (*plugin.VerifySignatureResponse, error) {
	profile, isProfile := j.request.Signature.CriticalAttributes.ExtendedAttributes[kmstest.SigningProfileVersion].(string)
	if isProfile && slices.Contains(j.request.TrustPolicy.TrustedIdentities, "*") {
		return nil, plugin.NewValidationError("a wildcard identity is not supported")
	}
	r := &plugin.VerifySignatureResponse{VerificationResults: map[plugin.Capability]*plugin.VerificationResult{}, ProcessedAttributes: []any{}}
	for _, c := range j.request.TrustPolicy.SignatureVerification {
		reason, rejects := j.behaviour.Rejects[string(c)]
		if c == plugin.CapabilityTrustedIdentityVerifier && isProfile && !rejects {
			rejects = !slices.ContainsFunc(j.request.TrustPolicy.TrustedIdentities, func(trusted string) bool {
				return profile == trusted || path.Dir(profile) == trusted // with or without its version
			})
			reason = "the signing profile is not trusted"
		}
		r.VerificationResults[c] = &plugin.VerificationResult{Success: !rejects, Reason: reason}
	}
	if !j.behaviour.Ignores {
		for _, name := range j.request.Signature.UnprocessedAttributes {
			r.ProcessedAttributes = append(r.ProcessedAttributes, name)
		}
	}
	return r, nil
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

// signatureAlgorithms are the protocol's names of the algorithm for each kind of key.
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

// echo returns the key id to answer with.
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

func (j *job) generateEnvelope() (*plugin.GenerateEnvelopeResponse, error) {
	pen, err := j.pen()
	if err != nil {
		return nil, err
	}
	payload := j.request.Payload
	if j.behaviour.SigningAuthority && j.request.ExpiryDurationInSeconds > 0 {
		return nil, plugin.NewValidationError("the signing profile decides on the expiry")
	}
	if j.behaviour.SigningAuthority && j.request.SignatureEnvelopeType != jws.MediaTypeEnvelope {
		return nil, plugin.NewUnsupportedError("envelope type " + j.request.SignatureEnvelopeType)
	}
	if limit := j.behaviour.MaxPayload; limit > 0 && len(payload) > limit {
		return nil, plugin.NewValidationErrorf("the payload has %d bytes, more than %d", len(payload), limit)
	}
	if j.fault.Kind == kmstest.WrongPayload {
		if payload, err = otherTarget(payload); err != nil {
			return nil, err
		}
	}
	empty, err := signature.NewEnvelope(j.request.SignatureEnvelopeType)
	if err != nil {
		return nil, plugin.NewValidationErrorf("envelope type %q: %v", j.request.SignatureEnvelopeType, err)
	}
	signing := &signature.SignRequest{
		Payload:       signature.Payload{ContentType: j.request.PayloadType, Content: payload},
		Signer:        pen,
		SigningTime:   time.Now(),
		SigningScheme: signature.SigningSchemeX509,
		SigningAgent:  "notation-kmstest/1.0.0",
	}
	if j.behaviour.SigningAuthority {
		signing.SigningScheme = signature.SigningSchemeX509SigningAuthority
	}
	for name, value := range j.each(j.behaviour.Attributes) {
		signing.ExtendedSignedAttributes = append(signing.ExtendedSignedAttributes, signature.Attribute{Key: name, Critical: true, Value: value})
	}
	if last := pen.chain[0].NotAfter; last.Before(signing.SigningTime) {
		signing.SigningTime = last // otherwise no envelope could be made with an expired certificate
	}
	if j.request.ExpiryDurationInSeconds > 0 {
		signing.Expiry = signing.SigningTime.Add(time.Duration(j.request.ExpiryDurationInSeconds) * time.Second)
	}
	sealed, err := empty.Sign(signing)
	if err != nil {
		return nil, fmt.Errorf("making the envelope: %w", err)
	}
	return &plugin.GenerateEnvelopeResponse{
		SignatureEnvelope:     sealed,
		SignatureEnvelopeType: j.envelopeType(),
		Annotations:           j.each(j.behaviour.Annotations),
	}, nil
}

// each fills in what differs for each key and image.
func (j *job) each(template map[string]string) map[string]string {
	var payload struct {
		Target struct {
			Digest string `json:"digest"`
		} `json:"targetArtifact"`
	}
	if err := json.Unmarshal(j.request.Payload, &payload); err != nil {
		return nil
	}
	fill := strings.NewReplacer("{id}", j.request.KeyID, "{digest}", payload.Target.Digest)
	all := map[string]string{}
	for name, value := range template {
		all[fill.Replace(name)] = fill.Replace(value)
	}
	return all
}

func (j *job) envelopeType() string {
	switch right := j.request.SignatureEnvelopeType; {
	case j.fault.Kind != kmstest.WrongEnvelopeType:
		return right
	case right == jws.MediaTypeEnvelope:
		return cose.MediaTypeEnvelope
	default:
		return jws.MediaTypeEnvelope
	}
}

// otherTarget changes the payload to name another image.
func otherTarget(payload []byte) ([]byte, error) {
	var statement map[string]map[string]any
	if err := json.Unmarshal(payload, &statement); err != nil || statement["targetArtifact"] == nil {
		return nil, plugin.NewValidationErrorf("payload is no Notation payload: %v", err)
	}
	statement["targetArtifact"]["digest"] = digest.FromString("another image").String()
	return json.Marshal(statement)
}

// A pen signs with a key and returns certificates, which need not belong together. It is notation-core's
// signature.Signer, which accepts the certificates unchecked.
type pen struct {
	key       *pki.Identity
	chain     []*x509.Certificate
	algorithm pki.Algorithm // of the requested key
	spoil     bool
}

// pen returns the right key with its certificates, or what the fault makes of them.
func (j *job) pen() (*pen, error) {
	id, err := j.identity(j.request.KeyID)
	if err == nil {
		id, err = j.renewed(id)
	}
	if err != nil {
		return nil, err
	}
	algorithm, err := id.Algorithm()
	if err != nil {
		return nil, err
	}
	p := &pen{key: id, chain: id.Chain, algorithm: algorithm, spoil: j.fault.Kind == kmstest.BadSignature}
	switch j.fault.Kind {
	case kmstest.WrongKey:
		p.key, err = j.substitute(algorithm, nil)
	case kmstest.WrongChain:
		var other *pki.Identity
		if other, err = j.substitute(algorithm, nil); err == nil {
			p.chain = other.Chain
		}
	case kmstest.NewCertificate:
		var one *pki.Identity
		if one, err = pki.SelfSigned("kmstest impostor", id.Key, pki.Valid(time.Now().Add(-time.Minute), time.Now().AddDate(1, 0, 0))); err == nil {
			p.chain = one.Chain
		}
	case kmstest.ExpiredChain:
		var old *pki.Identity
		if old, err = j.substitute(algorithm, id.Key, pki.Valid(time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, -1))); err == nil {
			p.chain = old.Chain
		}
	}
	return p, err
}

// identity loads a key by its id.
func (j *job) identity(id string) (*pki.Identity, error) {
	key, ok := j.behaviour.Keys[id]
	if !ok {
		return nil, plugin.NewValidationErrorf("no key %q", id)
	}
	return key.Load()
}

// substitute returns the key that the fault names, or a new one under an authority that nobody trusts.
func (j *job) substitute(a pki.Algorithm, key crypto.Signer, change ...func(*x509.Certificate)) (*pki.Identity, error) {
	if j.fault.With != "" {
		return j.identity(j.fault.With)
	}
	nobody, err := pki.NewAuthority("kmstest impostor root")
	if err == nil && key == nil {
		key, err = pki.NewKey("kmstest impostor", a)
	}
	if err != nil {
		return nil, err
	}
	return nobody.Issue("kmstest impostor", key, change...)
}

// Sign implements signature.Signer.
func (p *pen) Sign(payload []byte) ([]byte, []*x509.Certificate, error) {
	signed, err := sign(p.key, payload)
	if err != nil {
		return nil, nil, err
	}
	if p.spoil {
		signed[len(signed)-1] ^= 1
	}
	return signed, p.chain, nil
}

// sign signs payload as a Notation plugin must: RSASSA-PSS with a salt as long as the hash, or
// ECDSA as r and s side by side.
func sign(id *pki.Identity, payload []byte) ([]byte, error) {
	algorithm, err := id.Algorithm()
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	h := hashes[algorithm].New()
	h.Write(payload)
	digest := h.Sum(nil)
	key, ok := id.Key.(*ecdsa.PrivateKey)
	if !ok {
		return id.Key.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hashes[algorithm]})
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature, nil
}

var hashes = map[pki.Algorithm]crypto.Hash{
	pki.RSA2048: crypto.SHA256, pki.RSA3072: crypto.SHA384, pki.RSA4096: crypto.SHA512,
	pki.EC256: crypto.SHA256, pki.EC384: crypto.SHA384, pki.EC521: crypto.SHA512,
}

// KeySpec implements signature.Signer.
func (p *pen) KeySpec() (signature.KeySpec, error) { return signature.ExtractKeySpec(p.chain[0]) }
