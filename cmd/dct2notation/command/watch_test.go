package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// buffer holds what a command writes while a test reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *buffer) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *buffer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// vigil is a running watch.
type vigil struct {
	*yard
	out, err buffer
	stop     chan struct{}
	code     chan int
}

func (y *yard) watch(args ...string) *vigil {
	y.t.Helper()
	v := &vigil{yard: y, stop: make(chan struct{}), code: make(chan int, 1)}
	if !slices.Contains(args, "--watch") {
		args = append(args, "--watch", "2ms")
	}
	args = slices.Concat(y.args, []string{"--metrics-address", "none", "--results", "none"}, args)
	go func() {
		v.code <- Main(context.Background(), v.stop, args, cli.Streams{In: strings.NewReader(""), Out: &v.out, Err: &v.err})
	}()
	return v
}

// passes returns the passes that have ended.
func (v *vigil) passes() []report.Run {
	v.t.Helper()
	var all []report.Run
	for line := range strings.Lines(v.out.String()) {
		var r report.Run
		if strings.HasSuffix(line, "\n") {
			must(v.t, json.Unmarshal([]byte(line), &r))
			all = append(all, r)
		}
	}
	return all
}

// until waits for a condition.
func (v *vigil) until(what string, ok func() bool) {
	v.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		select {
		case code := <-v.code:
			v.t.Fatalf("it ended with %d before %s\n%s%s", code, what, v.out.String(), v.err.String())
		default:
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("not within a minute: %s\n%s%s", what, v.out.String(), v.err.String())
		}
	}
}

// more waits until n more passes have ended that began after the call.
func (v *vigil) more(n int) {
	v.t.Helper()
	before := len(v.passes())
	v.until(fmt.Sprintf("%d more passes", n), func() bool { return len(v.passes()) > before+n })
}

// end waits for the watch to end by itself, and returns its exit code.
func (v *vigil) end() int {
	v.t.Helper()
	select {
	case code := <-v.code:
		return code
	case <-time.After(time.Minute):
		v.t.Fatalf("it does not end\n%s%s", v.out.String(), v.err.String())
		return 0
	}
}

// stopped sends a signal and returns the exit code.
func (v *vigil) stopped() int {
	v.t.Helper()
	close(v.stop)
	return v.end()
}

// last returns the last pass that has ended.
func (v *vigil) last() report.Run {
	all := v.passes()
	if len(all) == 0 {
		return report.Run{}
	}
	return all[len(all)-1]
}

// sign puts one more image into a repository and signs it in DCT.
func (y *yard) sign(repo, tag string) ocispec.Descriptor {
	y.t.Helper()
	image, err := y.registry.PutImage(repo, tag, repo+tag)
	must(y.t, err)
	must(y.t, y.repos[repo].Sign(tag, image.Digest.Encoded(), image.Size))
	must(y.t, y.repos[repo].Publish())
	return image
}

// Neither an unavailable server nor a failing image ends a watch. What could not be done is done as
// soon as possible, with one key operation for each image.
func TestWatchOutlastsWhatPasses(t *testing.T) {
	t.Parallel()
	away := func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	for name, harm := range map[string]struct {
		do, heal func(y *yard)
		shows    func(r report.Run) bool
	}{
		"Notary server away": {
			func(y *yard) { y.notary.SetHook(away) }, func(y *yard) { y.notary.SetHook(nil) },
			func(r report.Run) bool { return strings.Contains(r.Error, "no trust data could be read") },
		},
		"registry away": {
			func(y *yard) {
				y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool { return away(w, r) })
			},
			func(y *yard) { y.registry.SetHook(nil) },
			func(r report.Run) bool { return r.Results["failed"] > 0 },
		},
		"key denied": {
			func(y *yard) {
				must(y.t, y.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": y.key}, Faults: []kmstest.Fault{{Kind: kmstest.AccessDenied, Command: "generate-signature"}}}))
			},
			func(y *yard) {
				must(y.t, y.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": y.key}}))
			},
			func(r report.Run) bool { return r.Results["failed"] > 0 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, registrytest.Options{Referrers: true})
			v := y.watch()
			v.until("a complete pass", func() bool { return v.last().Complete })
			harm.do(y)
			image := ocispec.Descriptor{}
			if name == "Notary server away" {
				v.until("trouble", func() bool { return harm.shows(v.last()) })
			} else {
				image = y.sign("good", "v2")
				v.until("trouble", func() bool { return harm.shows(v.last()) })
			}
			v.more(2)
			harm.heal(y)
			if image.Digest == "" {
				image = y.sign("good", "v2")
			}
			v.until("the signature", func() bool { return y.signatures("good", image) == 1 && v.last().Complete })
			if code := v.stopped(); code != cli.ExitDone && code != cli.ExitInterrupted {
				t.Errorf("got exit code %d, want %d or %d\n%s", code, cli.ExitDone, cli.ExitInterrupted, v.err.String())
			}
			if name != "key denied" && y.operations() != 3 {
				t.Errorf("%s: got %d key operations, want 3 for 3 images", name, y.operations())
			}
		})
	}
}

