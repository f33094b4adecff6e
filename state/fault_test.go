package state

import (
	"errors"
	"io/fs"
	"testing"
)

func TestTheFirstFaultStays(t *testing.T) {
	t.Parallel()
	var f fault
	if err := f.get(); err != nil {
		t.Errorf("got %v before there was any, want none", err)
	}
	for _, next := range []error{fs.ErrPermission, fs.ErrClosed} {
		if set, kept := f.set(next), f.get(); !errors.Is(set, fs.ErrPermission) || !errors.Is(kept, fs.ErrPermission) {
			t.Errorf("after %v: got %v and kept %v, want the first", next, set, kept)
		}
	}
}
