package notation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// Prefix begins the names of our signed user metadata.
const Prefix = "io.dct2notation."

// Envelope formats, by notation's names.
var formats = map[string]string{"jws": jws.MediaTypeEnvelope, "cose": cose.MediaTypeEnvelope}

// payloadType is the type of what a Notary Project signature signs.
//
// SPEC (Notary Project, signature-specification, payload).
const payloadType = "application/vnd.cncf.notary.payload.v1+json"

// Envelope is a checked signature, ready to be pushed.
type Envelope struct {
	MediaType      string // of Blob: JWS or COSE
	Blob           []byte
	Manifest       []byte // the signature manifest, byte for byte as it is pushed
	ManifestDigest digest.Digest
	Leaf           string            // Thumbprint of the signing certificate
	Metadata       map[string]string // signed user metadata
	Contents       Contents          // its checked contents
}

// Contents is what an envelope says if its own signature is intact. It does not say whether its certificate is
// trusted.
type Contents struct {
	Target      ocispec.Descriptor // what was signed, with the user metadata as annotations
	Chain       []*x509.Certificate
	SigningTime time.Time
	Expires     time.Time // zero: with its certificate
	// Stamped is the time in a time-stamping authority's countersignature, or zero without one. The trust policy has
	// to judge the authority.
	Stamped time.Time
	Scheme  signature.SigningScheme
	Profile string // ARN of the signing profile and its version, if a signing service says so
	Plugin  string // that the envelope requires for its verification; empty: none
}

// Signed attributes that say more about the signer than its certificate.
//
// SOURCE (what AWS Signer's plugin 1.0 signs); SPEC (Notary Project, plugin-extensibility, io.cncf.notary.verificationPlugin).
const (
	attributeProfile = "com.amazonaws.signer.signingProfileVersion"
	attributePlugin  = "io.cncf.notary.verificationPlugin"
)

// Attested reports whether the signature outlives its certificates because a time-stamping authority, or the signing
// authority, says when it was made.
func (c Contents) Attested() bool {
	return !c.Stamped.IsZero() || c.Scheme == signature.SigningSchemeX509SigningAuthority
}

// SignedAt returns when the envelope was signed: the latest time that it states, so that a signer who lies about the
// time gains nothing with a timestamp.
func (c Contents) SignedAt() time.Time {
	if c.Stamped.After(c.SigningTime) {
		return c.Stamped
	}
	return c.SigningTime
}

// ChainEnds returns when the chain's first certificate expires: without a timestamp, the signature does not verify
// after that.
func (c Contents) ChainEnds() time.Time { return SigningEnds(c.Chain) }

// Verifies reports whether the signature can verify at that time: before the envelope's own expiry and, without a
// timestamp, while all certificates are valid.
func (c Contents) Verifies(at time.Time) bool {
	if !c.Expires.IsZero() && !at.Before(c.Expires) {
		return false
	}
	return c.Attested() || !at.After(c.ChainEnds())
}

// Over reports whether the signature signs the subject.
func (c Contents) Over(subject ocispec.Descriptor) bool { return content.Equal(c.Target, subject) }

// Thumbprint returns the SHA-256 of a certificate in hex, as notation shows it.
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Read checks that an envelope is intact and returns its contents.
func Read(mediaType string, blob []byte) (Contents, error) {
	env, err := signature.ParseEnvelope(mediaType, blob)
	if err != nil {
		return Contents{}, fmt.Errorf("reading the envelope: %w", err)
	}
	c, err := env.Verify()
	if err != nil {
		return Contents{}, fmt.Errorf("checking the envelope: %w", err)
	}
	return contentsOf(c)
}

// contentsOf returns the contents of an envelope whose signature is intact.
func contentsOf(c *signature.EnvelopeContent) (Contents, error) {
	if c.Payload.ContentType != payloadType {
		return Contents{}, fmt.Errorf("checking the envelope: its payload is of type %.100q", c.Payload.ContentType)
	}
	var payload struct {
		Target ocispec.Descriptor `json:"targetArtifact"`
	}
	if err := strictjson.Unmarshal(c.Payload.Content, &payload); err != nil {
		return Contents{}, fmt.Errorf("reading the envelope's payload: %w", err)
	}
	signer := c.SignerInfo
	contents := Contents{
		Target: payload.Target, Chain: signer.CertificateChain, SigningTime: signer.SignedAttributes.SigningTime, Expires: signer.SignedAttributes.Expiry,
		Stamped: stampedAt(signer.UnsignedAttributes.TimestampSignature, signer.Signature), Scheme: signer.SignedAttributes.SigningScheme,
	}
	for _, a := range signer.SignedAttributes.ExtendedAttributes {
		value, _ := a.Value.(string)
		switch a.Key {
		case attributeProfile:
			contents.Profile = value
		case attributePlugin:
			contents.Plugin = value
		}
	}
	return contents, nil
}

// errLeaf reports a different certificate. This also happens after a renewal.
var errLeaf = errors.New("another certificate")

// expect returns an error unless an envelope is by the identity, over the subject, with the metadata. An envelope
// plugin may add metadata, but none under our own prefix: that would bind a tag that nobody requested.
func (c Contents) expect(by Identity, subject ocispec.Descriptor, metadata map[string]string) error {
	if err := by.Matches(c); err != nil {
		return fmt.Errorf("%w: %w", errLeaf, err)
	}
	if !c.Over(subject) {
		return fmt.Errorf("signed %s, asked for was %s", c.Target.Digest, subject.Digest)
	}
	for k, v := range metadata {
		if got, ok := c.Target.Annotations[k]; !ok || got != v {
			return fmt.Errorf("signed without the metadata %s", k)
		}
	}
	for k := range c.Target.Annotations {
		if _, ok := metadata[k]; !ok && strings.HasPrefix(k, Prefix) {
			return fmt.Errorf("signed with metadata %.100q that was not asked for", k)
		}
	}
	return nil
}

// annotations returns the signature manifest's annotations. They depend only on the envelope, so that it always gives
// the same manifest.
//
// SPEC (Notary Project, signature-specification, signature manifest).
func (c Contents) annotations(fromPlugin map[string]string) (map[string]string, error) {
	all := make(map[string]string, len(fromPlugin)+2)
	for k, v := range fromPlugin {
		all[k] = v
	}
	var prints []string
	for _, cert := range c.Chain {
		prints = append(prints, Thumbprint(cert))
	}
	list, err := json.Marshal(prints)
	if err != nil {
		return nil, fmt.Errorf("listing the chain's thumbprints: %w", err)
	}
	all["io.cncf.notary.x509chain.thumbprint#S256"] = string(list)
	all[ocispec.AnnotationCreated] = c.SigningTime.Format(time.RFC3339)
	return all, nil
}
