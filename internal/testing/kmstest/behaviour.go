package kmstest

import (
	"bytes"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// What the plugin can do, as Behaviour.Capability.
const (
	RAW      = "RAW"      // describe-key and generate-signature; the default
	ENVELOPE = "ENVELOPE" // generate-envelope, JWS and COSE
	VERIFIER = "VERIFIER" // verify-signature: trusted identity and revocation
	MANAGED  = "MANAGED"  // generate-envelope and verify-signature, as AWS Signer's
)

// The signed attributes of an envelope that the plugin or Notation reads.
const (
	VerificationPlugin    = "io.cncf.notary.verificationPlugin"
	SigningProfileVersion = "com.amazonaws.signer.signingProfileVersion"
	SigningJob            = "com.amazonaws.signer.signingJob"
)

// Values of Rejects for the revocation check. AWS Signer's plugin answers in this form even if it could not reach the
// service.
const (
	Revoked       = "Resource(s) arn:aws:signer:eu-central-1:111122223333:/signing-jobs/1 have been revoked."
	ServiceAway   = "GetRevocationStatus call failed with error: dial tcp 127.0.0.1:9: connect: connection refused"
	NoCredentials = "GetRevocationStatus call failed with error: get credentials: no EC2 IMDS role found"
)

// A Behaviour is everything that the plugin can be ordered to do. The zero value is an honest plugin without keys.
type Behaviour struct {
	// Keys are its keys, by key id. It refuses others with VALIDATION_ERROR.
	Keys map[string]pki.Files `json:"keys,omitempty"`
	// Capability is RAW, ENVELOPE, VERIFIER or MANAGED.
	Capability string `json:"capability,omitempty"`
	// Rolling renews the certificates of all keys while they sign; nil: they are not renewed.
	Rolling *Rolling `json:"rolling,omitempty"`
	// SigningAuthority makes envelopes with the scheme notary.x509.signingAuthority: JWS only, without expiry.
	SigningAuthority bool `json:"signingAuthority,omitempty"`
	// Attributes are signed into every envelope as critical ones; {id} stands for the key's id and {digest} for the
	// image's digest. If the signature has SigningProfileVersion, a verifier looks for it among the trusted
	// identities.
	Attributes map[string]string `json:"attributes,omitempty"`
	// MaxPayload is the largest payload, in bytes, of an envelope. Zero: no limit.
	MaxPayload int `json:"maxPayload,omitempty"`
	// Rejects are the verifications that fail, with the reason, by the protocol's name of the capability.
	Rejects map[string]string `json:"rejects,omitempty"`
	// Ignores makes it process no attribute of a signature.
	Ignores bool `json:"ignores,omitempty"`
	// Annotations are returned with every envelope; {digest} stands for the image's digest.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Delay is the additional time that each command takes, in milliseconds, by command.
	Delay map[string]int `json:"delay,omitempty"`
	// Calls is the path of the call log. Install and Set fill it in if it is empty.
	Calls string `json:"calls,omitempty"`
	// MaxPerSecond limits the commands that use a key (all but get-plugin-metadata), in any second and over all
	// processes; further ones answer THROTTLED at once. Throttled calls do not count towards the limit. Zero: no
	// limit.
	MaxPerSecond float64 `json:"maxPerSecond,omitempty"`
	// Refusal is how calls above MaxPerSecond are answered: Throttled, ThrottledAzure or
	// ThrottledText. Empty: Throttled.
	Refusal Kind `json:"refusal,omitempty"`
	// Faults are what goes wrong. The first that matches a call happens.
	Faults []Fault `json:"faults,omitempty"`
}

// AWSSigner returns the behaviour of AWS Signer's plugin, for keys whose ids are the ARNs of signing profiles.
func AWSSigner(keys map[string]pki.Files) Behaviour {
	return Behaviour{Keys: keys, Capability: MANAGED, SigningAuthority: true, MaxPayload: 4096, Attributes: map[string]string{
		VerificationPlugin: Name, SigningProfileVersion: "{id}/Vk1a2b3c4d", SigningJob: "arn:aws:signer:eu-central-1:111122223333:/signing-jobs/{digest}",
	}}
}

// Rolling is how a service renews certificates by itself: each time with a new key, and with the root and the subject
// of the certificate in Behaviour.Keys. An expired certificate is always renewed. Plugin.Set keeps renewed
// certificates and how often they have signed.
type Rolling struct {
	// Authority issues the certificates: the root of those in Behaviour.Keys.
	Authority pki.Files `json:"authority"`
	// Signatures is the number of signatures after which the certificate is renewed. Zero: unlimited.
	Signatures int `json:"signatures,omitempty"`
	// Ms is the age at which the certificate is renewed, in milliseconds. Zero: unlimited.
	Ms int `json:"ms,omitempty"`
	// EKUs are extended key usages besides code signing.
	EKUs []asn1.ObjectIdentifier `json:"ekus,omitempty"`
	// LifetimeMs is how long each certificate is valid, in milliseconds, which X.509 truncates to seconds. Zero: 72
	// hours.
	LifetimeMs int `json:"lifetimeMs,omitempty"`
}

// A Fault is one thing that goes wrong, and when. Calls are counted per command over all processes since Install or
// the last Set.
type Fault struct {
	// Command is the plugin command it happens to: "generate-signature" and so on.
	Command string `json:"command"`
	// Kind is what happens.
	Kind Kind `json:"kind"`
	// Nth is the first call it happens to; 0 means from the first on.
	Nth int `json:"nth,omitempty"`
	// Count is the number of calls it happens to. 0 means every call if Nth is 0, else that one.
	Count int `json:"count,omitempty"`
	// Every makes it happen to one call in that many, forever, instead of Nth and Count.
	Every int `json:"every,omitempty"`
	// Ms is how long slow, hanging and lingering kinds last, in milliseconds. 0 means a minute.
	Ms int `json:"ms,omitempty"`
	// Text replaces the message of the kinds that answer with an error.
	Text string `json:"text,omitempty"`
	// With is the id of the key that wrong-key, wrong-chain and expired-chain use instead of the right one. Empty: a
	// new key, which for RSA takes the time to make it.
	With string `json:"with,omitempty"`
}

// Fault returns the fault for the nth call of a command, counted from 1; false if there is none.
func (b Behaviour) Fault(command string, nth int) (Fault, bool) {
	for _, f := range b.Faults {
		if f.Command == command && f.fits(nth) {
			return f, true
		}
	}
	return Fault{}, false
}

func (f Fault) fits(nth int) bool {
	if f.Every > 0 {
		return nth%f.Every == 0
	}
	if f.Nth == 0 {
		return f.Count == 0 || nth <= f.Count
	}
	return nth >= f.Nth && nth < f.Nth+max(f.Count, 1)
}

// check refuses what the plugin would not understand, so that a test with a typing error does not pass because
// nothing went wrong.
func (b Behaviour) check() error {
	if b.Capability != "" && !slices.Contains([]string{RAW, ENVELOPE, VERIFIER, MANAGED}, b.Capability) {
		return fmt.Errorf("unknown capability %q", b.Capability)
	}
	if b.Refusal != "" && !slices.Contains([]Kind{Throttled, ThrottledAzure, ThrottledText}, b.Refusal) {
		return fmt.Errorf("a limit cannot refuse with %q", b.Refusal)
	}
	if b.Rolling != nil && b.Rolling.Authority == (pki.Files{}) {
		return errors.New("nobody issues the certificates that are renewed")
	}
	for command := range b.Delay {
		if !known(command) {
			return fmt.Errorf("delay of unknown command %q", command)
		}
	}
	for _, f := range b.Faults {
		if err := f.check(b); err != nil {
			return fmt.Errorf("fault %q: %w", f.Kind, err)
		}
	}
	return nil
}

// ReadBehaviour reads a behaviour file. Unknown fields are errors.
func ReadBehaviour(path string) (Behaviour, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Behaviour{}, fmt.Errorf("reading the plugin's behaviour: %w", err)
	}
	var b Behaviour
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return Behaviour{}, fmt.Errorf("reading the plugin's behaviour %s: %w", path, err)
	}
	if err := b.check(); err != nil {
		return Behaviour{}, fmt.Errorf("reading the plugin's behaviour %s: %w", path, err)
	}
	return b, nil
}

