package notation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Verifier judges signatures as notation verify does, by a trust policy and notation's trust store. It is the only
// judge of envelopes in this program. Nothing that a signature says decides what runs or where requests go. A
// verification plugin runs only if it is configured, and only for a signature whose chain is anchored in the trust
// store of the matching statement. Revocation is checked only for such a chain. docs/adr/0001 has the differences
// from notation verify. It is safe for concurrent use.
type Verifier struct {
	doc   *statements
	store *trustStore
	judge judge // notation-go's verifier
}

// statements are the statements of a trust policy. To find a repository's, notation-go compiles patterns each time,
// while one image after the other is in the same few repositories. It is safe for concurrent use.
type statements struct {
	*trustpolicy.Document
	mu    sync.Mutex
	known map[string]statement // by repository; guarded by mu
}

type statement struct {
	*trustpolicy.TrustPolicy // never changed
	err                      error
}

const maxStatements = 64 // repositories whose statement is kept

// of returns the statement that applies to a reference (host/repository@digest).
func (s *statements) of(reference string) (*trustpolicy.TrustPolicy, error) {
	repository := reference[:max(strings.LastIndex(reference, "@"), 0)] // without a digest it is an error
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.known[repository]
	if !ok {
		known.TrustPolicy, known.err = s.GetApplicableTrustPolicy(reference)
		if len(s.known) >= maxStatements || s.known == nil {
			s.known = map[string]statement{}
		}
		s.known[repository] = known
	}
	return known.TrustPolicy, known.err
}

// VerifierOptions say how a [Verifier] judges. The zero value is usable: notation's own trust policy, no plugins, and
// no revocation checks.
type VerifierOptions struct {
	Policy  string               // file with the trust policy; empty: notation's trustpolicy.json
	Plugins []VerificationPlugin // that signatures may name
	// Client, on the one HTTP stack, checks revocation. Nil: nobody is asked, and the revocation of certificates that
	// name a server stays unknown.
	Client *http.Client
}

// errSkip is for a trust policy that skips verification.
var errSkip = errors.New("the trust policy says skip: nothing is verified")

// errNoStatement replaces notation's own error, which is long and ends with a URL.
var errNoStatement = errors.New("no statement of the trust policy covers this repository: dct2notation policy notation writes one")

type judge interface {
	Verify(context.Context, ocispec.Descriptor, []byte, notationgo.VerifierVerifyOptions) (*notationgo.VerificationOutcome, error)
	SkipVerify(context.Context, notationgo.VerifierVerifyOptions) (bool, *trustpolicy.VerificationLevel, error)
}

// Verdict is the result for one signature.
type Verdict struct {
	Trusted  bool              // the trust policy lets it pass
	Doubt    Doubt             // what a strict policy holds against it, whatever this policy's level
	Reason   string            // why not, or what a lenient policy let pass; safe to show
	Leaf     string            // thumbprint, if the envelope could be read
	NotAfter time.Time         // until when it verifies, if the envelope is intact: see [VerifiesUntil]
	SignedAt time.Time         // if the envelope is intact: see [Contents.SignedAt]
	Metadata map[string]string // signed user metadata, if the envelope is intact
}

// Doubt is the worst thing held against a signature.
type Doubt string

// The doubts, worst first. NoDoubt is for signatures that a strict policy accepts.
const (
	Unproven Doubt = "unproven" // not from a trusted signer, not for this image, or revoked
	Dated    Doubt = "dated"    // good except for a date
	Unsure   Doubt = "unsure"   // it could not be found out whether a certificate is trusted or was revoked
	NoDoubt  Doubt = ""
)

// worse reports whether d is worse than other.
func (d Doubt) worse(other Doubt) bool {
	order := map[Doubt]int{NoDoubt: 0, Unsure: 1, Dated: 2, Unproven: 3}
	return order[d] > order[other]
}

// Better reports whether less is held against the signature than against another, or equally little and only this one
// is trusted.
func (v Verdict) Better(other Verdict) bool {
	if v.Doubt == other.Doubt {
		return v.Trusted && !other.Trusted
	}
	return other.Doubt.worse(v.Doubt)
}

// Strict reports whether the signature is trusted without any leniency, whatever the policy's level.
func (v Verdict) Strict() bool { return v.Trusted && v.Doubt == NoDoubt }

// OpenVerifier reads a trust policy. Plugins are looked for when a signature names them: a missing one leaves only
// its signatures unknown.
func OpenVerifier(o VerifierOptions) (*Verifier, error) {
	plugins, err := newPluginManager(o.Plugins)
	if err != nil {
		return nil, err
	}
	doc, err := readTrustPolicy(o.Policy)
	if err != nil {
		return nil, err
	}
	validators, err := revocationValidators(o.Client)
	if err != nil {
		return nil, err
	}
	v, err := newVerifier(doc, truststore.NewX509TrustStore(dir.ConfigFS()), plugins, validators)
	if err != nil {
		return nil, fmt.Errorf("reading the trust policy %s: %w", safetext.Safe(o.Policy, 512), err)
	}
	return v, nil
}

// newVerifier wraps notation-go's verifier.
func newVerifier(doc *trustpolicy.Document, store truststore.X509TrustStore, plugins pluginManager, validators verifier.VerifierOptions) (*Verifier, error) {
	once := &trustStore{store: store}
	v, err := verifier.NewWithOptions(doc, once, plugins, validators)
	if err != nil {
		return nil, err
	}
	j, ok := v.(judge)
	if !ok {
		return nil, errors.New("notation-go's verifier does not say whether the level is skip")
	}
	return &Verifier{doc: &statements{Document: doc}, store: once, judge: j}, nil
}

