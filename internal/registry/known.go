package registry

import (
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxKnown bounds the memory for all repositories' resolved digests to about 1 MB.
const maxKnown = 4096

// descriptors remembers what digests resolved to, by repository. A digest always names the same bytes. They can only
// disappear, and the next request notices that.
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

// add keeps an existing entry, since that may have been verified by hash.
func (k *descriptors) add(repository string, desc ocispec.Descriptor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.m[known{repository, desc.Digest}]; ok {
		return
	}
	if len(k.m) >= maxKnown {
		// Images are processed one after the other, so old entries are rarely needed again. If one is, it costs one
		// request.
		clear(k.m)
	}
	k.m[known{repository, desc.Digest}] = desc
}