// write replaces the file atomically: a plugin that starts meanwhile reads the old or the new one.
func (b Behaviour) write(path string) error {
	content, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the plugin's behaviour: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing the plugin's behaviour: %w", err)
	}
	_, err = next.Write(content)
	if closing := next.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		os.Remove(next.Name())
		return fmt.Errorf("writing the plugin's behaviour: %w", err)
	}
	return nil
}

// A Kind is a way for a plugin to misbehave.
type Kind string

// Error answers: JSON on stderr, exit 1.
const (
	Throttled      Kind = "throttled"       // THROTTLED, as in the protocol
	ThrottledAzure Kind = "throttled-azure" // "Throttled", as from Azure's plugin
	ThrottledText  Kind = "throttled-text"  // ERROR with "Code: 429" in the text, as from Vault's plugin
	AccessDenied   Kind = "access-denied"   // ACCESS_DENIED
	TimeoutCode    Kind = "timeout-code"    // TIMEOUT
	Validation     Kind = "validation"      // VALIDATION_ERROR
	GenericError   Kind = "error"           // ERROR
)

// Failures outside of the protocol.
const (
	EchoRequest        Kind = "echo-request"             // its configuration and AZURE_CLIENT_SECRET as text on stderr, exit 1
	PlainTextStderr    Kind = "plain-text-stderr"        // text on stderr, exit 1
	PanicText          Kind = "panic-text"               // a Go panic on stderr, exit 2
	EmptyStderr        Kind = "empty-stderr"             // nothing at all, exit 3
	LogLineThenJSON    Kind = "log-line-then-json"       // a log line, then THROTTLED, exit 1
	Hang               Kind = "hang"                     // no answer
	HangIgnoreTerm     Kind = "hang-ignore-term"         // no answer, and SIGTERM, SIGINT, SIGHUP are ignored
	ChildHoldsStdout   Kind = "child-holds-stdout"       // right answer, exit 0, a child keeps stdout open
	ChildHoldsAndHangs Kind = "child-holds-stdout-hang"  // the same, and the plugin hangs without an answer
	SetsidDaemon       Kind = "setsid-daemon"            // right answer, exit 0, stdout is kept by a child in its own session
	Slow               Kind = "slow"                     // right answer, Ms later
	ColdStart          Kind = "cold-start"               // the same, after warnings on stderr
	GarbageStdout      Kind = "garbage-stdout"           // bytes that are not JSON, exit 0
	EmptyStdout        Kind = "empty-stdout"             // nothing, exit 0
	HugeStdout         Kind = "huge-stdout"              // 300 MB, exit 0
	DuplicateJSONKeys  Kind = "duplicate-json-keys"      // right answer with its first field twice, the first time null
	TruncatedJSON      Kind = "truncated-json"           // the first half of the right answer, exit 0
	ExitOneValidStdout Kind = "exit-1-with-valid-stdout" // right answer, nothing on stderr, exit 1
)

