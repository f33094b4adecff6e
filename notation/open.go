package notation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	corex509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A Step is one of the checks of a key before it signs.
type Step string

// The steps, in order. A key in files has other steps than one in a plugin.
const (
	StepFiles      Step = "key-files"         // certificates and private key can be read, and fit
	StepPluginFile Step = "plugin-file"       // it exists, and only this user and root can change it
	StepPluginSum  Step = "plugin-sha256"     // it has the configured SHA-256
	StepPlugin     Step = "plugin"            // it has the right name, protocol and capability
	StepDescribe   Step = "key-description"   // it knows the key
	StepSignature  Step = "key-signature"     // the key signs: costs a key operation, but signs no image
	StepChain      Step = "certificate-chain" // valid for Notation now
)

// MaxProofs is the most throw-away signatures that it takes to prove a key. See also [Signer.Prove], which takes one
// if Open took none.
const MaxProofs = 2

// Finding is the result of one step.
type Finding struct {
	Step  Step
	Found string // for people; safe to show
	Err   error  // why no signature can be made
}

// step is a step with its function.
type step struct {
	name Step
	take func(context.Context) (found string, err error)
}

// Open finds a key and proves that it can sign: the plugin is the right one, the certificate chain is valid for
// Notation, and valid now. It checks all this before the first image is signed, and as much as possible before any
// key operation.
func Open(ctx context.Context, key Key, o Options) (*Signer, error) {
	s, err := newSigner(key, o)
	if err != nil {
		return nil, err
	}
	for _, one := range s.steps(o.Chain) {
		if _, err := one.take(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Unopened returns a signer that can only recognise the key's signatures, as far as the configuration says whose they
// are. It does not contact the key.
func Unopened(key Key, o Options) (*Signer, error) { return newSigner(key, o) }

// Examine takes the steps of [Open] and reports each through tell, up to the first that fails. With sign the key
// makes a throw-away signature, even if its chain is known. Without sign, and without a known chain, nothing is
// learned about the certificate: both the Signer and the error are nil. Otherwise the error is that of the failed
// step, which tell has received, or that of a key description with which no step could be taken.
func Examine(ctx context.Context, key Key, o Options, sign bool, tell func(Finding)) (*Signer, error) {
	s, err := newSigner(key, o)
	if err != nil {
		return nil, err
	}
	if sign {
		o.Chain = nil
	}
	steps := s.steps(o.Chain)
	if sign && key.Plugin == "" {
		steps = append(steps, step{StepSignature, s.prove})
	}
	for _, one := range steps {
		if one.name == StepSignature && !sign {
			return nil, nil
		}
		found, err := one.take(ctx)
		name := one.name
		if errors.As(err, &unfitChain{}) {
			name = StepChain // the signature showed it
		}
		tell(Finding{name, found, err})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// newSigner makes a signer whose steps have not been taken yet.
func newSigner(key Key, o Options) (*Signer, error) {
	if err := key.check(); err != nil {
		return nil, err
	}
	format := o.Format
	if format == "" {
		format = "jws"
	}
	s := &Signer{
		key: key, mediaType: formats[format], now: o.Now, expiry: o.Expiry, pace: newPace(o.Rate, o.OnThrottled), tsa: o.TSA,
		accepted: o.Accepted, proving: make(chan struct{}, 1),
	}
	s.pace.budget = o.Budget
	if s.identity = o.Identity; s.identity.Renews() {
		if err := s.outlive(o); err != nil {
			return nil, err
		}
		s.proven.Store(true) // the configuration names the identity
	}
	if s.mediaType == "" {
		return nil, fmt.Errorf("signature format %s: it is jws or cose", safetext.Safe(format, 32))
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// steps returns the steps for the key. known is its chain from an earlier run.
func (s *Signer) steps(known [][]byte) []step {
	if s.key.Plugin == "" {
		// The chain comes before the private key, which is then compared with it.
		return []step{{StepFiles, s.readChain}, {StepChain, s.judgeChain}, {StepFiles, s.loadKey}}
	}
	steps := []step{{StepPluginFile, s.locate}}
	if s.key.PluginSHA256 != "" {
		steps = append(steps, step{StepPluginSum, s.compareSum})
	}
	steps = append(steps, step{StepPlugin, s.introduce}, step{StepDescribe, s.describe})
	if len(known) == 0 || !s.fits(known) {
		return append(steps, step{StepSignature, s.prove}, step{StepChain, s.judgeChain})
	}
	return append(steps, step{StepChain, func(ctx context.Context) (_ string, err error) {
		if s.chain, err = parseChain(known); err != nil {
			return "", err
		}
		if slices.ContainsFunc(s.accepted, s.Identity().Equal) {
			s.proven.Store(true)
		}
		return s.judgeChain(ctx)
	}})
}

// missingFile is the hint for a missing key file.
func missingFile(err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return "\nhint: notation's signingkeys.json names the file; notation key list shows its keys, and notation key add a new one, or give --plugin and --id"
}

func (s *Signer) readChain(context.Context) (string, error) {
	chain, err := certfile.Read(s.key.CertFile)
	if err != nil {
		return "", fileError{fmt.Errorf("reading the certificates of key %s: %w%s", s.key.Name, err, missingFile(err))}
	}
	s.chain = chain
	return "certificates " + safetext.Safe(s.key.CertFile, 512), nil
}

func (s *Signer) loadKey(context.Context) (_ string, err error) {
	key, err := os.ReadFile(s.key.KeyFile)
	if err != nil {
		return "", fileError{fmt.Errorf("loading key %s: %w%s", s.key.Name, err, missingFile(err))}
	}
	if encrypted(key) {
		return "", fileError{fmt.Errorf("loading key %s: %s is encrypted, and no password is asked for\nhint: openssl pkey -in FILE -out PLAIN (after umask 077) makes a copy without password, to be named in notation's signingkeys.json; or keep the key in a KMS or token, and name its plugin with --plugin",
			s.key.Name, safetext.Safe(s.key.KeyFile, 512))}
	}
	var chain []byte
	for _, c := range s.chain {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	// This compares the key with the certificate.
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return "", fileError{fmt.Errorf("loading key %s from %s: %w", s.key.Name, safetext.Safe(s.key.KeyFile, 512), err)}
	}
	if s.local, err = signer.NewGenericSigner(pair.PrivateKey, s.chain); err != nil {
		return "", fmt.Errorf("loading key %s: %w", s.key.Name, err)
	}
	s.proven.Store(true) // it matches the certificate
	return "private key " + safetext.Safe(s.key.KeyFile, 512), nil
}

// encrypted reports whether a file has a password-protected private key, in either of openssl's forms.
func encrypted(file []byte) bool {
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return true
		}
	}
	return false
}

func (s *Signer) locate(context.Context) (string, error) {
	s.plug = newPlug(pluginFile{name: s.key.Plugin, given: s.key.PluginPath, sum: s.key.PluginSHA256}, s.key.Config, s.key.PluginEnv, s.key.Timeout)
	path, err := s.plug.file.find()
	if err != nil {
		return "", err
	}
	return safetext.Safe(path, 512) + untold, nil
}

func (s *Signer) compareSum(context.Context) (string, error) {
	if _, err := s.plug.file.ready(); err != nil {
		return "", err
	}
	return "as configured", nil
}

// introduce asks the plugin for its metadata.
func (s *Signer) introduce(ctx context.Context) (string, error) {
	m, err := s.plug.GetMetadata(ctx, &plugin.GetMetadataRequest{PluginConfig: s.key.Config})
	if err != nil {
		return "", err
	}
	s.raw = m.HasCapability(plugin.CapabilitySignatureGenerator)
	if s.tsa != nil && !s.raw {
		// notation-go would silently leave the timestamp out.
		return "", failure.WithHint(failure.Permanent, fmt.Errorf("plugin %s makes whole envelopes, to which nobody can add a timestamp", shown(s.key.Plugin)), "leave --timestamp-url and --timestamp-root-cert out, and see whether the plugin has its own setting for timestamps")
	}
	makes := "envelopes"
	if s.raw {
		makes = "signatures"
	}
	return fmt.Sprintf("%s %s, protocol %s, makes %s", shown(m.Name), shown(m.Version),
		shown(strings.Join(m.SupportedContractVersions, ", ")), makes), nil
}

// describe asks the plugin for the key's spec.
func (s *Signer) describe(ctx context.Context) (string, error) {
	if !s.raw {
		return "not asked: the plugin makes whole envelopes", nil
	}
	k, err := s.plug.DescribeKey(ctx, &plugin.DescribeKeyRequest{ContractVersion: plugin.ContractVersion, KeyID: s.key.ID, PluginConfig: s.key.Config})
	if err != nil {
		return "", err
	}
	return shown(string(k.KeySpec)), nil
}

// prove makes one signature over something that is not an image and throws it away. It shows that the key signs and,
// with a plugin, which certificate chain it has.
func (s *Signer) prove(ctx context.Context) (string, error) {
	c, err := s.proof(ctx)
	if err != nil {
		return "", err
	}
	cost := ""
	if s.key.Plugin != "" {
		cost = "; it cost one key operation"
	}
	if s.mayBeMadeForOne(c.Chain) {
		cost = "; it cost two key operations, as its certificate is only minutes old"
		again, err := s.proof(ctx)
		if err != nil {
			return "", err
		}
		if !again.Chain[0].Equal(c.Chain[0]) && !s.identity.Renews() {
			return "", failure.WithHint(failure.Denied, fmt.Errorf("plugin %s makes a new self-signed certificate for each signature, so no trust policy can name its signatures", safetext.Safe(s.key.Plugin, 64)), "give the plugin the certificate of its key, in its own configuration: for alibabacloud.secretmanager that is --plugin-config ca_certs=FILE")
		}
		c = again
	}
	if s.identity.Renews() {
		if err := s.named(c); err != nil {
			return "", err
		}
	}
	if err := s.verifiable(ctx, c); err != nil {
		return "", err
	}
	s.chain = c.Chain
	s.proven.Store(true)
	return "a test signature verifies, and was thrown away" + cost, nil
}

// mayBeMadeForOne reports whether the certificate may have been issued for this one signature: it is only minutes
// old, and either self-signed or for a key that renews its certificates.
func (s *Signer) mayBeMadeForOne(chain []*x509.Certificate) bool {
	leaf := chain[0]
	alone := len(chain) == 1 && bytes.Equal(leaf.RawSubject, leaf.RawIssuer)
	return s.key.Plugin != "" && (alone || s.identity.Renews()) && s.now().Sub(leaf.NotBefore) < 10*time.Minute
}

// proof spends a key operation and returns the signature's contents.
func (s *Signer) proof(ctx context.Context) (Contents, error) {
	s.pace.proof()
	nothing := []byte("dct2notation proves a key")
	blob, _, err := s.envelope(ctx, ocispec.Descriptor{
		MediaType: "application/vnd.dct2notation.proof", Digest: digest.FromBytes(nothing), Size: int64(len(nothing)),
	}, nil)
	if err != nil {
		return Contents{}, fmt.Errorf("proving key %s: %w", shown(s.key.Name), err)
	}
	c, err := Read(s.mediaType, blob)
	if err != nil {
		return Contents{}, failure.New(failure.Security, fmt.Errorf("proving key %s: %w", shown(s.key.Name), err))
	}
	return c, nil
}

// unfitChain marks an error about the certificate chain.
type unfitChain struct{ error }

func (u unfitChain) Unwrap() error { return u.error }

const hintChain = "the key's certificate must be valid now and made for code signing, with the chain complete up to its root"

func (s *Signer) judgeChain(context.Context) (string, error) {
	if err := s.checkChain(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, leaf %s, %s", safetext.Count(len(s.chain), "certificate"), s.Leaf(), safetext.Safe(s.chain[0].Subject.String(), 200)), nil
}

// checkChain returns an error unless the chain is valid for Notation now.
func (s *Signer) checkChain() error {
	now := s.now()
	if err := corex509.ValidateCodeSigningCertChain(s.chain, &now); err != nil {
		return failure.WithHint(failure.Denied, fmt.Errorf("certificate chain of key %s: %w", shown(s.key.Name), err), hintChain)
	}
	return nil
}
