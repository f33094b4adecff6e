package snapshot

import (
	"context"
	"fmt"

	"github.com/dct2notation/dct2notation/dct"
)

// recordingSource is the source for reading one repository while saving it. It keeps the bytes that the reader got.
// What has the requested hash it takes from the snapshot, since no server could send anything else. It is for one
// goroutine and one Read.
type recordingSource struct {
	upstream dct.Source
	saved    *Snapshot
	before   *entry            // what was saved of the repository; nil if nothing
	offer    []byte            // root to return before asking the server; nil: none
	files    map[string][]byte // by requested name
}

// File implements [dct.Source].
func (t *recordingSource) File(ctx context.Context, gun dct.GUN, name string, limit int64) ([]byte, error) {
	if name == "root" {
		clear(t.files) // the reader starts over: what it got so far did not match
		if t.offer != nil {
			t.files[name] = t.offer
		}
	}
	if raw, ok := t.files[name]; ok {
		return raw, nil
	}
	raw, ok := t.find(name, limit)
	if !ok {
		var err error
		if raw, err = t.upstream.File(ctx, gun, name, limit); err != nil {
			return nil, err
		}
	}
	t.files[name] = raw
	return raw, nil
}

// find looks for a file in the snapshot. The timestamp always comes from the server, and so does the root unless the
// newest snapshot role lists the saved one: these two show what is new. Damage counts as absence: the server's file
// then repairs it.
func (t *recordingSource) find(name string, limit int64) ([]byte, bool) {
	if version, ok := chainVersion(name); ok {
		return t.findRoot(version)
	}
	_, sum, ok := cutSum(name)
	if !ok {
		return nil, false
	}
	raw, err := readRegular(t.saved.fsys, blobName(sum), limit)
	return raw, err == nil && sumOf(raw) == sum
}

// findRoot looks for a root version among the repository's saved ones.
func (t *recordingSource) findRoot(version int) ([]byte, bool) {
	if t.before == nil {
		return nil, false
	}
	f, ok := t.before.find(chainName(version))
	if !ok {
		return nil, false
	}
	raw, err := t.saved.blob(f.digest(), f.size)
	return raw, err == nil
}

// memorySource is the recorded content of a recordingSource, as a source that requests nothing more.
type memorySource map[string][]byte

// File implements [dct.Source].
func (r memorySource) File(_ context.Context, gun dct.GUN, name string, limit int64) ([]byte, error) {
	raw, ok := r[name]
	switch {
	case !ok:
		return nil, absent(name)
	case int64(len(raw)) > limit:
		return nil, &dct.Error{GUN: gun.String(), Kind: dct.ErrRefused, Err: fmt.Errorf("file %s is larger than %d bytes", name, limit)}
	}
	return raw, nil
}
