package kmstest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// code reads the error code from the last line of stderr.
func code(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	var e struct{ ErrorCode, ErrorMessage string }
	if json.Unmarshal([]byte(lines[len(lines)-1]), &e) != nil || e.ErrorMessage == "" {
		return "none"
	}
	return e.ErrorCode
}

func refuses(with string) func(outcome) bool {
	return func(o outcome) bool {
		return o.exit == 1 && o.stdout == "" && code(o.stderr) == with && !strings.Contains(o.stderr, "\n")
	}
}

func answers(o outcome) bool { return o.exit == 0 && o.stderr == "" && json.Valid([]byte(o.stdout)) }

// protocolFaults describes how each fault that can affect every command looks from outside, to a
// caller that waits for a while.
var protocolFaults = map[kmstest.Kind]func(outcome) bool{
	kmstest.Throttled:      refuses("THROTTLED"),
	kmstest.ThrottledAzure: refuses("Throttled"),
	kmstest.ThrottledText:  func(o outcome) bool { return refuses("ERROR")(o) && strings.Contains(o.stderr, "Code: 429") },
	kmstest.AccessDenied:   refuses("ACCESS_DENIED"),
	kmstest.TimeoutCode:    refuses("TIMEOUT"),
	kmstest.Validation:     refuses("VALIDATION_ERROR"),
	kmstest.GenericError:   refuses("ERROR"),
	kmstest.EchoRequest: func(o outcome) bool {
		return o.exit == 1 && o.stdout == "" && strings.Contains(o.stderr, kmstest.ConfigKey)
	},
	kmstest.PlainTextStderr: func(o outcome) bool {
		return o.exit == 1 && o.stdout == "" && o.stderr != "" && code(o.stderr) == "none"
	},
	kmstest.PanicText:   func(o outcome) bool { return o.exit == 2 && strings.Contains(o.stderr, "goroutine 1") },
	kmstest.EmptyStderr: func(o outcome) bool { return o.exit == 3 && o.stdout == "" && o.stderr == "" },
	kmstest.LogLineThenJSON: func(o outcome) bool {
		return o.exit == 1 && code(o.stderr) == "THROTTLED" && !json.Valid([]byte(o.stderr))
	},
	kmstest.Hang:               hangs,
	kmstest.HangIgnoreTerm:     hangs,
	kmstest.ChildHoldsAndHangs: hangs,
	kmstest.ChildHoldsStdout:   func(o outcome) bool { return answers(o) && o.timedOut && o.ended },
	kmstest.SetsidDaemon:       func(o outcome) bool { return answers(o) && o.timedOut && o.ended },
	kmstest.Slow:               func(o outcome) bool { return answers(o) && !o.timedOut && o.took >= 300*time.Millisecond },
	kmstest.ColdStart: func(o outcome) bool {
		return o.exit == 0 && json.Valid([]byte(o.stdout)) && strings.Count(o.stderr, "\n") == 2 && o.took >= 300*time.Millisecond
	},
	kmstest.GarbageStdout: func(o outcome) bool { return o.exit == 0 && o.stdout != "" && !json.Valid([]byte(o.stdout)) },
	kmstest.EmptyStdout:   func(o outcome) bool { return o.exit == 0 && o.stdout == "" && o.stderr == "" },
	kmstest.TruncatedJSON: func(o outcome) bool {
		return o.exit == 0 && strings.HasPrefix(o.stdout, `{"`) && !json.Valid([]byte(o.stdout))
	},
	kmstest.DuplicateJSONKeys: func(o outcome) bool {
		field, _, _ := strings.Cut(o.stdout, ":")
		return answers(o) && strings.Count(o.stdout, strings.TrimPrefix(field, "{")+":") == 2
	},
	kmstest.ExitOneValidStdout: func(o outcome) bool {
		return o.exit == 1 && o.stderr == "" && json.Valid([]byte(o.stdout))
	},
}

func hangs(o outcome) bool { return o.timedOut && !o.ended && o.stdout == "" }

