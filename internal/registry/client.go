package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// Options say how registries are reached.
type Options struct {
	// Client sends the requests; see transport.Client. One for the process, since it
	// holds the tokens. It is watched from then on for who is logged in.
	Client *auth.Client

	// PlainHTTP reports whether a registry, named as in image references, is spoken to
	// without TLS. Nil: none.
	PlainHTTP func(host string) bool

	// ForceReferrersTag keeps signatures under the referrers tag without asking whether
	// the registry has the API, as notation's flag of that name.
	ForceReferrersTag bool

	// ReadOnly refuses to push and asks token servers for pull alone. Otherwise pull and
	// push are asked for at once: two scopes would be two tokens.
	ReadOnly bool

	// Lists bounds each list of tags and of repositories.
	Lists Budget

	// Pause is how long a repository that seems to have no referrers API is left alone before
	// it is asked a second time; 0: half a second.
	Pause time.Duration

	// Delete asks token servers for permission to delete too, as RemoveSignature needs it.
	Delete bool
}

// A Memory keeps from one run to the next which repositories have the referrers API.
type Memory interface {
	HasReferrers(repository string) (bool, error)
	SetReferrers(repository string) error
	// HostHasReferrers reports it of any repository of a host.
	HostHasReferrers(host string) (bool, error)
}

// A Client opens repositories. It is safe for concurrent use.
type Client struct {
	o      Options
	client *auth.Client // the one of o
	users  sync.Map     // host -> struct{}: a user was found for it
	known  *descriptors // images resolved so far
	past   atomic.Pointer[Memory]
	hadAPI sync.Map // host -> struct{}: a repository of it has shown the referrers API

	mu    sync.Mutex
	repos map[string]*Repository // by canonical name; guarded by mu
}

// New returns a client. It sends no request.
func New(o Options) *Client {
	if o.PlainHTTP == nil {
		o.PlainHTTP = func(string) bool { return false }
	}
	c := &Client{o: o, known: newDescriptors(), repos: make(map[string]*Repository)}
	if o.Client != nil {
		c.client = o.Client
		if find := o.Client.Credential; find != nil {
			o.Client.Credential = func(ctx context.Context, host string) (auth.Credential, error) {
				found, err := find(ctx, host)
				if found != auth.EmptyCredential {
					c.users.Store(host, struct{}{})
				}
				return found, err
			}
		}
	}
	return c
}

// Remember has the client know what earlier runs learnt, and tell m what it learns. Without it, it
// knows only what this process has seen.
func (c *Client) Remember(m Memory) { c.past.Store(&m) }

func (c *Client) memory() Memory {
	if m := c.past.Load(); m != nil {
		return *m
	}
	return nil
}

func (c *Client) pause() time.Duration { return cmp.Or(c.o.Pause, 500*time.Millisecond) }

// Repository returns the handle of host[:port]/path, the same one for each spelling of the
// name: the host in any case, Docker Hub by any of its hosts, its official images with or
// without library/. It sends no request; an error means that the name is none.
func (c *Client) Repository(name string) (_ *Repository, err error) {
	defer func() { err = classed(err) }()
	ref, err := parseName(name)
	if err != nil {
		return nil, err
	}
	key := placeOf(ref)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.repos[key]; ok {
		return r, nil
	}
	r := c.open(ref)
	c.repos[key] = r
	return r, nil
}

// placeOf is a repository's name in the one form that stands for all its spellings.
func placeOf(ref orasregistry.Reference) string {
	return strings.ToLower(ref.Registry) + "/" + ref.Repository
}

// open makes a handle.
func (c *Client) open(ref orasregistry.Reference) *Repository {
	plain := c.o.PlainHTTP(ref.Registry)
	scheme := "https"
	if plain {
		scheme = "http"
	}
	r := &Repository{
		of:   c,
		name: ref.Registry + "/" + ref.Repository,
		base: scheme + "://" + ref.Host() + "/v2/" + ref.Repository,
		remote: &remote.Repository{
			Client:    checked{c.client},
			Reference: ref,
			PlainHTTP: plain,
			// Deleting the old index is not needed, and where DELETE is refused a good
			// push would be reported as failed.
			SkipReferrersGC:      true,
			ReferrerListMaxPages: maxPages,
			MaxMetadataBytes:     maxManifest,
		},
		client:   c.client,
		readOnly: c.o.ReadOnly,
		deleting: c.o.Delete,
		budget:   c.o.Lists,
		probed:   newLatch(),
		more:     newLatch(),
		config:   newLatch(),
		deletes:  newLatch(),
		subjects: newKeyed(),
		known:    c.known,
	}
	if r.forced = c.o.ForceReferrersTag; r.forced {
		// Cannot fail: nobody has set it yet.
		_ = r.remote.SetReferrersCapability(false)
		r.probed.set()
	}
	return r
}

// checked is the client for the lists that oras-go reads. It removes the parameters of content types,
// which oras-go compares as they are written, and refuses pages that are no such list: to oras-go
// any JSON object without entries is an empty page, and the last.
type checked struct{ *auth.Client }

func (c checked) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if mediaType := transport.MediaType(resp.Header); mediaType != "" {
		resp.Header.Set("Content-Type", mediaType)
	}
	if resp.StatusCode != http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1)) // what is longer, oras-go refuses
	if err != nil {
		return nil, err
	}
	if len(page) <= maxManifest {
		if err := checkPage(page, listMember(req.URL.Path)); err != nil {
			return nil, err
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(page))
	return resp, nil
}

// listMember returns the member that holds the entries of the list at a path, which may be that of
// a later page.
func listMember(path string) string {
	switch {
	case strings.HasSuffix(path, "/_catalog"):
		return "repositories"
	case strings.HasSuffix(path, "/tags/list"):
		return "tags"
	}
	return "manifests"
}

// checkPage returns an error unless a page of a list has its entries.
func checkPage(page []byte, member string) error {
	var all map[string]json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(page)).Decode(&all); err != nil { // one that is cut off is worth another try
		return fmt.Errorf("%w: a page of a list: %w", ErrNotRegistry, err)
	}
	entries := string(all[member])
	// docker-registry says null for a repository whose tags are all deleted.
	if strings.HasPrefix(entries, "[") || member == "tags" && entries == "null" {
		return nil
	}
	// olareg says null for an image without referrers, in what is an index otherwise.
	if member == "manifests" && string(all["schemaVersion"]) == "2" {
		return nil
	}
	return fmt.Errorf("%w: a page of a list without the member %q", ErrNotRegistry, member)
}

// parseName parses a repository's name and brings Docker Hub's to one form.
func parseName(name string) (orasregistry.Reference, error) {
	ref, err := orasregistry.ParseReference(name)
	if err != nil {
		return ref, fmt.Errorf("opening repository %q: %w", name, err)
	}
	if ref.Reference != "" {
		return ref, fmt.Errorf("opening repository %q: %w", name, errNotBare)
	}
	switch strings.ToLower(ref.Registry) {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		ref.Registry = "docker.io" // oras-go sends its requests to registry-1.docker.io
		if !strings.Contains(ref.Repository, "/") {
			ref.Repository = "library/" + ref.Repository
		}
	}
	return ref, nil
}

var errNotBare = errors.New("a repository is named without tag and digest")
