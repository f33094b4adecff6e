package kmstest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// startMany runs n processes of generate-signature at once and returns how many answered with each code;
// "" is success.
func startMany(t *testing.T, p *kmstest.Plugin, n int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	codes := map[string]int{}
	for range n {
		all.Go(func() {
			got := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if got.exit == 0 {
				codes[""]++
			} else {
				codes[code(got.stderr)]++
			}
		})
	}
	all.Wait()
	return codes
}

func TestFaultsHitExactlyTheCallsTheyName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ nth, count, hit int }{
		{0, 0, 12}, {0, 2, 2}, {3, 0, 1}, {3, 4, 4}, {11, 5, 2}, {13, 1, 0},
	} {
		t.Run(fmt.Sprintf("nth %d count %d", c.nth, c.count), func(t *testing.T) {
			t.Parallel()
			b := kmstest.Behaviour{Faults: []kmstest.Fault{
				{Command: "generate-signature", Kind: kmstest.AccessDenied, Nth: c.nth, Count: c.count},
			}}
			p := install(t, b)
			if got := startMany(t, p, 12); got["ACCESS_DENIED"] != c.hit || got[""] != 12-c.hit {
				t.Errorf("codes %v, want %d refused", got, c.hit)
			}
		})
	}
}

func TestFirstFaultThatFitsWins(t *testing.T) {
	t.Parallel()
	b := kmstest.Behaviour{Faults: []kmstest.Fault{
		{Command: "describe-key", Kind: kmstest.Hang},
		{Command: "generate-signature", Kind: kmstest.TimeoutCode, Nth: 2},
		{Command: "generate-signature", Kind: kmstest.AccessDenied, Count: 2},
	}}
	for nth, want := range map[int]kmstest.Kind{1: kmstest.AccessDenied, 2: kmstest.TimeoutCode, 3: ""} {
		if f, ok := b.Fault("generate-signature", nth); f.Kind != want || ok != (want != "") {
			t.Errorf("call %d: %q, %v; want %q", nth, f.Kind, ok, want)
		}
	}
}

func TestAFaultCanHappenEverySoManyCallsAndIsInTheLog(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{Faults: []kmstest.Fault{
		{Command: "generate-signature", Kind: kmstest.AccessDenied, Every: 4},
	}})
	if got := startMany(t, p, 12); got["ACCESS_DENIED"] != 3 || got[""] != 9 {
		t.Errorf("codes %v, want every fourth refused", got)
	}
	calls, err := p.Calls("generate-signature")
	if err != nil {
		t.Fatal(err)
	}
	logged := map[kmstest.Kind]int{}
	for _, c := range calls {
		logged[c.Fault]++
	}
	if logged[kmstest.AccessDenied] != 3 || logged[""] != 9 {
		t.Errorf("the log has %v", logged)
	}
}

func TestSetCountsAnew(t *testing.T) {
	t.Parallel()
	b := kmstest.Behaviour{
		Keys:   map[string]pki.Files{"k": save(t, issue(t, "k", pki.EC256))},
		Faults: []kmstest.Fault{{Command: "generate-signature", Kind: kmstest.AccessDenied, Nth: 2}},
	}
	p := install(t, b)
	for range 2 {
		if got := startMany(t, p, 3); got["ACCESS_DENIED"] != 1 {
			t.Errorf("codes %v", got)
		}
		if err := p.Set(b); err != nil {
			t.Fatal(err)
		}
	}
	if calls, err := p.Calls(""); err != nil || len(calls) != 6 {
		t.Errorf("the log has %d calls, %v; want all 6", len(calls), err)
	}
}

// TestRateIsLimitedOverAllProcesses: at one in 1000 s no machine is slow enough for a second.
func TestRateIsLimitedOverAllProcesses(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{MaxPerSecond: 0.001})
	if got := startMany(t, p, 6); got[""] != 1 || got["THROTTLED"] != 5 {
		t.Errorf("at one in 1000 s: %v", got)
	}
	fast := install(t, kmstest.Behaviour{MaxPerSecond: 4})
	begin, signed, throttled := time.Now(), 0, 0
	for signed < 9 { // the first and the fifth and the ninth are a second apart each
		got := startMany(t, fast, 3)
		signed, throttled = signed+got[""], throttled+got["THROTTLED"]
	}
	if took := time.Since(begin); took < 2*time.Second || throttled == 0 {
		t.Errorf("%d signed in %v at 4 per second, %d throttled", signed, took, throttled)
	}
	calls, err := fast.Calls("generate-signature")
	if err != nil || len(calls) != signed+throttled {
		t.Errorf("%d calls logged, %v; %d made", len(calls), err, signed+throttled)
	}
}

// TestALimitRefusesInTheWordsOfThePlugin: plugins in the field do not say THROTTLED.
func TestALimitRefusesInTheWordsOfThePlugin(t *testing.T) {
	t.Parallel()
	for kind, want := range map[kmstest.Kind]string{
		kmstest.Throttled: "THROTTLED", kmstest.ThrottledAzure: "Throttled", kmstest.ThrottledText: "ERROR",
	} {
		p := install(t, kmstest.Behaviour{MaxPerSecond: 0.001, Refusal: kind})
		if got := startMany(t, p, 3); got[""] != 1 || got[want] != 2 {
			t.Errorf("%s: %v, want %s twice", kind, got, want)
		}
	}
}

func TestMetadataIsNotLimited(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{MaxPerSecond: 0.001})
	for range 3 {
		if got := start(t, p, "get-plugin-metadata", requestFor(p, "get-plugin-metadata"), time.Minute); !answers(got) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestCallsTellWhatWasSigned(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{})
	before := time.Now()
	startMany(t, p, 8)
	start(t, p, "describe-key", requestFor(p, "describe-key"), time.Minute)
	calls, err := p.Calls("generate-signature")
	if err != nil || len(calls) != 8 {
		t.Fatalf("%d calls, %v", len(calls), err)
	}
	sum := sha256.Sum256([]byte("sign me"))
	for _, c := range calls {
		if c.KeyID != "k" || c.Payload != hex.EncodeToString(sum[:]) || c.At().Before(before) || c.At().After(time.Now()) {
			t.Errorf("call %+v", c)
		}
	}
	if all, err := p.Calls(""); err != nil || len(all) != 9 {
		t.Errorf("%d calls in all, %v", len(all), err)
	}
}

func TestDelayIsPerCommand(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{Delay: map[string]int{"describe-key": 300}})
	if got := start(t, p, "describe-key", requestFor(p, "describe-key"), time.Minute); got.took < 300*time.Millisecond {
		t.Errorf("took %v", got.took)
	}
}

// TestNonsenseIsRefusedWhenOrdered: a fault that cannot happen would make a test pass for nothing.
func TestNonsenseIsRefusedWhenOrdered(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{})
	for name, b := range map[string]kmstest.Behaviour{
		"kind":       {Faults: []kmstest.Fault{{Command: "describe-key", Kind: "explode"}}},
		"command":    {Faults: []kmstest.Fault{{Command: "sign", Kind: kmstest.Hang}}},
		"fit":        {Faults: []kmstest.Fault{{Command: "describe-key", Kind: kmstest.WrongKey}}},
		"key":        {Faults: []kmstest.Fault{{Command: "generate-signature", Kind: kmstest.WrongKey, With: "x"}}},
		"delay":      {Delay: map[string]int{"sign": 1}},
		"capability": {Capability: "raw"},
		"refusal":    {MaxPerSecond: 1, Refusal: kmstest.Hang},
	} {
		if err := p.Set(b); err == nil {
			t.Errorf("accepted a wrong %s", name)
		}
	}
}
