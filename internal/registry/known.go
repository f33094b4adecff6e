package registry

import (
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxKnown bounds the memory for resolved digests of all repositories, to about 1 MB.
const maxKnown = 4096

// descriptors remembers what digests resolved to, by repository. A digest names the same
// bytes for ever; only that they are still there can change, which the next request notices.
type descriptors struct {
	mu sync.Mutex
	m  map[known]ocispec.Descriptor // guarded by mu
}

// known is a digest in a repository.
type known struct {
	repository string
	digest     digest.Digest
}

func newDescriptors() *descriptors {
	return &descriptors{m: make(map[known]ocispec.Descriptor)}
}

func (k *descriptors) get(repository string, d digest.Digest) (ocispec.Descriptor, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	desc, ok := k.m[known{repository, d}]
	return desc, ok
}

// add keeps what is known already: that may have been hashed.
func (k *descriptors) add(repository string, desc ocispec.Descriptor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.m[known{repository, desc.Digest}]; ok {
		return
	}
	if len(k.m) >= maxKnown {
		// Images are worked off one after the other: what was resolved long ago is not
		// asked for again, and a request is all it costs if it is.
		clear(k.m)
	}
	k.m[known{repository, desc.Digest}] = desc
}
