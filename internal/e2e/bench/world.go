//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// kind describes a part's servers.
type kind struct {
	latency  time.Duration // added to each request
	tags     bool          // the registry has no referrers API
	twoSteps bool          // the registry accepts an upload only in two requests
	open     bool          // the Notary server gives anybody a token
}

// user has the password of the same name. It protects nothing: the servers exist for one
// measurement.
const user = "bench"

// world is where a part is measured: a registry and a Notary server, both with TLS and bearer
// tokens, and a folder. Its first error is kept, and nothing is done after it, so that a part reads
// as what it measures.
type world struct {
	kind
	sizes
	bin, dir string
	out      io.Writer
	registry *registrytest.Registry
	notary   *notarytest.Server
	err      error

	mu       sync.Mutex
	requests map[string]int64 // to the registry, by kind; guarded by mu
	pushes   []time.Time      // of manifests, in the order of arrival; guarded by mu
}

func newWorld(k kind) (w *world, err error) {
	w = &world{kind: k, requests: map[string]int64{}}
	users := map[string]string{user: user}
	if w.registry, err = registrytest.Start(registrytest.Options{
		Referrers: !k.tags, TwoStepUploads: k.twoSteps, Latency: k.latency, TLS: true, Token: true, Users: users,
	}); err != nil {
		return nil, err
	}
	if k.open {
		users = nil
	}
	if w.notary, err = notarytest.Start(notarytest.Options{Latency: k.latency, TLS: true, Token: true, Users: users}); err != nil {
		w.registry.Close()
		return nil, err
	}
	w.registry.SetHook(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		w.arrived(r.Method, r.URL.Path, r.Header.Get("Authorization") != "", time.Now())
		return false
	})
	return w, nil
}

func (w *world) close() {
	w.registry.Close()
	w.notary.Close()
}

// varies matches what differs in the paths of one kind of request.
var varies = regexp.MustCompile(`^/v2/.+/(manifests/sha256[:-]|manifests/|blobs/uploads/|blobs/|referrers/).*$`)

// arrived records a request to the registry. Nothing is pushed without a token.
func (w *world) arrived(method, path string, authorized bool, at time.Time) {
	kind := method + " " + varies.ReplaceAllString(path, "$1")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[kind]++
	if kind == "PUT manifests/sha256:" && authorized {
		w.pushes = append(w.pushes, at)
	}
}

// estate is images of DCT, spread evenly over repositories.
type estate struct {
	name                 string
	repositories, images int
	tags                 int  // per image; 0: one
	signers              int  // per repository, as docker trust signer add makes them
	trustOnly            bool // the registry does not have the images

	guns       []string            // the repositories
	references []string            // host/repository@digest, taking one from each repository in turn
	pins       map[string][]string // root key ids by GUN
}

// publish stores an estate's images in both servers. It makes no requests: it writes directly to
// the stores.
func (w *world) publish(e estate) estate {
	e.pins = map[string][]string{}
	var trust []*notarytest.Repository
	for r := range e.repositories {
		gun := fmt.Sprintf("%s/%s/app%02d", w.registry.Host(), e.name, r)
		repo, err := w.notary.NewRepository(gun)
		for i := 0; i < e.signers && err == nil; i++ {
			err = repo.AddSigner(fmt.Sprintf("signer%d", i))
		}
		if w.fail(err) {
			return e
		}
		trust, e.guns = append(trust, repo), append(e.guns, gun)
	}
	for i := range e.images {
		reference, err := w.publishImage(e, trust[i%e.repositories], fmt.Sprintf("v%d", i/e.repositories))
		if w.fail(err) {
			return e
		}
		e.references = append(e.references, reference)
	}
	for _, repo := range trust {
		if w.fail(repo.Publish()) {
			return e
		}
		e.pins[repo.GUN()] = repo.RootKeyIDs()
	}
	return e
}

func (w *world) publishImage(e estate, trust *notarytest.Repository, tag string) (reference string, err error) {
	content, name := trust.GUN()+":"+tag, w.name(trust.GUN())
	d, size := digest.FromString(content), int64(1000) // of an image that nobody has
	if !e.trustOnly {
		image, err := w.registry.PutImage(name, tag, content)
		if err != nil {
			return "", err
		}
		d, size = image.Digest, image.Size
	}
	err = trust.Sign(tag, d.Encoded(), size)
	for j := 1; j < e.tags && err == nil; j++ {
		more := fmt.Sprintf("%s-%d", tag, j)
		if err = w.registry.Tag(name, more, d.String()); err == nil {
			err = trust.Sign(more, d.Encoded(), size)
		}
	}
	return trust.GUN() + "@" + d.String(), err
}

// name returns a repository's name in the registry.
func (w *world) name(gun string) string { return strings.TrimPrefix(gun, w.registry.Host()+"/") }

