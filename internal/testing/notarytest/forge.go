package notarytest

import (
	"bytes"
	"fmt"

	"github.com/theupdateframework/notary/tuf/data"
)

// forge edits the latest file of a role. With resign the file becomes the next version of
// itself before the edit, and is signed by all keys of its role after it; else version and
// signatures stay as they are. What is coming is a file that will be stored with it. The
// caller holds mu.
func (r *Repository) forge(role string, resign bool, coming file, edit func(*document) error) (file, error) {
	latest, ok := r.server.shelf.latest(r.gun, role)
	if !ok {
		return file{}, fmt.Errorf("%s has no file", role)
	}
	d, err := parseDocument(latest.Raw)
	if err != nil {
		return file{}, fmt.Errorf("reading %s: %w", role, err)
	}
	if resign {
		d.bump()
	}
	if err := edit(&d); err != nil {
		return file{}, err
	}
	if resign {
		keys, err := r.server.shelf.keysOf(r.gun, data.RoleName(role), coming)
		if err != nil {
			return file{}, fmt.Errorf("finding keys of %s: %w", role, err)
		}
		if err := d.sign(keys, r.server.signerKeys, r.server.ownKeys); err != nil {
			return file{}, fmt.Errorf("signing %s: %w", role, err)
		}
	}
	raw, err := d.encode()
	if err != nil {
		return file{}, fmt.Errorf("encoding %s: %w", role, err)
	}
	return file{role: role, version: d.version(), raw: raw}, nil
}

// settle stores a file together with the snapshot and timestamp that then have to follow, at
// once. The caller holds mu.
func (r *Repository) settle(f file) error {
	files := []file{f}
	for files[0].role != "timestamp" {
		inner := files[0]
		outer := "snapshot"
		if inner.role == "snapshot" {
			outer = "timestamp"
		}
		next, err := r.forge(outer, true, f, func(d *document) error { return d.vouchFor(inner) })
		if err != nil {
			return err
		}
		files = append([]file{next}, files...)
	}
	return r.server.shelf.add(r.gun, false, files...)
}

// vouchFor writes the size and hashes of a file into a snapshot or timestamp.
func (d *document) vouchFor(f file) error {
	meta, ok := d.signed["meta"].(map[string]any)
	if !ok {
		return fmt.Errorf("vouching for %s: no meta", f.role)
	}
	entry, err := data.NewFileMeta(bytes.NewReader(f.raw), data.NotaryDefaultHashes...)
	if err != nil {
		return fmt.Errorf("vouching for %s: %w", f.role, err)
	}
	meta[f.role] = entry
	return nil
}

// tamper forges and settles, and says what failed.
func (r *Repository) tamper(doing, role string, resign bool, edit func(*document) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.forge(role, resign, file{}, edit)
	if err == nil {
		err = r.settle(f)
	}
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", doing, role, r.gun, err)
	}
	return nil
}
