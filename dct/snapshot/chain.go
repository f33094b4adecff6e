package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
)

// read verifies a repository as the reader's source has it now, then the roots before the newest. What was saved
// before is a floor: older versions, other bytes of one version and vanished roles are refused.
func (w *writer) read(ctx context.Context, gun dct.GUN, before *entry) (*recording, error) {
	t := &recordingSource{upstream: w.reader.Source, saved: w.saved, before: before, files: map[string][]byte{}}
	floors := w.floors(gun, before)
	reader := *w.reader
	reader.Source, reader.Cache = t, nil // the snapshot serves as the cache
	// Only the floors: a root from the snapshot would count as pinned.
	known := dct.Known{Floors: floors}
	t.offer = w.savedRoot(gun, before)
	repository, err := reader.Read(ctx, gun, known)
	if err != nil && t.offer != nil && ctx.Err() == nil {
		t.offer = nil // there may be a newer one
		repository, err = reader.Read(ctx, gun, known)
	}
	var expired error
	if errors.Is(err, dct.ErrExpired) && ctx.Err() == nil {
		// Whoever reads the snapshot has to accept its age; by then there may be no server to ask.
		expired = err
		reader.AllowExpired = dct.Everything()
		repository, err = reader.Read(ctx, gun, known)
	}
	if err != nil {
		return nil, err
	}
	newest := repository.Version("root")
	if newest < floors["root"].Version {
		return nil, &dct.Error{GUN: gun.String(), Role: "root", Kind: dct.ErrRefused, Err: errOlder, Hint: hintElsewhere}
	}
	if err := t.chain(ctx, gun, newest); err != nil {
		return nil, err
	}
	r := &recording{repository: repository, files: t.files, expired: expired}
	return r, w.proveChain(ctx, gun, r, before, reader)
}

// savedRoot returns the newest saved root, or nil.
func (w *writer) savedRoot(gun dct.GUN, before *entry) []byte {
	if before == nil {
		return nil
	}
	f, ok := before.find("root")
	if !ok {
		return nil
	}
	raw, err := w.saved.read(gun, f)
	if err != nil {
		return nil // the server's repairs it
	}
	return raw
}

// floors returns the saved versions, as stated in the files themselves. A file that cannot be read sets none.
func (w *writer) floors(gun dct.GUN, before *entry) map[string]dct.Floor {
	floors := map[string]dct.Floor{}
	if before == nil {
		return floors
	}
	for _, f := range before.files {
		if f.name != f.role() {
			continue // an older root
		}
		raw, err := w.saved.read(gun, f)
		if err != nil {
			continue
		}
		var content struct {
			Signed struct {
				Version int `json:"version"`
			} `json:"signed"`
		}
		if err := json.Unmarshal(raw, &content); err != nil {
			continue
		}
		floors[f.role()] = dct.Floor{Version: content.Signed.Version, SHA256: f.digest().Encoded()}
	}
	return floors
}

// chain fetches the roots before the newest. A version that the source does not have is a gap, since the first
// rotation may be published together with the first version. Gaps among saved versions are not requested again.
func (t *recordingSource) chain(ctx context.Context, gun dct.GUN, newest int) error {
	asked := 0
	if t.before != nil {
		if root, ok := t.before.find("root"); ok {
			asked = root.version
		}
	}
	for v := max(1, newest-maxChain); v < newest; v++ {
		if v <= asked {
			if _, ok := t.before.find(chainName(v)); !ok {
				continue
			}
		}
		if _, err := t.File(ctx, gun, chainName(v), maxRoot); err != nil && !lookup.IsAbsent(err) {
			return err
		}
	}
	return nil
}

// proveChain verifies the roots before the newest, offline. New ones must follow from those already in the snapshot.
// If it has none, a broken chain is left out with a warning: pins verify the newest root, which can still be saved.
func (w *writer) proveChain(ctx context.Context, gun dct.GUN, r *recording, before *entry, reader dct.Reader) error {
	oldest := 0
	for name := range r.files {
		if v, ok := chainVersion(name); ok && (oldest == 0 || v < oldest) {
			oldest = v
		}
	}
	if oldest == 0 {
		return nil
	}
	reader.Source = memorySource(r.files)
	err := follow(ctx, reader, gun, chainName(oldest))
	if err == nil || before != nil && before.damage == nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for name := range r.files {
		if _, ok := chainVersion(name); ok {
			delete(r.files, name)
		}
	}
	cause, _, _ := strings.Cut(err.Error(), "\n")
	r.warning = fmt.Sprintf("the roots before version %d are left out, as they do not lead to it: %s", r.repository.Version("root"), cause)
	return nil
}