// A watch over the changefeed reads what has changed. A new repository is signed once there is a
// pin for it.
func TestWatchFollowsTheChangefeed(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	host := y.registry.Host()
	y.args = append(y.args[:len(y.args)-2], "--discover", "changefeed", host+"/**")
	v := y.watch()
	v.until("a complete pass", func() bool { return v.last().Complete && y.signatures("good", y.good) == 1 })
	v.until("a pass over nothing", func() bool { return v.last().Complete && v.last().Repositories == 0 })
	image := y.sign("good", "v2")
	v.until("the new tag", func() bool { return y.signatures("good", image) == 1 })

	fresh, err := y.registry.PutImage("fresh", "v1", "fresh")
	must(t, err)
	r, err := y.notary.NewRepository(host + "/fresh")
	must(t, err)
	must(t, r.Sign("v1", fresh.Digest.Encoded(), fresh.Size))
	must(t, r.Publish())
	v.until("a repository without a pin", func() bool { return len(v.last().Unread) == 1 })
	v.more(2) // it is not forgotten
	if n := y.signatures("fresh", fresh); n != 0 || len(v.last().Unread) != 1 {
		t.Errorf("without a pin: got %d signatures, %+v, want 0, 1 unread", n, v.last())
	}
	pins := map[string][]string{r.GUN(): r.RootKeyIDs()}
	for _, known := range y.repos {
		pins[known.GUN()] = known.RootKeyIDs()
	}
	raw, err := json.Marshal(map[string]any{"trust_pinning": map[string]any{"certs": pins}})
	must(t, err)
	must(t, os.WriteFile(y.path("next.json"), raw, 0o600))
	must(t, os.Rename(y.path("next.json"), y.path("pins.json")))
	v.until("the new repository", func() bool { return y.signatures("fresh", fresh) == 1 && v.last().Complete })

	// A proxy answers 404 for the root of a repository that the feed names for the first time.
	// However well the rest of the pass goes, the pass is incomplete, and the next one reads the
	// repository again. The same holds for the server's own 404.
	for name, body := range map[string]string{"proxy": "", "lost": `{"errors":[{"code":"METADATA_NOT_FOUND"}]}`} {
		image, err := y.registry.PutImage(name, "v1", name)
		must(t, err)
		r, err := y.notary.NewRepository(host + "/" + name)
		must(t, err)
		must(t, r.Sign("v1", image.Digest.Encoded(), image.Size))
		pins[r.GUN()] = r.RootKeyIDs()
		raw, err := json.Marshal(map[string]any{"trust_pinning": map[string]any{"certs": pins}})
		must(t, err)
		must(t, os.WriteFile(y.path("next.json"), raw, 0o600))
		must(t, os.Rename(y.path("next.json"), y.path("pins.json")))
		y.notary.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/"+name+"/_trust/tuf/root") {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(body))
			return true
		})
		must(t, r.Publish())
		well := y.sign("good", "beside-"+name)
		v.until("the tag of another repository", func() bool { return y.signatures("good", well) == 1 })
		v.more(2)
		if last := v.last(); last.Complete || len(last.Unread) != 1 {
			t.Errorf("%s: got complete %v, not read %+v; want the repository whose root is not there", name, last.Complete, last.Unread)
		}
		y.notary.SetHook(nil)
		v.until("the repository whose root was not there", func() bool { return y.signatures(name, image) == 1 })
		v.until("a complete pass over nothing", func() bool { return v.last().Complete && v.last().Repositories == 0 })
	}

	// The changefeed may be down too.
	y.notary.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	v.until("trouble", func() bool { return strings.Contains(v.err.String(), "502") })
	last := y.sign("bad", "v2")
	y.notary.SetHook(nil)
	v.until("the last tag", func() bool { return y.signatures("bad", last) == 1 })
	v.stopped()
	if y.operations() != 9 {
		t.Errorf("got %d key operations, want 9 for 9 images", y.operations())
	}
}

