package notation

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/signer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// Options of [Open].
type Options struct {
	Format string // jws or cose; empty: jws
	// Chain is the key's certificate chain in DER, leaf first, if it is known from an earlier run. Without it a
	// plugin's key makes one throw-away signature, since the protocol has no other way to see the chain.
	Chain [][]byte
	// Rate bounds the operations started per second; 0: only the service's own bound.
	Rate float64
	// Expiry is how long a signature is valid, in whole seconds; 0: as long as its certificate.
	Expiry time.Duration
	// OnThrottled is called when the key's service throttles: at once, then about every ten seconds, and when a wait
	// of a second or more begins. It must return at once.
	OnThrottled func(Throttling)
	Budget      Budget // of operations; nil: no bound
	TSA         *TSA   // countersigns each signature; may be nil
	// Accepted are identities whose signatures count as this key's, by the configuration. If they include the known
	// chain's identity, the key needs no proof.
	Accepted []Identity
	// Identity is the key's identity in the configuration, if it renews its certificates. If it is zero, the key has
	// its certificate's identity. For a subject, Root is its root, Client checks revocation, and TSA is required.
	Identity Identity
	Root     *x509.Certificate
	Client   *http.Client
	Now      func() time.Time // nil: time.Now
}

// A Budget bounds the operations of keys. It is safe for concurrent use.
type Budget interface {
	// Take takes an operation before the key is called. After an error the key is not called.
	Take() error
	// Return gives back an operation that the key's service refused because of throttling.
	Return()
}

// Signer signs with one key. It is safe for concurrent use.
type Signer struct {
	key       Key
	mediaType string
	expiry    time.Duration
	now       func() time.Time
	local     notationgo.Signer // for a key in files; nil for a plugin
	plug      *pluginClient
	raw       bool // the plugin makes signatures rather than whole envelopes
	pace      *pace
	tsa       *TSA // may be nil
	accepted  []Identity
	identity  Identity  // from the configuration; zero: the certificate's
	renewals  *renewals // for an identity that renews its certificates; nil: the name decides
	onRenewed func(chain [][]byte)

	mu    sync.Mutex
	chain []*x509.Certificate // of the last signature; guarded by mu once the key is open

	proven  atomic.Bool   // the key is known to have its identity
	proving chan struct{} // held while the key is asked to prove that
	astray  error         // says that it has another; guarded by proving
}

// Name returns the key's name in plan, ledger and reports.
func (s *Signer) Name() string { return s.key.Name }

// Leaf returns the thumbprint of the signing certificate.
func (s *Signer) Leaf() string { return Thumbprint(s.Certificates()[0]) }

// Identity returns what makes a signature one of this key's.
func (s *Signer) Identity() Identity {
	if !s.identity.IsZero() {
		return s.identity
	}
	return IdentityOf(s.Certificates()[0])
}

// VerifierNeeds says what verifiers of the key's signatures need.
func (s *Signer) VerifierNeeds() string {
	switch s.identity.kind {
	case kindProfile:
		return "the root in a trust store of type signingAuthority, and verification plugin " + shown(s.key.Plugin)
	case kindSubject:
		return "the root in a trust store of type ca, and that of the time-stamping authority in one of type tsa"
	}
	return "a certificate of its chain in a trust store of type ca"
}

// OnRenewed sets a function to call when the key begins to sign with another certificate of its identity. Call it
// before the first signature.
func (s *Signer) OnRenewed(tell func(chain [][]byte)) { s.onRenewed = tell }

// renewed records the certificates of a new signature of the identity.
func (s *Signer) renewed(chain []*x509.Certificate) {
	s.mu.Lock()
	was := s.chain
	if chain[0].NotBefore.Before(was[0].NotBefore) { // a late answer from before the renewal
		s.mu.Unlock()
		return
	}
	s.chain = chain
	s.mu.Unlock()
	if s.onRenewed != nil && !was[0].Equal(chain[0]) {
		s.onRenewed(s.Chain())
	}
}

