package registrytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blobs stores blobs for go-containerregistry. Its own store shares them between all repositories,
// which hides from clients that they never pushed the config where they needed it. Here a repository
// shows only what was pushed to it; the bytes are kept once.
type blobs struct {
	mu    sync.RWMutex
	bytes map[string][]byte              // by digest
	of    map[string]map[string]struct{} // repository -> digests
}

func newBlobs() *blobs {
	return &blobs{bytes: map[string][]byte{}, of: map[string]map[string]struct{}{}}
}

// Stat implements registry.BlobStatHandler.
func (b *blobs) Stat(_ context.Context, repo string, h v1.Hash) (int64, error) {
	content, ok := b.get(repo, h.String())
	if !ok {
		return 0, registry.ErrNotFound
	}
	return int64(len(content)), nil
}

// Get implements registry.BlobHandler.
func (b *blobs) Get(_ context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	content, ok := b.get(repo, h.String())
	if !ok {
		return nil, registry.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// Put implements registry.BlobPutHandler; rc fails at its end if the digest is another one.
func (b *blobs) Put(_ context.Context, repo string, h v1.Hash, rc io.ReadCloser) error {
	defer rc.Close()
	content, err := io.ReadAll(rc)
	if err != nil {
		return fmt.Errorf("reading blob %s: %w", h, err)
	}
	// An upload arrives under name/blobs/uploads/id, of which go-containerregistry strips only the end.
	b.put(strings.TrimSuffix(repo, "/blobs"), h.String(), content)
	return nil
}

// Delete implements registry.BlobDeleteHandler.
func (b *blobs) Delete(_ context.Context, repo string, h v1.Hash) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.of[repo][h.String()]; !ok {
		return registry.ErrNotFound
	}
	delete(b.of[repo], h.String())
	return nil
}

func (b *blobs) get(repo, digest string) ([]byte, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if _, ok := b.of[repo][digest]; !ok {
		return nil, false
	}
	return b.bytes[digest], true
}

func (b *blobs) put(repo, digest string, content []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of[repo] == nil {
		b.of[repo] = map[string]struct{}{}
	}
	b.of[repo][digest] = struct{}{}
	b.bytes[digest] = content
}
