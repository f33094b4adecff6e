package notarytest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"testing"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
)

const gun = "registry.example.com:5000/team/app"

// start runs a server until the test ends.
func start(t testing.TB, options Options) *Server {
	t.Helper()
	s, err := Start(options)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// repository publishes an empty repository.
func repository(t testing.TB, s *Server, name string) *Repository {
	t.Helper()
	r, err := s.NewRepository(name)
	must(t, err)
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// digest returns the SHA-256 of any text.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sign signs a tag with a digest made of its name, and publishes.
func sign(t testing.TB, r *Repository, tag string, roles ...string) {
	t.Helper()
	must(t, r.Sign(tag, digest(tag), 100, roles...))
	must(t, r.Publish())
}

// loaded is what notary's own client reports about a GUN.
type loaded struct {
	*tuf.Repo
	invalid *tuf.Repo
	reader  client.ReadOnly
}

// role returns the role in which docker finds a tag, and fails if the digest is not the tag's. It
// returns "" if docker finds none.
func (l loaded) role(t testing.TB, tag string) string {
	t.Helper()
	target, err := l.reader.GetTargetByName(tag, releases, data.CanonicalTargetsRole)
	if err != nil || target.Role != releases && target.Role != data.CanonicalTargetsRole {
		return "" // the library searches further down, but docker refuses what it finds there
	}
	if got := hex.EncodeToString(target.Hashes["sha256"]); got != digest(tag) {
		t.Errorf("%s: got digest %s, want %s", tag, got, digest(tag))
	}
	return target.Role.String()
}

// load reads a GUN over HTTP with notary's own client and an empty cache.
func load(s *Server, name string) (loaded, error) {
	return loadWith(s, name, s.HTTPClient().Transport, storage.NewMemoryStore(nil), trustpinning.TrustPinConfig{})
}

func loadWith(s *Server, name string, rt http.RoundTripper, cache storage.MetadataStore, pin trustpinning.TrustPinConfig) (loaded, error) {
	remote, err := storage.NewNotaryServerStore(s.URL(), data.GUN(name), rt)
	if err != nil {
		return loaded{}, err
	}
	repo, invalid, err := client.LoadTUFRepo(client.TUFLoadOptions{
		GUN: data.GUN(name), TrustPinning: pin, Cache: cache, RemoteStore: remote,
	})
	if err != nil {
		return loaded{}, err
	}
	return loaded{repo, invalid, client.NewReadOnly(repo)}, nil
}

// mustLoad calls load, which must succeed.
func mustLoad(t testing.TB, s *Server, name string) loaded {
	t.Helper()
	l, err := load(s, name)
	must(t, err)
	return l
}

// get sends a GET and returns status and body.
func get(t testing.TB, c *http.Client, url string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := c.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}