// Accepted returns the identities besides Identity whose signatures count as this key's.
func (s *Signer) Accepted() []Identity { return s.accepted }

// NotAfter returns when the first certificate of the chain expires: the key must not sign after that.
func (s *Signer) NotAfter() time.Time { return SigningEnds(s.Certificates()) }

// Calls returns the counts of the key's calls so far, including its proof.
func (s *Signer) Calls() Calls {
	s.pace.mu.Lock()
	defer s.pace.mu.Unlock()
	return s.pace.calls
}

// Proven reports whether the key is known to have its identity, so that [Signer.Prove] costs nothing.
func (s *Signer) Proven() bool { return s.proven.Load() }

// NotBefore returns when the last certificate of the chain became valid.
func (s *Signer) NotBefore() time.Time {
	chain := s.Certificates()
	at := chain[0].NotBefore
	for _, c := range chain {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	return at
}

// Certificates returns the key's certificate chain, leaf first.
func (s *Signer) Certificates() []*x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.chain)
}

// Chain returns the certificate chain in DER, leaf first, for [Open] next time.
func (s *Signer) Chain() [][]byte {
	var der [][]byte
	for _, c := range s.Certificates() {
		der = append(der, c.Raw)
	}
	return der
}

// Sign spends one key operation on the subject, signs the metadata with it, and returns the envelope checked against
// the expected certificate and payload. Errors are an [*Error] or ctx's.
func (s *Signer) Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (Envelope, error) {
	// Detect an expired certificate before the operation is spent. Everything else about the chain was checked when
	// the key was opened, and does not change. A key that renews its certificate may have done so since.
	if now := s.now(); !s.identity.Renews() && (now.Before(s.NotBefore()) || now.After(s.NotAfter())) {
		if err := s.checkChain(); err != nil {
			return Envelope{}, err
		}
	}
	// Only these fields are signed; the descriptor's other fields stay out.
	target := ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size, Annotations: metadata}
	if err := fits(s.key.Plugin, target); err != nil {
		return Envelope{}, err
	}
	blob, fromPlugin, err := s.envelope(ctx, target, s.tsa)
	if err != nil {
		return Envelope{}, err
	}
	fail := func(err error) (Envelope, error) {
		hint := "the key or its plugin does not do what it was asked; nothing was pushed"
		switch {
		case errors.Is(err, errLeaf) && s.identity.Renews():
			hint = "the configuration says whose signatures are the key's, and this is somebody else's; nothing was pushed"
		case errors.Is(err, errLeaf):
			hint = "if the key's certificate was renewed on purpose, accept that with --accept-changes; if its service renews it by itself, say whose signatures are the key's with --identity; nothing was pushed"
		}
		return Envelope{}, failure.WithHint(failure.Security, fmt.Errorf("signing %s with key %s: %w", subject.Digest, shown(s.key.Name), err), hint)
	}
	contents, err := Read(s.mediaType, blob)
	if err != nil {
		return fail(err)
	}
	if err := contents.expect(s.Identity(), subject, metadata); err != nil {
		return fail(err)
	}
	if s.expiry > 0 && !contents.Expires.Equal(contents.SigningTime.Add(s.expiry)) {
		return fail(errors.New("signed without the expiry that was asked for"))
	}
	if s.tsa != nil && contents.Stamped.IsZero() {
		return fail(errors.New("signed without the timestamp"))
	}
	if s.renewals != nil {
		switch good, err := s.renewals.judge(ctx, subject, s.mediaType, blob, contents); {
		case err != nil:
			return Envelope{}, fmt.Errorf("signing %s with key %s: %w", subject.Digest, shown(s.key.Name), err)
		case good != "":
			return fail(errors.New(good))
		}
	}
	s.proven.Store(true)
	s.renewed(contents.Chain)
	annotations, err := contents.annotations(fromPlugin)
	if err != nil {
		return fail(err)
	}
	manifest, desc, err := registry.PackSignature(subject, s.mediaType, blob, annotations)
	if err != nil {
		return fail(err)
	}
	return Envelope{s.mediaType, blob, manifest, desc.Digest, Thumbprint(contents.Chain[0]), contents.Target.Annotations, contents}, nil
}

