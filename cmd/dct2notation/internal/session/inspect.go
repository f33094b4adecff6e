package session

import (
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/signature"
)

// Origin returns the GUN that vouches for the images of a repository, to which they may have moved.
func (c Config) Origin(repository string) (dct.GUN, error) {
	m, err := parseMirrors(c.Map)
	if err != nil {
		return dct.GUN{}, err
	}
	return m.origin(repository)
}

// Signatures collects what a judge has inspected, for display only: it decides nothing.
type Signatures struct {
	mu sync.Mutex
	by map[digest.Digest][]verify.Signature
}

// Seen records what a judge has inspected; see [signature.Judge].
func (s *Signatures) Seen(image ocispec.Descriptor, list []signature.Looked) {
	var all []verify.Signature
	for _, one := range list {
		all = append(all, signatureShown(image, one))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[digest.Digest][]verify.Signature{}
	}
	s.by[image.Digest] = all
}

// Of returns the signatures of an image.
func (s *Signatures) Of(image digest.Digest) []verify.Signature {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[image]
}

// signatureShown returns what a verdict and the envelope say about a signature.
func signatureShown(image ocispec.Descriptor, one signature.Looked) verify.Signature {
	s := verify.Signature{Digest: one.Listed.Digest, MediaType: one.MediaType, Reason: one.Verdict.Reason, Until: one.Verdict.NotAfter}
	switch {
	case one.Unknown != nil:
		s.Says, s.Reason = verify.SideUnknown, safetext.FirstLine(one.Unknown.Error())
	case one.Verdict.Trusted:
		s.Says, s.Lenient = verify.SideTrusts, !one.Verdict.Strict()
	case one.Verdict.Doubt == notation.Unsure:
		s.Says = verify.SideUnknown
	default:
		s.Says = verify.SideRefuses
	}
	c, err := notation.Read(one.MediaType, one.Blob)
	if err != nil { // the verdict says so
		return s
	}
	s.Identity, s.Profile, s.Scheme, s.Plugin = "x509.subject: "+c.Chain[0].Subject.String(), c.Profile, string(c.Scheme), c.Plugin
	s.Signed, s.Timestamp, s.Expires, s.Metadata = c.SigningTime.UTC(), c.Stamped, c.Expires, c.Target.Annotations
	if !c.Over(image) {
		s.Target = c.Target.Digest
	}
	for _, cert := range c.Chain {
		s.Certificates = append(s.Certificates, verify.InspectCertificate{
			Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Begins: cert.NotBefore.UTC(), Ends: cert.NotAfter.UTC(), SHA256: notation.Thumbprint(cert),
		})
	}
	return s
}