func TestEachProtocolFaultIsWhatItsNameSays(t *testing.T) {
	t.Parallel()
	for kind, looks := range protocolFaults {
		commands := kind.Commands()
		switch kind {
		case kmstest.Hang, kmstest.HangIgnoreTerm, kmstest.ChildHoldsAndHangs, kmstest.ChildHoldsStdout, kmstest.SetsidDaemon:
			commands = []string{"describe-key"} // each costs the whole waiting time
		}
		for _, command := range commands {
			t.Run(string(kind)+" "+command, func(t *testing.T) {
				t.Parallel()
				fault := kmstest.Fault{Command: command, Kind: kind}
				deadline := time.Minute
				switch kind {
				case kmstest.Slow, kmstest.ColdStart:
					fault.Ms = 300
				case kmstest.Hang, kmstest.HangIgnoreTerm, kmstest.ChildHoldsAndHangs:
					deadline = 1500 * time.Millisecond
				}
				p := install(t, kmstest.Behaviour{Capability: capabilityFor(command), Faults: []kmstest.Fault{fault}})
				if got := start(t, p, command, requestFor(p, command), deadline); !looks(got) {
					t.Errorf("got %+v, want what the fault looks like", got)
				}
				if calls, err := p.Calls(command); err != nil || len(calls) != 1 {
					t.Errorf("got logged %v, error %v, want 1 call", calls, err)
				}
			})
		}
	}
}

// TestEveryKindIsTested fails when a kind is added that no test covers.
func TestEveryKindIsTested(t *testing.T) {
	t.Parallel()
	elsewhere := []kmstest.Kind{
		kmstest.HugeStdout, kmstest.WrongKey, kmstest.WrongChain, kmstest.ExpiredChain, kmstest.NewCertificate, kmstest.WrongKeyID,
		kmstest.WrongPayload, kmstest.WrongAlgorithm, kmstest.WrongEnvelopeType, kmstest.BadSignature,
		kmstest.WrongContract, kmstest.WrongName, kmstest.NoCapability,
	}
	for _, kind := range kmstest.Kinds() {
		if protocolFaults[kind] == nil && !slices.Contains(elsewhere, kind) {
			t.Errorf("%s: got no test, want one", kind)
		}
	}
}

func TestFaultTextReplacesTheMessage(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{Faults: []kmstest.Fault{
		{Command: "describe-key", Kind: kmstest.GenericError, Text: "\x1b[31mquota of vault v"},
	}})
	got := start(t, p, "describe-key", requestFor(p, "describe-key"), time.Minute)
	if code(got.stderr) != "ERROR" || !strings.Contains(got.stderr, "quota of vault v") {
		t.Errorf("got stderr %s, want ERROR with \"quota of vault v\"", got.stderr)
	}
}

