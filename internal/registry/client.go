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
	// Client sends the requests; see transport.Client. Use one per process, since it holds the tokens. New makes it
	// record for which hosts it found a user.
	Client *auth.Client

	// PlainHTTP reports whether to talk to a registry, named as in image references, without TLS. Nil: to none.
	PlainHTTP func(host string) bool

	// ForceReferrersTag keeps signatures under the referrers tag without asking whether the registry has the API,
	// like notation's flag of that name.
	ForceReferrersTag bool

	// ReadOnly refuses to push and asks token servers only for pull. Otherwise it asks for pull and push together,
	// since two scopes would be two tokens.
	ReadOnly bool

	// Lists bounds each list of tags and of repositories.
	Lists Budget

	// Pause is the time before a second question to a repository that seems to have no referrers API; 0: half a
	// second.
	Pause time.Duration

	// Delete asks token servers for permission to delete too; RemoveSignature needs it.
	Delete bool
}

// A Memory remembers between runs which repositories have the referrers API.
type Memory interface {
	HasReferrers(repository string) (bool, error)
	SetReferrers(repository string) error
	// HostHasReferrers reports whether any repository of the host has it.
	HostHasReferrers(host string) (bool, error)
}

// A Client opens repositories. It is safe for concurrent use.
type Client struct {
	o      Options
	client *auth.Client // Options.Client
	users  sync.Map     // host -> struct{}: we have a user for it
	known  *descriptors // images resolved so far
	past   atomic.Pointer[Memory]
	hadAPI sync.Map // host -> struct{}: one of its repositories had the referrers API

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

// Remember gives the client what earlier runs learnt, and records in m what it learns. Without it, the client knows
// only what this process has seen.
func (c *Client) Remember(m Memory) { c.past.Store(&m) }

func (c *Client) memory() Memory {
	if m := c.past.Load(); m != nil {
		return *m
	}
	return nil
}

func (c *Client) pause() time.Duration { return cmp.Or(c.o.Pause, 500*time.Millisecond) }

// Repository returns the handle of host[:port]/path, the same one for every spelling of the name: the host in any
// case, any of Docker Hub's hosts, official images with or without library/. It sends no request. An error means that
// the name is invalid.
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

// placeOf returns the one form of a repository's name that stands for all its spellings.
func placeOf(ref orasregistry.Reference) string {
	return strings.ToLower(ref.Registry) + "/" + ref.Repository
}

// open creates a handle.
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
			// Deleting the old index is not needed. If the registry refused the DELETE, a good push would be reported
			// as failed.
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
		// This cannot fail: nobody has set it yet.
		_ = r.remote.SetReferrersCapability(false)
		r.probed.set()
	}
	return r
}

// checked is the client for the lists that oras-go reads. It removes parameters from content types, which oras-go
// compares literally. It refuses pages that are not such a list: oras-go takes any JSON object without entries for an
// empty last page.
type checked struct{ *auth.Client }

func (c checked) Do(req *http.Request) (*http.Response, error) {
	fresh(req)
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
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1)) // oras-go refuses anything longer
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

// listMember returns the member that holds the entries of the list at a path. The path may be a later page's.
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
	if err := json.NewDecoder(bytes.NewReader(page)).Decode(&all); err != nil { // a truncated page is worth a retry
		return fmt.Errorf("%w: a page of a list: %w", ErrNotRegistry, err)
	}
	entries := string(all[member])
	// docker-registry answers null for a repository whose tags are all deleted.
	if strings.HasPrefix(entries, "[") || member == "tags" && entries == "null" {
		return nil
	}
	// olareg answers null for an image without referrers, in an otherwise complete index.
	if member == "manifests" && string(all["schemaVersion"]) == "2" {
		return nil
	}
	return fmt.Errorf("%w: a page of a list without the member %q", ErrNotRegistry, member)
}

// parseName parses a repository's name and normalizes Docker Hub's.
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