// A list that lacks a repository that it had is noticed: the repository is no longer looked at.
func TestWatchTellsWhatItNoLongerFinds(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	y.args = append(y.args[:len(y.args)-2], "--discover", "changefeed", y.registry.Host()+"/**")
	v := y.watch()
	v.until("a pass over nothing", func() bool { return v.last().Complete && v.last().Repositories == 0 })
	y.notary.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/v2/_trust/changefeed") {
			return false
		}
		page := `{"count": 0, "records": null}`
		if r.URL.Query().Get("change_id") == "" {
			page = fmt.Sprintf(`{"count": 1, "records": [{"ID": "1000", "GUN": %q, "SHA256": "00", "Category": "update"}]}`, y.repos["good"].GUN())
		}
		_, _ = fmt.Fprint(w, page)
		return true
	})
	v.until("a warning", func() bool { return strings.Contains(v.err.String(), "no longer") })
	v.more(2)
	v.stopped()
	said := v.err.String()
	if bad := y.repos["bad"].GUN(); strings.Count(said, "is no longer found") != 1 || !strings.Contains(said, "repository="+bad) {
		t.Errorf("got\n%s\nwant one warning about %s", said, bad)
	}
}

// Shards that have nothing to do in a pass would else be joined to a complete result of no repository.
func TestAPassOverWhatHasChangedIsNotJoined(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	y.args = append(y.args[:len(y.args)-2], "--discover", "changefeed", y.registry.Host()+"/**")
	v := y.watch("--shard", "0/1", "--report", "jsonl="+y.path("shard.jsonl"))
	v.until("a pass over nothing", func() bool { return v.last().Complete && v.last().Repositories == 0 })
	v.stopped()
	var out, errs buffer
	code := Main(context.Background(), nil, []string{"report", "--merge", y.path("shard.jsonl")}, cli.Streams{Out: &out, Err: &errs})
	if code != cli.ExitUsage || !strings.Contains(errs.String(), "only of what has changed") {
		t.Errorf("got exit code %d, %s%s, want %d, since the pass says nothing about the rest", code, out.String(), errs.String(), cli.ExitUsage)
	}
}

// A watch that is stopped while it waits reports the outcome of its last pass.
func TestStoppedWatchSaysWhatTheLastPassCameTo(t *testing.T) {
	t.Parallel()
	for refused, want := range map[bool]int{false: cli.ExitDone, true: cli.ExitFailures} {
		y := newYard(t, registrytest.Options{Referrers: true})
		y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if refused && y.part(r) == onReferrers {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		})
		v := y.watch("--watch", "1h")
		v.until("a pass", func() bool { return len(v.passes()) == 1 })
		if code := v.stopped(); code != want {
			t.Errorf("got exit code %d, want %d\n%s", code, want, v.err.String())
		}
	}
}

// A permanent error ends a watch, so that it does not look as if all were well.
func TestWatchEndsAtWhatDoesNotPass(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]struct {
		do   func(y *yard)
		code int
		says string
	}{
		"the ledger is gone": {func(y *yard) {
			must(y.t, os.Remove(y.path("ledger.db")))
			y.sign("good", "v2")
		}, cli.ExitCannot, "moved or replaced"},
		"other pins": {func(y *yard) {
			raw, err := os.ReadFile(y.path("pins.json"))
			must(y.t, err)
			r := y.repos["good"]
			raw = bytes.ReplaceAll(raw, []byte(r.RootKeyIDs()[0]), []byte(strings.Repeat("0", 64)))
			must(y.t, os.WriteFile(y.path("next.json"), raw, 0o600))
			must(y.t, os.Rename(y.path("next.json"), y.path("pins.json")))
		}, cli.ExitUsage, "another configuration"},
		"the key signs something else": {func(y *yard) {
			must(y.t, y.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": y.key}, Faults: []kmstest.Fault{{Kind: kmstest.WrongPayload, Command: "generate-signature"}}}))
			y.sign("good", "v2")
		}, cli.ExitCannot, "the key signed something other than what was requested"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, registrytest.Options{Referrers: true})
			v := y.watch()
			v.until("a complete pass", func() bool { return v.last().Complete })
			harm.do(y)
			if code := v.end(); code != harm.code || !strings.Contains(v.err.String(), harm.says) {
				t.Errorf("got exit code %d, want %d with %q\n%s", code, harm.code, harm.says, v.err.String())
			}
			if n := y.signatures("good", y.good); n != 1 {
				t.Errorf("got %d signatures, want 1", n)
			}
		})
	}
}