// payloadLimits are the largest payloads that services sign, in bytes, by plugin name.
var payloadLimits = map[string]int{"com.amazonaws.signer.notation.plugin": 4096}

// fits returns an error if the plugin's service does not accept a payload this large. It is called before an
// operation is spent.
func fits(plugin string, target ocispec.Descriptor) error {
	limit, ok := payloadLimits[plugin]
	if !ok {
		return nil
	}
	payload, err := json.Marshal(map[string]ocispec.Descriptor{"targetArtifact": target})
	if err != nil {
		return err
	}
	if len(payload) > limit {
		return failure.WithHint(failure.Permanent, fmt.Errorf("%s needs a payload of %d bytes, with %d entries of metadata, and plugin %s signs no more than %d", target.Digest, len(payload), len(target.Annotations), plugin, limit), "each tag of the digest is an entry: leave some out with --exclude-tags")
	}
	return nil
}

// envelope asks the key for an envelope and for the annotations that an envelope plugin wants on the manifest. Each
// call has its own signer, because notation-go's keeps the annotations of the last call. The authority comes after
// the key, since it countersigns the signature.
func (s *Signer) envelope(ctx context.Context, target ocispec.Descriptor, tsa *TSA) ([]byte, map[string]string, error) {
	opts := notationgo.SignerSignOptions{SignatureMediaType: s.mediaType, ExpiryDuration: s.expiry}
	stamp := &stamping{tsa: tsa}
	if tsa != nil {
		if err := tsa.ready(ctx); err != nil {
			return nil, nil, err
		}
		opts.Timestamper, opts.TSARootCAs = stamp, tsa.roots
	}
	if s.local != nil {
		if err := s.pace.enter(ctx); err != nil {
			return nil, nil, err
		}
		blob, _, err := s.local.Sign(ctx, target, opts)
		if stamp.cause != nil {
			return nil, nil, stamp.cause
		}
		if err != nil {
			return nil, nil, failure.New(failure.Permanent, fmt.Errorf("signing with key %s: %w", shown(s.key.Name), err))
		}
		return blob, nil, nil
	}
	j := &signRequest{pluginClient: s.plug, pace: s.pace}
	ps, err := signer.NewPluginSigner(j, s.key.ID, s.key.Config)
	if err != nil {
		return nil, nil, err
	}
	blob, _, err := ps.Sign(ctx, target, opts)
	switch {
	case err == nil:
		return blob, ps.PluginAnnotations(), nil
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case j.cause != nil:
		return nil, nil, j.cause
	case stamp.cause != nil:
		return nil, nil, stamp.cause
	}
	// The plugin answered, but notation-go rejected the answer.
	wrong := fmt.Errorf("signing with key %s: %s", shown(s.key.Name), safetext.Safe(s.plug.secrets.hide(err.Error()), 512))
	if s.chain == nil && strings.Contains(err.Error(), "certificate") {
		return nil, nil, failure.WithHint(failure.Denied, unfitChain{wrong}, hintChain)
	}
	return nil, nil, failure.WithHint(failure.Security, wrong, "the plugin's signature does not fit its certificate or the request")
}

// MayBe reports whether a signature can count as one of this key's: see [Identity.MayBe].
func (s *Signer) MayBe(thumbprints []string) bool {
	return slices.ContainsFunc(s.known(), func(i Identity) bool { return i.MayBe(thumbprints) })
}