// The root and the whole subject stay, but the key changes.
func TestCertificatesRoll(t *testing.T) {
	t.Parallel()
	eku := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 97, 990309390, 766961637}
	other := save(t, issue(t, "sibling", pki.EC256))
	for name, c := range map[string]struct {
		rolling kmstest.Rolling
		change  func(*kmstest.Behaviour) // after two signatures
		want    string                   // the certificate that signs
	}{
		"every second signature":      {rolling: kmstest.Rolling{Signatures: 2}, want: "AABBC"},
		"every millisecond":           {rolling: kmstest.Rolling{Ms: 1}, want: "ABCDE"},
		"every hour":                  {rolling: kmstest.Rolling{Ms: 3_600_000}, want: "AAAAA"},
		"when they have expired":      {rolling: kmstest.Rolling{LifetimeMs: 1}, want: "ABCDE"},
		"a new order keeps the count": {rolling: kmstest.Rolling{Signatures: 4}, change: func(b *kmstest.Behaviour) { b.MaxPerSecond = 100 }, want: "AAAAB"},
		"another usage":               {change: func(b *kmstest.Behaviour) { b.Rolling = &kmstest.Rolling{Authority: b.Rolling.Authority} }, want: "AABBB"},
		"another subject":             {change: func(b *kmstest.Behaviour) { b.Keys = map[string]pki.Files{"k": other} }, want: "AABBB"},
		"a refused call does not count": {rolling: kmstest.Rolling{Signatures: 2}, change: func(b *kmstest.Behaviour) {
			b.Faults = []kmstest.Fault{{Command: "generate-signature", Kind: kmstest.AccessDenied, Count: 1}}
		}, want: "AA!BB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.rolling.Authority, c.rolling.EKUs = save(t, authority(t)), []asn1.ObjectIdentifier{eku}
			b := kmstest.Behaviour{Keys: map[string]pki.Files{"k": save(t, issue(t, "k", pki.EC256))}, Rolling: &c.rolling}
			p := install(t, b)
			got, leaves, keys := "", []string{}, map[string]bool{}
			for n := range 5 {
				if n == 2 && c.change != nil {
					c.change(&b)
					if err := p.Set(b); err != nil {
						t.Fatal(err)
					}
				}
				o := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
				if o.exit != 0 {
					got += "!"
					continue
				}
				a := read(t, o)
				if a.leaf.CheckSignatureFrom(authority(t).Certificate()) != nil || !signedBy(a.leaf.PublicKey.(*ecdsa.PublicKey), a, "sign me") {
					t.Error("got a certificate of another root or key, want one for this signature")
				}
				if c.change == nil && (a.leaf.Subject.CommonName != "k" || len(a.leaf.UnknownExtKeyUsage) != 1 || !a.leaf.UnknownExtKeyUsage[0].Equal(eku)) {
					t.Errorf("got subject %s, usage %v, want k, %v", a.leaf.Subject, a.leaf.UnknownExtKeyUsage, eku)
				}
				which := slices.Index(leaves, string(a.leaf.Raw))
				if which < 0 {
					which, leaves = len(leaves), append(leaves, string(a.leaf.Raw))
				}
				keys[string(a.leaf.RawSubjectPublicKeyInfo)] = true
				got += string(rune('A' + which))
			}
			if got != c.want || len(keys) != len(leaves) {
				t.Errorf("got certificates %s of %d keys, want %s, each with its own", got, len(keys), c.want)
			}
		})
	}
}

// rawAnswer is the answer to generate-signature, with its leaf certificate.
type rawAnswer struct {
	plugin.GenerateSignatureResponse
	leaf *x509.Certificate
}

// signed reports whether the key of id signed payload.
func (a rawAnswer) signed(id *pki.Identity, payload string) bool {
	return signedBy(id.Key.Public().(*ecdsa.PublicKey), a, payload)
}

func signedBy(key *ecdsa.PublicKey, a rawAnswer, payload string) bool {
	digest := sha256.Sum256([]byte(payload))
	r, s := new(big.Int).SetBytes(a.Signature[:32]), new(big.Int).SetBytes(a.Signature[32:])
	return ecdsa.Verify(key, digest[:], r, s)
}

func read(t *testing.T, o outcome) (a rawAnswer) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), &a); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.leaf, err = x509.ParseCertificate(a.CertificateChain[0]); err != nil {
		t.Fatal(err)
	}
	return a
}

// lie orders one fault. It returns the spoiled answer, the right key and the key to use.
func lie(t *testing.T, kind kmstest.Kind, with string) (a rawAnswer, right, other *pki.Identity) {
	t.Helper()
	right = issue(t, "right", pki.EC256)
	other = issue(t, "other", pki.EC256)
	p := install(t, kmstest.Behaviour{
		Keys:   map[string]pki.Files{"k": save(t, right), "other": save(t, other)},
		Faults: []kmstest.Fault{{Command: "generate-signature", Kind: kind, With: with}},
	})
	got := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
	if got.exit != 0 || got.stderr != "" {
		t.Fatalf("got exit code %d, want 0 and no stderr: %s", got.exit, got.stderr)
	}
	return read(t, got), right, other
}

