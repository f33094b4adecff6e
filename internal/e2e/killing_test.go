package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// killing is a migration that is killed again and again. Its servers are in this process; the
// program and the plugin are real.
type killing struct {
	pauses bool // without the referrers API, which each run finds out anew
	*migration
	t       *testing.T
	program string
	rand    *rand.Rand
	late    *lateWrites
	faulty  *faulty
	store   *registrytest.Registry
	trust   []*notarytest.Repository
	kms     *kmstest.Plugin

	vouched  []placed // what DCT vouches for
	unsigned []placed // other images in the registry
	kills    int
	ends     map[int]int // how often a run ended by itself, by exit code
}

// placed is a digest in a repository.
type placed struct{ repository, digest string }

// killingWorld says what is killed, and in which environment.
type killingWorld struct {
	program   string
	referrers bool // the registry has the referrers API
	items     int  // at the start
	faults    []kmstest.Fault
	rand      *rand.Rand // nil if no moments are chosen
	renews    int        // signatures after which the key gets another certificate; 0: never
}

func newKilling(t *testing.T, o killingWorld) *killing {
	t.Helper()
	// Registries without the API are those that require two requests for an upload.
	store, err := registrytest.Start(registrytest.Options{Referrers: o.referrers, TwoStepUploads: !o.referrers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	notary, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(notary.Close)
	k := &killing{
		pauses:    !o.referrers,
		migration: &migration{home: newHome(t), registry: &registry{host: store.Host()}, notary: &notaryServer{url: notary.URL()}},
		t:         t, program: o.program, rand: o.rand, late: &lateWrites{}, faulty: &faulty{oneIn: troubleOneIn, seen: map[string]int{}}, store: store,
		ends: map[int]int{},
	}
	store.SetHook(k.faulty.hook(k.late.hook))
	ca := newAuthority(t, "ours")
	k.home.trust(t, ca)
	b := kmstest.Behaviour{Delay: map[string]int{"generate-signature": signatureTime}, Faults: o.faults}
	var identity []string
	if o.renews > 0 {
		root, authority, tsa := renewal(t, k.home, ca)
		b.Rolling = &kmstest.Rolling{Authority: authority, Signatures: o.renews}
		identity = subjectFlags(root, "release", tsa)
	}
	k.kms, k.key = installKMS(t, k.home, issue(t, ca, "release", pki.EC256), b)
	k.key = append(k.key, identity...)
	for _, name := range []string{"team/app", "team/tool"} {
		repo, err := notary.NewRepository(store.Host() + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		k.trust = append(k.trust, repo)
	}
	k.pins = k.pinRoots()
	k.publish(o.items)
	return k
}

func (k *killing) pinRoots() string {
	certs := map[string][]string{}
	for _, repo := range k.trust {
		certs[repo.GUN()] = repo.RootKeyIDs()
	}
	return writePins(k.t, certs)
}

// publish adds n items. With every fourth it adds an image that nobody vouches for.
func (k *killing) publish(n int) {
	k.t.Helper()
	for i := range n {
		at := len(k.vouched)
		repo := k.trust[at%len(k.trust)]
		tag := "v" + strconv.Itoa(at)
		image := k.put(repo, tag)
		if err := repo.Sign(tag, image.digest[len("sha256:"):], image.size); err != nil {
			k.t.Fatal(err)
		}
		k.vouched = append(k.vouched, image.placed)
		if i%4 == 0 {
			k.unsigned = append(k.unsigned, k.put(repo, "unsigned-"+tag).placed)
		}
	}
	for _, repo := range k.trust {
		if err := repo.Publish(); err != nil {
			k.t.Fatal(err)
		}
	}
}

type sized struct {
	placed
	size int64
}

func (k *killing) put(repo *notarytest.Repository, tag string) sized {
	k.t.Helper()
	name := repo.GUN()[len(k.store.Host())+1:]
	image, err := k.store.PutImage(name, tag, tag)
	if err != nil {
		k.t.Fatal(err)
	}
	return sized{placed{name, image.Digest.String()}, image.Size}
}

// kill runs the program until it was killed n more times, and then to its end, for which the
// registry is healthy again.
func (k *killing) kill(times int) {
	k.t.Helper()
	began := time.Now()
	for until := k.kills + times; k.kills < until; {
		if k.runAtMost(k.moment()) {
			k.publish(10) // so that the next kill meets work again
		}
	}
	k.faulty.on.Store(false)
	if !k.runAtMost(5 * time.Minute) {
		k.t.Fatal("the last run did not end")
	}
	k.late.wait()
	k.t.Logf("%d kills in %.1f s", k.kills, time.Since(began).Seconds())
}

// moment returns when to kill. If there are faults, one run in twenty lives long enough to wait for
// what is refused, to retry it, and to give up.
func (k *killing) moment() time.Duration {
	to := killTo
	if k.faulty.on.Load() && k.rand.IntN(20) == 0 {
		to = killPatient
	}
	at := killFrom + time.Duration(k.rand.Int64N(int64(to-killFrom)))
	if k.pauses && k.rand.IntN(2) == 0 {
		at += killPause
	}
	return at
}

// runAtMost starts the program and kills it after limit. It returns true if the run ended before.
// Any end but a complete one fails the test, unless the registry is faulty: then a run may end with
// failures, or give up early.
func (k *killing) runAtMost(limit time.Duration) bool {
	k.t.Helper()
	args := []string{"--workers", strconv.Itoa(killWorkers)}
	for _, repo := range k.trust {
		args = append(args, repo.GUN())
	}
	var output bytes.Buffer
	c := k.command(k.program, k.line("run", args...)...)
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		k.t.Fatal(err)
	}
	timer := time.AfterFunc(limit, func() { _ = c.Process.Kill() }) // it may have ended already
	defer timer.Stop()
	err := c.Wait()
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		k.kills++
		return false
	}
	code := c.ProcessState.ExitCode()
	k.ends[code]++
	if code == 0 || k.faulty.on.Load() && (code == 3 || code == 5) {
		return true
	}
	k.t.Fatalf("after %d kills: %v\n%s", k.kills, err, &output)
	return false
}

// killVerdict is the final state according to the registry and the key's log.
type killVerdict struct {
	kills, items           int
	lost, duplicate, wrong int
	operations, throttled  int
}

// bound returns how many key operations the promise allows. Proofs of the key are counted
// separately.
func (v killVerdict) bound() int { return v.items + killWorkers*v.kills }

func (v killVerdict) good() bool {
	return v.lost == 0 && v.duplicate == 0 && v.wrong == 0 && v.operations <= v.bound()
}

func (v killVerdict) String() string {
	return fmt.Sprintf("%d kills, %d items: %d lost, %d signed twice, %d signed that DCT does not vouch for, %d key operations (allowed: %d) and %d throttled",
		v.kills, v.items, v.lost, v.duplicate, v.wrong, v.operations, v.bound(), v.throttled)
}

// verdict asks the registry as a client without any memory.
func (k *killing) verdict() killVerdict {
	k.t.Helper()
	v := killVerdict{kills: k.kills, items: len(k.vouched)}
	for _, image := range k.vouched {
		switch n := k.count(image); {
		case n == 0:
			v.lost++
		case n > 1:
			v.duplicate++
		}
	}
	for _, image := range k.unsigned {
		if k.count(image) > 0 {
			v.wrong++
		}
	}
	calls, err := k.kms.Calls("generate-signature")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, c := range calls {
		switch {
		case c.Proof: // of its certificate; at most one for each process
		case c.Fault == "":
			v.operations++
		default:
			v.throttled++ // operations that the key's service refuses cost nothing
		}
	}
	return v
}

func (k *killing) count(image placed) int {
	k.t.Helper()
	list, err := k.store.Signatures(image.repository, image.digest)
	if err != nil {
		k.t.Fatal(err)
	}
	return len(list)
}

// judge verifies every tag anew, to check that what was counted is also valid.
func (k *killing) judge() {
	k.t.Helper()
	for _, repo := range k.trust {
		k.exits(k.t, 0, "verify", repo.GUN())
	}
}