// Lies: well-formed answers that are not true.
const (
	WrongKey          Kind = "wrong-key"           // signed with another key
	WrongChain        Kind = "wrong-chain"         // signed with the key, sent with another's certificates
	ExpiredChain      Kind = "expired-chain"       // the key's certificate has expired; envelopes are backdated to fit
	NewCertificate    Kind = "new-certificate"     // a new self-signed certificate of the key for each signature
	WrongKeyID        Kind = "wrong-key-id"        // answers for another key id
	WrongPayload      Kind = "wrong-payload"       // signs other bytes; in an envelope, another digest
	WrongAlgorithm    Kind = "wrong-algorithm"     // names another algorithm or key spec than the key's
	WrongEnvelopeType Kind = "wrong-envelope-type" // says COSE for JWS and the other way round
	BadSignature      Kind = "bad-signature"       // one bit of the signature is flipped
	WrongContract     Kind = "wrong-contract"      // supports contract version 2.0 only
	WrongName         Kind = "wrong-name"          // says it is another plugin
	NoCapability      Kind = "no-capability"       // says it can do nothing
)

// The commands of the protocol, by short names.
const (
	metadata  = string(plugin.CommandGetMetadata)
	describe  = string(plugin.CommandDescribeKey)
	signature = string(plugin.CommandGenerateSignature)
	envelope  = string(plugin.CommandGenerateEnvelope)
	verify    = string(plugin.CommandVerifySignature)
)

func known(command string) bool {
	return command == verify || slices.Contains(everywhere, command)
}

var (
	everywhere = []string{metadata, describe, signature, envelope}
	signing    = []string{signature, envelope}
)

// commands are the commands that a kind can happen to.
var commands = map[Kind][]string{
	Throttled: everywhere, ThrottledAzure: everywhere, ThrottledText: everywhere, AccessDenied: everywhere,
	TimeoutCode: everywhere, Validation: everywhere, GenericError: everywhere,
	EchoRequest: everywhere, PlainTextStderr: everywhere, PanicText: everywhere, EmptyStderr: everywhere, LogLineThenJSON: everywhere,
	Hang: everywhere, HangIgnoreTerm: everywhere, ChildHoldsStdout: everywhere, ChildHoldsAndHangs: everywhere,
	SetsidDaemon: everywhere, Slow: everywhere, ColdStart: everywhere, GarbageStdout: everywhere, EmptyStdout: everywhere,
	HugeStdout: everywhere, DuplicateJSONKeys: everywhere, TruncatedJSON: everywhere, ExitOneValidStdout: everywhere,
	WrongKey: signing, WrongChain: signing, ExpiredChain: signing, NewCertificate: signing, WrongPayload: signing, BadSignature: signing,
	WrongKeyID: {describe, signature}, WrongAlgorithm: {describe, signature}, WrongEnvelopeType: {envelope},
	WrongContract: {metadata}, WrongName: {metadata}, NoCapability: {metadata},
}

// Kinds returns all kinds, sorted.
func Kinds() []Kind {
	var kinds []Kind
	for kind := range commands {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Commands returns the plugin commands that the kind can happen to.
func (k Kind) Commands() []string { return slices.Clone(commands[k]) }

func (f Fault) check(b Behaviour) error {
	switch can, ok := commands[f.Kind]; {
	case !ok:
		return errors.New("no such kind")
	case !known(f.Command):
		return fmt.Errorf("no such command: %q", f.Command)
	case f.Command == verify && slices.Equal(can, everywhere):
	case !slices.Contains(can, f.Command):
		return fmt.Errorf("cannot happen to %s", f.Command)
	}
	if _, ok := b.Keys[f.With]; f.With != "" && !ok {
		return fmt.Errorf("no key %q to do it with", f.With)
	}
	return nil
}