// A certificate that expires during a watch ends it, and no operation is spent.
func TestWatchEndsWithTheCertificate(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	id, err := y.ca.Issue("release", nil, pki.Valid(time.Now().Add(-time.Hour), time.Now().Add(4*time.Second)))
	must(t, err)
	key, err := id.Save(y.dir, "brief")
	must(t, err)
	must(t, y.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": key}}))
	v := y.watch("--min-validity", "0")
	v.until("a complete pass", func() bool { return v.last().Complete })
	if code := v.end(); code != cli.ExitCannot || !strings.Contains(v.err.String(), "the certificate of key kmstest/release expired at") {
		t.Errorf("got exit code %d, want %d and the certificate expired\n%s", code, cli.ExitCannot, v.err.String())
	}
	if y.operations() != 2 {
		t.Errorf("got %d key operations, want 2 for 2 images", y.operations())
	}
}

// Passes leave no goroutine, memory or open file behind. An image that is always missing does not
// make the ledger grow.
func TestManyPassesLeaveNothingBehind(t *testing.T) {
	y := newYard(t, registrytest.Options{Referrers: true})
	must(t, y.registry.Delete("bad", y.bad.Digest.String()))
	v := y.watch()
	v.more(20)
	first := y.traces()
	v.more(passesUsually)
	second := y.traces()
	if second.goroutines > first.goroutines+3 || second.files > first.files+3 {
		t.Errorf("got %d goroutines and %d open files, want at most 3 more than %d and %d", second.goroutines, second.files, first.goroutines, first.files)
	}
	if grown := int64(second.heap) - int64(first.heap); grown > 2<<20 {
		t.Errorf("heap after %d passes: got %d bytes more, want at most %d", passesUsually, grown, 2<<20)
	}
	if second.ledger != first.ledger {
		t.Errorf("ledger: got %d bytes, want %d", second.ledger, first.ledger)
	}
	v.stopped()
	l, err := state.Open(y.path("ledger.db"), state.Options{ReadOnly: true})
	must(t, err)
	events, err := l.Events(0, 0)
	must(t, errors.Join(err, l.Close()))
	if len(events) > 8 {
		t.Errorf("got %d events of 2 images, want at most 8", len(events))
	}
}

// traces are the resources that a process holds: the minimum of some readings, since a pass may be
// running.
type traces struct {
	goroutines, files int
	heap              uint64
	ledger            int64
}

func (y *yard) traces() traces {
	y.t.Helper()
	least := traces{goroutines: 1 << 30, files: 1 << 30, heap: 1 << 62}
	for range 50 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		files, _ := os.ReadDir("/proc/self/fd") // none on systems other than Linux
		least.goroutines, least.files, least.heap = min(least.goroutines, runtime.NumGoroutine()), min(least.files, len(files)), min(least.heap, m.HeapAlloc)
		time.Sleep(2 * time.Millisecond)
	}
	info, err := os.Stat(y.path("ledger.db"))
	must(y.t, err)
	least.ledger = info.Size()
	return least
}

// A mistyped glob is mistyped in every pass, but is reported once.
func TestAWatchWarnsOfAMistypedGlobOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	host := y.registry.Host()
	config := fmt.Sprintf("version: 1\nrepositories: [%s/bad, %s/good]\nexclude: ['%s/old-*']\n", host, host, host)
	must(t, os.WriteFile(y.path("migration.yaml"), []byte(config), 0o600))
	y.args = y.args[:len(y.args)-2]
	v := y.watch("--config", y.path("migration.yaml"), "--exclude-tags", "rc-*")
	v.more(3)
	v.stopped()
	for _, glob := range []string{"old-*", "rc-*"} {
		if n := strings.Count(v.err.String(), glob); n != 1 {
			t.Errorf("%s: got %d warnings, want one\n%s", glob, n, v.err.String())
		}
	}
}