// signed returns how many images of an estate have a signature. An image with more than one is an
// error, since the figures would mean something else.
func (w *world) signed(e estate) (n int, err error) {
	for _, reference := range e.references {
		gun, digest, _ := strings.Cut(reference, "@")
		signatures, err := w.registry.Signatures(w.name(gun), digest)
		if err == nil && len(signatures) > 1 {
			err = fmt.Errorf("%s has %d signatures", reference, len(signatures))
		}
		if err != nil {
			return n, err
		}
		n += len(signatures)
	}
	return n, nil
}

// fail keeps the first error and reports whether there is one.
func (w *world) fail(err error) bool {
	if w.err == nil {
		w.err = err
	}
	return w.err != nil
}

// task is programs that are started together, with their work.
type task struct {
	name     string
	n        int // number of signatures, tags or repositories
	commands []*exec.Cmd
	home     *home
	signs    *estate // n of its images must have a signature afterwards, in the registry
	says     string  // where the programs' JSON has n, such as results.signed; empty: nowhere
	lines    string  // what each of n lines of stdout matches; empty: anything
	partial  int     // the exit code, also a result, if some of n failed; 0: there is none
}

// measured is the result of a task.
type measured struct {
	usage
	name             string
	count            int
	registry, notary int64            // requests
	kinds            map[string]int64 // those to the registry
	operations       int              // of the key, if the plugin reports them
	failed           int              // of the items, as our program reports
	pushes           []time.Time
}

// rate returns units per second of the whole commands, including start and end.
func (m measured) rate() float64 { return float64(m.count) / m.wall.Seconds() }

// each returns an amount per unit.
func (m measured) each(n float64) float64 { return n / float64(m.count) }

// cpuAllows returns the rate that the cores left by others can give, at the CPU time that one unit
// takes here, servers included.
func (m measured) cpuAllows() float64 {
	return float64(m.count) * (1 - m.others()) / m.share(m.tree+m.servers) / m.wall.Seconds()
}

// measure runs a task and prints its cost.
func (w *world) measure(ctx context.Context, t task) (m measured) {
	if w.err == nil {
		m, w.err = w.take(ctx, t)
	}
	if w.err == nil {
		w.row(m)
	}
	return m
}

func (w *world) take(ctx context.Context, t task) (m measured, err error) {
	m = measured{name: t.name, count: t.n, registry: -w.registry.Requests(), notary: -w.notary.Requests()}
	w.mu.Lock()
	before, pushed := maps.Clone(w.requests), len(w.pushes)
	w.mu.Unlock()
	calls, err := t.home.operations()
	if err != nil {
		return m, err
	}
	said := make([]bytes.Buffer, len(t.commands))
	for i, c := range t.commands {
		c.Stdout = &said[i]
	}
	if m.usage, err = metered(ctx, t.partial, t.commands...); err != nil {
		return m, fmt.Errorf("%s: %w", t.name, err)
	}
	m.registry, m.notary = m.registry+w.registry.Requests(), m.notary+w.notary.Requests()
	w.mu.Lock()
	m.kinds, m.pushes = difference(before, w.requests), slices.Clone(w.pushes[pushed:])
	w.mu.Unlock()
	if m.operations, err = t.home.operations(); err != nil {
		return m, err
	}
	m.operations -= calls
	for i := range said {
		m.failed += int(number(said[i].Bytes(), "results.failed"))
	}
	if t.signs != nil {
		if m.count, err = w.signed(*t.signs); err != nil {
			return m, err
		}
	}
	return m, t.check(m.count, m.failed, said)
}

// check returns an error unless the programs did their work, according to their output and to the
// facts.
func (t task) check(count, failed int, said []bytes.Buffer) error {
	says, lines := 0, 0
	for i := range said {
		says += int(number(said[i].Bytes(), t.says))
		if t.lines != "" {
			lines += len(regexp.MustCompile("(?m)"+t.lines).FindAll(said[i].Bytes(), -1))
		}
	}
	switch {
	case count == 0 || count != t.n && t.partial == 0:
		return fmt.Errorf("%s: %d of %d were done", t.name, count, t.n)
	case t.says != "" && (says != count || count+failed != t.n):
		return fmt.Errorf("%s: %d of %d were done, and it says %d, with %d failures: %s", t.name, count, t.n, says, failed, tail(said[0].String()))
	case t.lines != "" && lines != count:
		return fmt.Errorf("%s: %d lines are wanted, and there are %d: %s", t.name, count, lines, tail(said[0].String()))
	}
	return nil
}

// number returns a number from a program's JSON, by a dotted path; 0: there is none.
func number(said []byte, path string) float64 {
	var value any
	if json.Unmarshal(said, &value) != nil {
		return 0
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	n, _ := value.(float64)
	return n
}

func difference(before, after map[string]int64) map[string]int64 {
	d := maps.Clone(after)
	for k, n := range before {
		d[k] -= n
	}
	return d
}
