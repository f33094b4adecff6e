package migrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// A key that is denied is denied for all: the run ends before it asks ten thousand times.
func TestBreakerEndsTheRunWhenTheKeyIsDenied(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 200 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	s.Faults["sign"] = func(digest.Digest) (bool, error) {
		return false, failure.New(failure.Denied, errors.New("ACCESS_DENIED"))
	}
	_, _, err := s.run(App)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "ACCESS_DENIED") {
		t.Errorf("error %v", err)
	}
	if n := len(s.operations); n > patience+4 { // what was in flight
		t.Errorf("%d key operations", n)
	}
}

// A key that signs something else ends the run at once.
func TestBreakerEndsTheRunWhenTheKeySignsSomethingElse(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9")
	s.Faults["sign"] = func(digest.Digest) (bool, error) {
		return false, failure.New(failure.Security, errors.New("wrong payload"))
	}
	_, _, err := s.run(App)
	if !errors.Is(err, ErrKeyAstray) || len(s.operations) > 4 {
		t.Errorf("error %v after %d key operations", err, len(s.operations))
	}
}

// The first signal lets finish what is in flight, and begins nothing new.
func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 100 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	stop := make(chan struct{})
	var once sync.Once
	s.Faults["push"] = func(digest.Digest) (bool, error) { once.Do(func() { close(stop) }); return true, nil }
	summary, _, err := s.runCtx(context.Background(), stop, App)
	s.Must(err)
	signed := summary.Results[ResultSigned]
	if !summary.Drained || summary.Complete() || signed == 0 || signed == 100 || len(s.operations) != signed || len(summary.Failed) != 0 {
		t.Errorf("%d key operations, summary %+v", len(s.operations), summary)
	}
	if _, _, err := s.run(App); err != nil {
		t.Fatal(err)
	}
	s.once(tags...)
	if len(s.operations) != 100 {
		t.Errorf("%d key operations in both runs", len(s.operations))
	}
}

// Key operations in flight are bounded by the workers, and use them all.
func TestWorkersBoundTheKey(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 64 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	k := &slowKey{scene: s}
	s.mutate = func(e *Engine) { e.Keys = []Key{{Signer: k}} }
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 64})
	if k.most != 4 {
		t.Errorf("%d key operations at the same time, want 4", k.most)
	}
}

// A server that is not one, or down, is not asked for each of ten thousand repositories.
func TestHostIsGivenUpAfterAFewFailures(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Notary.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("<html>"))
		return true
	})
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("registry.example.com/r%d", i))
	}
	before := s.Notary.Requests()
	summary, _, err := s.run(names...)
	if !errors.Is(err, dct.ErrNothingRead) || summary.Unread[failure.NotNotary] != 50 {
		t.Errorf("error %v, summary %+v", err, summary)
	}
	if n := s.Notary.Requests() - before; n != 3 {
		t.Errorf("%d requests", n)
	}
}

// down is a Notary server that is down for one host; it counts what it is asked for.
type down struct {
	Trust
	host  string
	asked atomic.Int64
}

func (d *down) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	if gun.Registry() != d.host {
		return d.Trust.Read(ctx, gun, known)
	}
	d.asked.Add(1)
	return nil, &dct.Error{GUN: gun.String(), Role: "root", Kind: dct.ErrUnavailable, Err: errors.New("answered 503")}
}

// Each repository of a server that is down costs minutes of repetitions: a few show that it is,
// also where several are read at the same time, and other servers are asked all the same.
func TestServerThatIsDownIsAskedForAFewRepositories(t *testing.T) {
	t.Parallel()
	for _, readers := range []int{1, 8} {
		s := newScene(t)
		s.Publish(App, "v1")
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprintf("down.example.com/r%d", i))
		}
		trust := func() *down { return &down{Trust: s.Trust(), host: "down.example.com"} }
		few := func(what string, d *down) {
			if n := d.asked.Load(); n > int64(3+readers) {
				t.Errorf("%d readers: %s asked for %d repositories", readers, what, n)
			}
		}
		d := trust()
		s.mutate = func(e *Engine) { e.Trust, e.Readers = d, readers }
		summary, _, err := s.run(append(names, App)...)
		s.Must(err)
		few("run", d)
		s.once("v1")
		if summary.Unread[failure.Transient] != len(names) || summary.Complete() {
			t.Errorf("%d readers: summary %+v", readers, summary)
		}
		d = trust()
		s.plan(append(names, App)...)
		few("plan", d)
		d = trust()
		if _, _, err := s.run(names...); !errors.Is(err, dct.ErrNothingRead) {
			t.Errorf("%d readers: all down: %v", readers, err)
		}
		few("run of these alone", d)
	}
}

func TestAllUnsignedAsksForTheURL(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, _, err := s.run("registry.example.com/a", "registry.example.com/b")
	if !errors.Is(err, dct.ErrNothingRead) || !strings.Contains(err.Error(), "wrong Notary URL?") {
		t.Errorf("error %v", err)
	}
}

type slowKey struct {
	*scene
	mu        sync.Mutex
	now, most int
}

func (k *slowKey) Sign(ctx context.Context, subject ocispec.Descriptor, m map[string]string) (state.Envelope, error) {
	k.mu.Lock()
	k.now++
	k.most = max(k.most, k.now)
	k.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	defer func() {
		k.mu.Lock()
		k.now--
		k.mu.Unlock()
	}()
	return k.scene.Sign(ctx, subject, m)
}

// An image that is gone before its signature was pushed is skipped as any other that is missing, and once it
// is back, the envelope of the first run is pushed: the run is complete, and the key is asked once.
func TestImageThatIsGoneBeforeThePushIsSkipped(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	d := s.Tagged["v1"]
	s.Faults["push"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("no")) }
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultFailed: 1})
	delete(s.Faults, "push")
	image := s.Images[d]
	delete(s.Images, d)
	for range 2 {
		summary, outcomes, err := s.run(App)
		s.Must(err)
		if s.want(summary, map[Result]int{ResultSkipped: 1}); !summary.Complete() || len(outcomes) != 1 || outcomes[0].Class != failure.Missing {
			t.Errorf("got %+v, %+v, want it complete, and the image missing", summary, outcomes)
		}
	}
	s.Images[d] = image
	summary, _, err = s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultReplayed: 1})
	if s.once("v1"); len(s.operations) != 1 {
		t.Errorf("got %d key operations, want 1", len(s.operations))
	}
}
