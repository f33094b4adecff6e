package kmstest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
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

// protocolFaults is what each kind that can happen to every command looks like from outside, to a caller
// that waits for a while.
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
	kmstest.GarbageStdout:      func(o outcome) bool { return o.exit == 0 && o.stdout != "" && !json.Valid([]byte(o.stdout)) },
	kmstest.EmptyStdout:        func(o outcome) bool { return o.exit == 0 && o.stdout == "" && o.stderr == "" },
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
			commands = []string{"describe-key"} // each costs the whole time we wait
		}
		for _, command := range commands {
			t.Run(string(kind)+" "+command, func(t *testing.T) {
				t.Parallel()
				fault := kmstest.Fault{Command: command, Kind: kind}
				deadline := time.Minute
				switch kind {
				case kmstest.Slow:
					fault.Ms = 300
				case kmstest.Hang, kmstest.HangIgnoreTerm, kmstest.ChildHoldsAndHangs:
					deadline = 1500 * time.Millisecond
				}
				p := install(t, kmstest.Behaviour{Capability: capabilityFor(command), Faults: []kmstest.Fault{fault}})
				if got := start(t, p, command, requestFor(p, command), deadline); !looks(got) {
					t.Errorf("got %+v", got)
				}
				if calls, err := p.Calls(command); err != nil || len(calls) != 1 {
					t.Errorf("logged %v, %v", calls, err)
				}
			})
		}
	}
}

// TestEveryKindIsTested fails when a kind is added that no test looks at.
func TestEveryKindIsTested(t *testing.T) {
	t.Parallel()
	elsewhere := []kmstest.Kind{
		kmstest.HugeStdout, kmstest.WrongKey, kmstest.WrongChain, kmstest.ExpiredChain, kmstest.NewCertificate, kmstest.WrongKeyID,
		kmstest.WrongPayload, kmstest.WrongAlgorithm, kmstest.WrongEnvelopeType, kmstest.BadSignature,
		kmstest.WrongContract, kmstest.WrongName, kmstest.NoCapability,
	}
	for _, kind := range kmstest.Kinds() {
		if protocolFaults[kind] == nil && !slices.Contains(elsewhere, kind) {
			t.Errorf("nothing tests %s", kind)
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
		t.Errorf("stderr %s", got.stderr)
	}
}
