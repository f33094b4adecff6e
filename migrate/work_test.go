package migrate

import (
	"context"
	"fmt"
	"testing"
	"unsafe"

	"github.com/dct2notation/dct2notation/dct"
)

// The work of two repositories is in memory at once, so an image more costs one element of two slices.
func TestWorkSharesMemory(t *testing.T) {
	s := newScene(t)
	var tags []string
	for i := range 100 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	r, err := s.Trust().Read(context.Background(), s.GUNs(App)[0], dct.Known{})
	s.Must(err)
	keys := []Key{{Signer: s}}
	allocated := testing.AllocsPerRun(5, func() {
		work, err := gather(Scope{}, keys, r)
		if err != nil || len(work) != len(tags) || cap(work) > 2*len(tags) {
			t.Errorf("got %d items with room for %d, %v, want %d", len(work), cap(work), err, len(tags))
		}
	})
	if allocated > 10 {
		t.Errorf("got %.0f allocations for %d images, want at most 10", allocated, len(tags))
	}
	if size := unsafe.Sizeof(Work{}); size > 256 {
		t.Errorf("got %d bytes for an item, want at most 256", size)
	}
}