// Recognise reports whether an envelope found in a registry counts as one of this key's for the subject, by its
// identity or by an accepted one, and returns its contents. It reports false if this is not certain, or if the
// signature no longer verifies: it has expired, or a certificate has ended and there is no timestamp. It does not
// check that the key has its identity: see Prove.
//
// If the identity renews its certificates, the signature must have a timestamp of the configured authority from when
// they were valid, and they must not be revoked. If that could not be found out, the error has class transient, and
// nobody may sign.
func (s *Signer) Recognise(ctx context.Context, subject ocispec.Descriptor, mediaType string, blob []byte) (c Contents, by Identity, ours bool, err error) {
	c, err = Read(mediaType, blob)
	if err != nil || !c.Verifies(s.now()) {
		return Contents{}, by, false, nil
	}
	for _, by := range s.known() {
		if c.expect(by, subject, c.Target.Annotations) != nil {
			continue
		}
		if s.renewals != nil && by == s.identity {
			why, err := s.renewals.judge(ctx, subject, mediaType, blob, c)
			if err != nil {
				return Contents{}, Identity{}, false, err
			}
			if why != "" {
				continue
			}
		}
		return c, by, true, nil
	}
	return Contents{}, by, false, nil
}

// known returns the identities whose signatures count as the key's. Its certificate's is not known before the key is
// open.
func (s *Signer) known() []Identity {
	if s.identity.IsZero() && len(s.Certificates()) == 0 {
		return s.accepted
	}
	return append([]Identity{s.Identity()}, s.accepted...)
}

// Prove returns an error unless the key is known to have its identity: it was opened with a signature, has made one
// since, is in files, or the configuration names the identity. Otherwise its chain is from an earlier run, and was
// stored where others can write. Then the key makes one throw-away signature to show that the chain is its own. A
// chain that is not stays refused. It is safe for concurrent use, and spends at most one key operation unless that
// fails.
func (s *Signer) Prove(ctx context.Context) error {
	if s.proven.Load() {
		return nil
	}
	select {
	case s.proving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.proving }()
	if s.proven.Load() || s.astray != nil {
		return s.astray
	}
	c, err := s.proof(ctx)
	if err != nil {
		return err
	}
	if err := s.Identity().Matches(c); err != nil {
		s.astray = failure.WithHint(failure.Security, fmt.Errorf("proving key %s: %w than the ledger says: %w", shown(s.key.Name), errLeaf, err), "if the key's certificate was renewed on purpose, accept that with --accept-changes; if not, the ledger was changed by others; nothing was pushed")
		return s.astray
	}
	s.proven.Store(true)
	return nil
}

// ErrCertificate says that a signature has another certificate than expected. This also happens after a renewal.
var ErrCertificate = errLeaf

// ErrEnded says that a signature is as expected but no longer verifies: it has expired, or a certificate has ended
// and there is no timestamp.
var ErrEnded = errors.New("the signature does not verify any more")

// Check returns an error unless an envelope is one of this key's for the subject, intact, and in exactly the manifest
// beside it. The error is ErrEnded if only its age is wrong. It spends no key operation.
func (s *Signer) Check(ctx context.Context, subject ocispec.Descriptor, e Envelope) error {
	c, err := Read(e.MediaType, e.Blob)
	if err != nil {
		return err
	}
	if err := c.expect(s.Identity(), subject, c.Target.Annotations); err != nil {
		return err
	}
	if digest.FromBytes(e.Manifest) != e.ManifestDigest {
		return errors.New("the manifest does not have its digest")
	}
	var manifest ocispec.Manifest
	if err := strictjson.Unmarshal(e.Manifest, &manifest); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	if manifest.Subject == nil || manifest.Subject.Digest != subject.Digest ||
		len(manifest.Layers) != 1 || manifest.Layers[0].Digest != digest.FromBytes(e.Blob) {
		return errors.New("the manifest is not that of this envelope")
	}
	if !c.Verifies(s.now()) {
		return ErrEnded
	}
	if s.renewals == nil {
		return nil
	}
	switch why, err := s.renewals.judge(ctx, subject, e.MediaType, e.Blob, c); {
	case err != nil:
		return err
	case why != "":
		return errors.New(why)
	}
	return nil
}
