//go:build linux

package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
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
