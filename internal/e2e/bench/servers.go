//go:build linux

package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// serveCommand makes this program the other process, with the servers.
const (
	serveCommand = "serve"
	openFlag     = "open"
	tagsFlag     = "tags"
	twoStepsFlag = "two-steps"
)

// user and password are good for both servers. They protect nothing: the servers are made
// for one measurement and hold tiny images.
const (
	user     = "bench"
	password = "bench"
)

// servers are a registry and a Notary server, both with TLS and bearer tokens, and the
// methods that control calls. Those are no requests: they go straight to the stores.
type servers struct {
	registry *registrytest.Registry
	notary   *notarytest.Server
	open     bool // Notary gives anybody a token
	diary    *diary

	mu      sync.Mutex
	stored  map[string][]image                // by the name of a publication; guarded by mu
	clients map[*tls.ConnectionState]struct{} // connections to Notary; guarded by mu
}

// image is one that was published.
type image struct{ repository, digest string }

// startServers starts both, the registry of a kind and as slow as that says, like the Notary
// server. An open Notary server gives anybody a token for reading; then nobody has a
// password there.
func startServers(kind registrytest.Options, open bool) (*servers, error) {
	users := map[string]string{user: password}
	kind.TLS, kind.Token, kind.Users = true, true, users
	registry, err := registrytest.Start(kind)
	if err != nil {
		return nil, err
	}
	if open {
		users = nil
	}
	notary, err := notarytest.Start(notarytest.Options{TLS: true, Token: true, Users: users, Latency: kind.Latency})
	if err != nil {
		registry.Close()
		return nil, err
	}
	s := &servers{registry: registry, notary: notary, open: open, diary: newDiary(), stored: map[string][]image{}, clients: map[*tls.ConnectionState]struct{}{}}
	notary.SetHook(s.noteTrust)
	registry.SetHook(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		s.diary.note(r.Method, r.URL.Path, r.Header.Get("Authorization") != "", time.Now())
		return false
	})
	return s, nil
}

