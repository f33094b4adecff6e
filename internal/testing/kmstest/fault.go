package kmstest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// A Kind is a way for a plugin to misbehave.
type Kind string

// Error answers: JSON on stderr, exit 1.
const (
	Throttled      Kind = "throttled"       // THROTTLED, as the protocol has it
	ThrottledAzure Kind = "throttled-azure" // "Throttled", as Azure's plugin has it
	ThrottledText  Kind = "throttled-text"  // ERROR with "Code: 429" in the text, as Vault's plugin has it
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
	GarbageStdout      Kind = "garbage-stdout"           // bytes that are no JSON, exit 0
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
	ExpiredChain      Kind = "expired-chain"       // the key's certificate has expired; envelopes are dated back to fit
	NewCertificate    Kind = "new-certificate"     // a new self-signed certificate of the key for each signature
	WrongKeyID        Kind = "wrong-key-id"        // answers for another key id
	WrongPayload      Kind = "wrong-payload"       // signs other bytes; in an envelope, another digest
	WrongAlgorithm    Kind = "wrong-algorithm"     // names another algorithm or key spec than the key's
	WrongEnvelopeType Kind = "wrong-envelope-type" // says COSE of JWS and the other way round
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

// commands tells which commands a kind can happen to.
var commands = map[Kind][]string{
	Throttled: everywhere, ThrottledAzure: everywhere, ThrottledText: everywhere, AccessDenied: everywhere,
	TimeoutCode: everywhere, Validation: everywhere, GenericError: everywhere,
	EchoRequest: everywhere, PlainTextStderr: everywhere, PanicText: everywhere, EmptyStderr: everywhere, LogLineThenJSON: everywhere,
	Hang: everywhere, HangIgnoreTerm: everywhere, ChildHoldsStdout: everywhere, ChildHoldsAndHangs: everywhere,
	SetsidDaemon: everywhere, Slow: everywhere, GarbageStdout: everywhere, EmptyStdout: everywhere,
	HugeStdout: everywhere, DuplicateJSONKeys: everywhere, TruncatedJSON: everywhere, ExitOneValidStdout: everywhere,
	WrongKey: signing, WrongChain: signing, ExpiredChain: signing, NewCertificate: signing, WrongPayload: signing, BadSignature: signing,
	WrongKeyID: {describe, signature}, WrongAlgorithm: {describe, signature}, WrongEnvelopeType: {envelope},
	WrongContract: {metadata}, WrongName: {metadata}, NoCapability: {metadata},
}

// Kinds is every kind there is, sorted.
func Kinds() []Kind {
	var kinds []Kind
	for kind := range commands {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Commands tells which plugin commands the kind can happen to.
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