// ErrNoTrustPolicy is returned if there is no trust policy.
var ErrNoTrustPolicy = errors.New("reading the trust policy")

func readTrustPolicy(file string) (*trustpolicy.Document, error) {
	if file == "" {
		var err error
		if file, err = dir.ConfigFS().SysPath(dir.PathTrustPolicy); err != nil {
			return nil, fmt.Errorf("finding notation's trust policy: %w", err)
		}
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, failure.WithHint(failure.Permanent, fmt.Errorf("%w: %w", ErrNoTrustPolicy, err), "name another file with --trust-policy, or have one written")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the trust policy: %w", err)
	}
	doc := &trustpolicy.Document{}
	if err := json.Unmarshal(raw, doc); err != nil {
		return nil, fmt.Errorf("reading the trust policy %s: %w", file, err)
	}
	return doc, nil
}

// Notation returns this verifier for notation-go's Verify: its result for one signature is that of [Verifier.Verify].
func (v *Verifier) Notation() notationgo.Verifier { return held{v} }

type held struct{ *Verifier }

// Verify implements notation-go's Verifier.
func (h held) Verify(ctx context.Context, subject ocispec.Descriptor, blob []byte, o notationgo.VerifierVerifyOptions) (*notationgo.VerificationOutcome, error) {
	ctx, _ = gather(ctx, h.doc, h.store, o.ArtifactReference, o.SignatureMediaType, blob)
	return h.judge.Verify(ctx, subject, blob, o)
}

// SkipVerify is called by notation-go's Verify.
func (h held) SkipVerify(ctx context.Context, o notationgo.VerifierVerifyOptions) (bool, *trustpolicy.VerificationLevel, error) {
	return h.judge.SkipVerify(ctx, o)
}

// A Statement is the statement of a trust policy that applies to a repository.
type Statement struct {
	Name       string   `json:"name"`
	Level      string   `json:"level"`
	Stores     []string `json:"trust_stores,omitempty"`
	Identities []string `json:"trusted_identities,omitempty"`
}

// Statement returns the statement that applies to a reference (host/repository@digest). An error says that none does.
func (v *Verifier) Statement(reference string) (Statement, error) {
	p, err := v.doc.of(reference)
	if err != nil {
		return Statement{}, err
	}
	return Statement{p.Name, p.SignatureVerification.VerificationLevel, p.TrustStores, p.TrustedIdentities}, nil
}

// Applicable returns an error unless the policy requires verification of a reference (host/repository@digest).
func (v *Verifier) Applicable(_ context.Context, reference string) error {
	p, err := v.doc.of(reference)
	if err != nil {
		return errNoStatement
	}
	level, err := p.SignatureVerification.GetVerificationLevel()
	if err == nil && reflect.DeepEqual(level, trustpolicy.LevelSkip) {
		return errSkip
	}
	return err
}

// Verify judges one signature of the subject. The error is ctx's; everything wrong with the signature is in the
// verdict.
func (v *Verifier) Verify(ctx context.Context, reference string, subject ocispec.Descriptor, mediaType string, blob []byte) (Verdict, error) {
	if err := v.Applicable(ctx, reference); err != nil {
		return Verdict{Doubt: Unproven, Reason: safetext.Safe(err.Error(), 300)}, ctx.Err()
	}
	with, found := gather(ctx, v.doc, v.store, reference, mediaType, blob)
	outcome, err := v.judge.Verify(with, subject, blob, notationgo.VerifierVerifyOptions{ArtifactReference: reference, SignatureMediaType: mediaType})
	if ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	}
	verdict := Verdict{Trusted: err == nil}
	if err != nil {
		verdict.Reason = safetext.Safe(err.Error(), 300)
	}
	var intact *signature.EnvelopeContent
	if outcome != nil {
		intact = outcome.EnvelopeContent // nil unless notation-go found the envelope intact
	}
	found.look(with, intact)
	sameTarget := verdict.fill(found.content, subject)
	if found.content != nil {
		verdict.NotAfter = found.verifiesUntil(ctx)
	}
	known := false
	if outcome != nil {
		for _, r := range outcome.VerificationResults {
			if r.Error == nil {
				continue
			}
			known = known || errors.Is(err, r.Error)
			if d := found.doubt(r.Type, sameTarget); d.worse(verdict.Doubt) {
				verdict.Doubt = d
			}
			if verdict.Reason == "" {
				verdict.Reason = "passes by a lenient policy only: " + safetext.Safe(r.Error.Error(), 300)
			}
		}
	}
	if err != nil && !known {
		if d := found.unfinished(sameTarget); d.worse(verdict.Doubt) {
			verdict.Doubt = d
		}
	}
	return verdict, nil
}

// fill sets what an intact envelope says, and reports whether it signs the subject.
func (v *Verdict) fill(intact *signature.EnvelopeContent, subject ocispec.Descriptor) (sameTarget bool) {
	if intact == nil {
		return false
	}
	c, err := contentsOf(intact)
	if err != nil {
		return false
	}
	v.Leaf, v.Metadata = Thumbprint(c.Chain[0]), c.Target.Annotations
	v.SignedAt = c.SignedAt()
	return content.Equal(c.Target, subject)
}