// Everything else stays true: otherwise a caller would notice for another reason.
func TestEachLieIsOneLie(t *testing.T) {
	t.Parallel()
	const payload = "sign me"
	for _, want := range []struct {
		kind       kmstest.Kind
		with       string
		signed     bool   // by the right key, over the right bytes
		chain      string // whose certificates: right, other, nobody
		keyID, alg string
	}{
		{kmstest.Slow, "", true, "right", "k", "ECDSA-SHA-256"}, // not a lie: the reference for the others
		{kmstest.WrongKey, "", false, "right", "k", "ECDSA-SHA-256"},
		{kmstest.WrongKey, "other", false, "right", "k", "ECDSA-SHA-256"},
		{kmstest.WrongChain, "", true, "nobody", "k", "ECDSA-SHA-256"},
		{kmstest.WrongChain, "other", true, "other", "k", "ECDSA-SHA-256"},
		{kmstest.ExpiredChain, "", true, "nobody", "k", "ECDSA-SHA-256"},
		{kmstest.NewCertificate, "", true, "nobody", "k", "ECDSA-SHA-256"},
		{kmstest.WrongKeyID, "", true, "right", "not-k", "ECDSA-SHA-256"},
		{kmstest.WrongPayload, "", false, "right", "k", "ECDSA-SHA-256"},
		{kmstest.WrongAlgorithm, "", true, "right", "k", "RSASSA-PSS-SHA-256"},
		{kmstest.BadSignature, "", false, "right", "k", "ECDSA-SHA-256"},
	} {
		t.Run(string(want.kind)+" "+want.with, func(t *testing.T) {
			t.Parallel()
			if want.kind == kmstest.Slow {
				checkHonest(t)
				return
			}
			a, right, other := lie(t, want.kind, want.with)
			if a.signed(right, payload) != want.signed {
				t.Errorf("signed by the right key: got %t, want %t", !want.signed, want.signed)
			}
			whose := "nobody"
			switch {
			case bytes.Equal(a.leaf.Raw, right.Chain[0].Raw):
				whose = "right"
			case bytes.Equal(a.leaf.Raw, other.Chain[0].Raw):
				whose = "other"
			}
			if whose != want.chain || a.KeyID != want.keyID || string(a.SigningAlgorithm) != want.alg {
				t.Errorf("got certificates of %s, key %s, %s, want %s, %s, %s", whose, a.KeyID, a.SigningAlgorithm, want.chain, want.keyID, want.alg)
			}
			checkDetails(t, want.kind, want.with, a, right, other)
		})
	}
}

func checkHonest(t *testing.T) {
	right := issue(t, "right", pki.EC256)
	p := install(t, kmstest.Behaviour{Keys: map[string]pki.Files{"k": save(t, right)}})
	got := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
	var a rawAnswer
	if err := json.Unmarshal([]byte(got.stdout), &a); err != nil || !a.signed(right, "sign me") || a.signed(right, "sign you") {
		t.Errorf("got error %v, want it signed by the right key: %s", err, got.stdout)
	}
}

// checkDetails checks what is specific to one kind.
func checkDetails(t *testing.T, kind kmstest.Kind, with string, a rawAnswer, right, other *pki.Identity) {
	switch kind {
	case kmstest.WrongKey:
		if with == "other" && !a.signed(other, "sign me") {
			t.Error("got it not signed with the key that the fault names, want it so")
		}
	case kmstest.WrongPayload:
		if !a.signed(right, "sign meand more") {
			t.Error("got it not signed, want the right key over other bytes")
		}
	case kmstest.ExpiredChain:
		if !right.Key.Public().(*ecdsa.PublicKey).Equal(a.leaf.PublicKey) || !a.leaf.NotAfter.Before(time.Now()) {
			t.Errorf("got a certificate valid until %v, want an expired one of the right key", a.leaf.NotAfter)
		}
	}
}
