package notation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Verifier judges signatures as notation verify does, by a trust policy and notation's
// trust store. It is safe for concurrent use.
type Verifier struct {
	judge judge
}

// errSkip is said of a trust policy that asks for no verification.
var errSkip = errors.New("the trust policy says skip: nothing is verified")

type judge interface {
	Verify(context.Context, ocispec.Descriptor, []byte, notationgo.VerifierVerifyOptions) (*notationgo.VerificationOutcome, error)
	SkipVerify(context.Context, notationgo.VerifierVerifyOptions) (bool, *trustpolicy.VerificationLevel, error)
}

// Verdict is what became of one signature.
type Verdict struct {
	Trusted  bool   // the trust policy lets it pass
	Doubt    Doubt  // what a strict policy holds against it, whatever the level of this one
	Reason   string // why not, or what a lenient policy let pass; safe to show
	Leaf     string // thumbprint, where the envelope could be read
	NotAfter time.Time
	SignedAt time.Time         // where the envelope is intact: see [Contents.SignedAt]
	Metadata map[string]string // signed user metadata, where the envelope is intact
}

// Doubt is the worst that is held against a signature.
type Doubt string

// The doubts, worst first. NoDoubt is said of signatures that a strict policy lets pass.
const (
	Unproven Doubt = "unproven" // not from whom the policy trusts, not of this image, revoked
	Dated    Doubt = "dated"    // good but for a date
	Unsure   Doubt = "unsure"   // whether a certificate is trusted or was revoked could not be found out
	NoDoubt  Doubt = ""
)

// worse tells whether d is worse than other.
func (d Doubt) worse(other Doubt) bool {
	order := map[Doubt]int{NoDoubt: 0, Unsure: 1, Dated: 2, Unproven: 3}
	return order[d] > order[other]
}

// Better tells whether the signature is held less against than another, or as little and
// trusted where the other is not.
func (v Verdict) Better(other Verdict) bool {
	if v.Doubt == other.Doubt {
		return v.Trusted && !other.Trusted
	}
	return other.Doubt.worse(v.Doubt)
}

// Strict tells whether the signature is trusted with no leniency at all, whatever the
// level of the policy.
func (v Verdict) Strict() bool { return v.Trusted && v.Doubt == NoDoubt }

// OpenVerifier reads a trust policy, by default notation's own trustpolicy.json.
func OpenVerifier(policyFile string) (*Verifier, error) {
	if policyFile == "" {
		path, err := dir.ConfigFS().SysPath(dir.PathTrustPolicy)
		if err != nil {
			return nil, fmt.Errorf("finding notation's trust policy: %w", err)
		}
		policyFile = path
	}
	raw, err := os.ReadFile(policyFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &Error{Permanent, fmt.Errorf("reading the trust policy: %w", err),
			"write one as for notation verify, or name another one"}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the trust policy: %w", err)
	}
	var doc trustpolicy.Document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("reading the trust policy %s: %w", policyFile, err)
	}
	options, err := askedOnce()
	if err != nil {
		return nil, err
	}
	v, err := verifier.NewWithOptions(&doc, &trustStore{store: truststore.NewX509TrustStore(dir.ConfigFS())}, plugin.NewCLIManager(dir.PluginFS()), options)
	if err != nil {
		return nil, fmt.Errorf("reading the trust policy %s: %w", policyFile, err)
	}
	j, ok := v.(judge)
	if !ok {
		return nil, errors.New("notation-go's verifier cannot tell the level skip")
	}
	return &Verifier{judge: j}, nil
}

// Applicable returns an error unless the policy asks for the verification of a reference
// (host/repository@digest).
func (v *Verifier) Applicable(ctx context.Context, reference string) error {
	skip, _, err := v.judge.SkipVerify(ctx, notationgo.VerifierVerifyOptions{ArtifactReference: reference})
	if err == nil && skip {
		err = errSkip
	}
	return err
}

// Verify judges one signature of the subject. The error is ctx's; all that is wrong with
// the signature is in the verdict.
func (v *Verifier) Verify(ctx context.Context, reference string, subject ocispec.Descriptor, mediaType string, blob []byte) (Verdict, error) {
	if err := v.Applicable(ctx, reference); err != nil {
		return Verdict{Doubt: Unproven, Reason: safetext.Safe(err.Error(), 300)}, ctx.Err()
	}
	heard := &hearing{}
	outcome, err := v.judge.Verify(heard.in(ctx), subject, blob, notationgo.VerifierVerifyOptions{ArtifactReference: reference, SignatureMediaType: mediaType})
	if ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	}
	verdict := Verdict{Trusted: err == nil}
	if err != nil {
		verdict.Reason = safetext.Safe(err.Error(), 300)
	}
	known := false
	if outcome != nil {
		if outcome.EnvelopeContent != nil { // it is intact
			verdict.fill(outcome.EnvelopeContent)
		}
		for _, r := range outcome.VerificationResults {
			if r.Error == nil {
				continue
			}
			known = known || errors.Is(err, r.Error)
			if d := heard.doubt(r.Type); d.worse(verdict.Doubt) {
				verdict.Doubt = d
			}
			if verdict.Reason == "" {
				verdict.Reason = "passes by a lenient policy only: " + safetext.Safe(r.Error.Error(), 300)
			}
		}
	}
	if err != nil && !known {
		verdict.Doubt = Unproven // such as the signature of another image
	}
	return verdict, nil
}

// fill sets what an intact envelope says.
func (v *Verdict) fill(intact *signature.EnvelopeContent) {
	if c, err := contentsOf(intact); err == nil {
		v.Leaf, v.NotAfter, v.Metadata = Thumbprint(c.Chain[0]), c.Chain[0].NotAfter, c.Target.Annotations
		v.SignedAt = c.SignedAt()
	}
}

// doubt is what a failed step of the verification means.
func (h *hearing) doubt(step trustpolicy.ValidationType) Doubt {
	code, tsa := h.said()
	switch {
	case step == trustpolicy.TypeExpiry:
		return Dated
	case (step == trustpolicy.TypeAuthenticity || step == trustpolicy.TypeAuthenticTimestamp) && !h.storesRead():
		return Unsure
	case step == trustpolicy.TypeAuthenticTimestamp && tsa == revocationresult.ResultUnknown,
		step == trustpolicy.TypeRevocation && code == revocationresult.ResultUnknown:
		return Unsure
	case step == trustpolicy.TypeAuthenticTimestamp && tsa != revocationresult.ResultRevoked:
		return Dated
	}
	return Unproven
}