// noteTrust is a hook of the Notary server that answers nothing. The server has one TLS
// state for each connection; ports come again.
func (s *servers) noteTrust(_ http.ResponseWriter, r *http.Request) bool {
	s.diary.noteTrust(r.URL.Path, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[r.TLS] = struct{}{}
	return false
}

// counts are the requests that arrived so far.
func (s *servers) counts() Counts {
	c := Counts{Registry: s.registry.Requests(), Notary: s.notary.Requests()}
	for _, n := range s.notary.RequestsByPath() {
		c.Trust += n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Connections = int64(len(s.clients))
	return c
}

func (s *servers) close() {
	s.registry.Close()
	s.notary.Close()
}

// serve runs the servers and obeys control on stdin and stdout until stdin ends, which it
// also does when the benchmark is killed.
func serve(args []string) error {
	flags := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	latency := flags.Duration("latency", 0, "added to each request")
	open := flags.Bool(openFlag, false, "the Notary server gives anybody a token")
	tags := flags.Bool(tagsFlag, false, "the registry has no referrers API")
	twoSteps := flags.Bool(twoStepsFlag, false, "the registry takes an upload in two requests alone")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := startServers(registrytest.Options{Referrers: !*tags, TwoStepUploads: *twoSteps, Latency: *latency}, *open)
	if err != nil {
		return err
	}
	defer s.close()
	return s.obey(stdio{os.Stdin, os.Stdout})
}

// obey serves control calls until the other side closes the connection.
func (s *servers) obey(c io.ReadWriteCloser) error {
	control := rpc.NewServer()
	if err := control.RegisterName(controlName, &Control{s}); err != nil {
		return fmt.Errorf("offering control: %w", err)
	}
	control.ServeCodec(jsonrpc.NewServerCodec(c))
	return nil
}

// stdio is stdin and stdout as one connection.
type stdio struct {
	io.ReadCloser
	io.Writer
}

// publish stores new images in both servers, spread evenly over repositories. Repeating a
// name is an error.
func (s *servers) publish(p Publication) (Published, error) {
	out := Published{Pins: map[string][]string{}}
	var all []image
	for r := range p.Repositories {
		name := fmt.Sprintf("%s/app%02d", p.Name, r)
		gun := s.registry.Host() + "/" + name
		trust, err := s.notary.NewRepository(gun)
		if err != nil {
			return out, err
		}
		for i := range p.Signers {
			if err := trust.AddSigner(fmt.Sprintf("signer%d", i)); err != nil {
				return out, err
			}
		}
		count := p.Images*(r+1)/p.Repositories - p.Images*r/p.Repositories
		for i := range count {
			tag := fmt.Sprintf("v%d", i)
			d, err := s.image(name, tag, p.TrustOnly)
			if err == nil {
				err = trust.Sign(tag, d.Digest.Encoded(), d.Size)
			}
			for j := 1; j < p.Tags && err == nil; j++ {
				more := fmt.Sprintf("%s-%d", tag, j)
				if err = s.registry.Tag(name, more, d.Digest.String()); err == nil {
					err = trust.Sign(more, d.Digest.Encoded(), d.Size)
				}
			}
			if err != nil {
				return out, fmt.Errorf("publishing %s:%s: %w", gun, tag, err)
			}
			all = append(all, image{name, d.Digest.String()})
			out.References = append(out.References, gun+"@"+d.Digest.String())
		}
		if err := trust.Publish(); err != nil {
			return out, err
		}
		out.GUNs = append(out.GUNs, gun)
		out.Pins[gun] = trust.RootKeyIDs()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[p.Name] = all
	return out, nil
}

// image stores a new image, or makes the descriptor of one that nobody has.
func (s *servers) image(repository, tag string, absent bool) (ocispec.Descriptor, error) {
	content := s.registry.Host() + "/" + repository + ":" + tag
	if absent {
		return ocispec.Descriptor{Digest: digest.FromString(content), Size: 1000}, nil
	}
	return s.registry.PutImage(repository, tag, content)
}

// signed counts the images of a publication that have a signature. That one has more than
// one is an error: then the figures mean something else.
func (s *servers) signed(name string) (int, error) {
	s.mu.Lock()
	images, known := s.stored[name]
	s.mu.Unlock()
	if !known {
		return 0, errors.New("nothing was published as " + name)
	}
	n := 0
	for _, i := range images {
		signatures, err := s.registry.Signatures(i.repository, i.digest)
		switch {
		case err != nil:
			return 0, err
		case len(signatures) > 1:
			return 0, fmt.Errorf("%s@%s has %d signatures", i.repository, i.digest, len(signatures))
		}
		n += len(signatures)
	}
	return n, nil
}

// A diary notes what the registry is asked for, and why, and when signatures arrive. Why
// is seen from outside: an image's signatures are listed first to look, and once a
// signature was pushed to confirm it.
type diary struct {
	mu     sync.Mutex
	counts map[string]int64     // by purpose and kind; guarded by mu
	listed map[string]bool      // images whose signatures were listed; guarded by mu
	tagged map[string]bool      // images whose list under a tag was written; guarded by mu
	pushes []Push               // guarded by mu
	trust  map[string]time.Time // the last request to Notary, by GUN; guarded by mu
}

// Push is a signature's manifest on its way into the registry.
type Push struct {
	Repository string // without the host
	UnixNano   int64
}

// What a request is for.
const (
	looking    = "looking"
	pushing    = "pushing"
	confirming = "confirming"
	other      = "other"   // tokens
	refused    = "refused" // asked for without a token, as it is until there is one
)

func newDiary() *diary {
	return &diary{counts: map[string]int64{}, listed: map[string]bool{}, tagged: map[string]bool{}, trust: map[string]time.Time{}}
}

// note writes a request to the registry down.
func (d *diary) note(method, path string, authorized bool, at time.Time) {
	kind, repository, subject := kindOf(method, path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !authorized {
		d.counts[refused+" "+kind]++
		return
	}
	d.counts[d.purpose(kind, repository+"@"+subject)+" "+kind]++
	if kind == "PUT manifests/digest" {
		d.pushes = append(d.pushes, Push{repository, at.UnixNano()})
	}
}

// purpose tells why something was asked for. The caller holds mu.
func (d *diary) purpose(kind, image string) string {
	switch method, what, _ := strings.Cut(kind, " "); {
	case what == "":
		return other
	case kind == "PUT manifests/sha256-":
		d.tagged[image] = true
		return pushing
	case method != http.MethodGet && method != http.MethodHead, strings.HasPrefix(what, "blobs") && method == http.MethodHead:
		return pushing
	case what != "referrers" && what != "manifests/sha256-":
		return looking
	case !d.listed[image]:
		d.listed[image] = true
		return looking
	case what == "manifests/sha256-" && !d.tagged[image]:
		return pushing // a list is read before it is written
	}
	return confirming
}

// kindOf sorts a request: its method and what kind of thing it is about, the repository,
// and the image's digest, in hexadecimal, where the path names one. Requests that are about no content
// have a kind without a space.
func kindOf(method, path string) (kind, repository, subject string) {
	rest, found := strings.CutPrefix(path, "/v2/")
	if !found || rest == "" {
		return method + path, "", ""
	}
	for _, what := range []string{"manifests", "referrers", "blobs"} {
		repository, name, found := strings.Cut(rest, "/"+what+"/")
		if !found {
			continue
		}
		digest := strings.HasPrefix(name, "sha256:")
		switch {
		case what == "referrers":
			return method + " referrers", repository, strings.TrimPrefix(name, "sha256:")
		case what == "blobs" && strings.HasPrefix(name, "uploads/"):
			return method + " blobs/uploads", repository, ""
		case what == "blobs":
			return method + " blobs/digest", repository, ""
		case digest:
			return method + " manifests/digest", repository, strings.TrimPrefix(name, "sha256:")
		case strings.HasPrefix(name, "sha256-"):
			return method + " manifests/sha256-", repository, strings.TrimPrefix(name, "sha256-")
		}
		return method + " manifests/tag", repository, ""
	}
	return method + path, "", ""
}

// noteTrust writes a request to Notary down.
func (d *diary) noteTrust(path string, at time.Time) {
	gun, _, found := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/_trust/")
	if !found {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trust[gun] = at
}

func (d *diary) countsSoFar() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.counts)
}

// pushesFrom is the pushes without the first few.
func (d *diary) pushesFrom(first int) []Push {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.pushes[min(first, len(d.pushes)):])
}

func (d *diary) pushCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pushes)
}

// lastTrust is when Notary was asked last for something of a GUN.
func (d *diary) lastTrust(gun string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trust[gun]
}
