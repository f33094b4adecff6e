package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// was is the result of reading a repository.
type was struct {
	*recording
	before *entry
	err    error
}

// save writes the blobs of a repository to the disk. An error ends the run; the repository's own is in the result.
func (w *writer) save(ctx context.Context, gun dct.GUN, r was) (Saved, error) {
	before, err := r.before, r.err
	var files []file
	var manifest []byte
	if err == nil {
		files = r.list()
		manifest, err = w.describe(r.repository, files)
	}
	switch {
	case ctx.Err() != nil:
		return Saved{}, ctx.Err()
	case err != nil && before != nil:
		return Saved{GUN: gun, Outcome: Kept, Err: err}, nil
	case err != nil:
		return Saved{GUN: gun, Outcome: Failed, Err: err}, nil
	}
	if j := r.repository.Judged(); !j.IsZero() {
		r.warn("expired, signed while it was valid: " + j.String())
	}
	done := Saved{GUN: gun, Outcome: Added, Warning: r.warning, Expired: r.expired}
	blobs := append(r.bytes(files), ocispec.DescriptorEmptyJSON.Data)
	switch {
	case before != nil && slices.Equal(before.files, files) && w.maySign(ctx, before, manifest):
		done.Outcome = Unchanged // its blobs may still be damaged
	case before != nil:
		done.Outcome = Changed
	}
	if done.Outcome != Unchanged {
		blobs = append(blobs, manifest)
	}
	if err := w.put(blobs...); err != nil {
		return Saved{}, err
	}
	if done.Outcome != Unchanged {
		w.saved.entries[gun], w.changed = &entry{manifest: blobOf(manifest), files: files}, true
	}
	if w.options.Signer != nil && r.expired == nil { // only what was verified is signed, including its age
		d, _ := w.saved.Manifest(gun)
		w.pending = append(w.pending, pending{done, verified(r.repository, d)})
	}
	return done, nil
}

// describe makes the manifest of a repository. A manifest that could not be read again must not replace one that can.
func (w *writer) describe(r *dct.Repository, files []file) ([]byte, error) {
	gun := r.GUN()
	manifest, err := newManifest(gun, files, w.about(r))
	if err == nil {
		_, _, err = parseManifest(manifest)
	}
	if err == nil && len(manifest) > maxManifest {
		err = fmt.Errorf("it has %d bytes, and registries take %d", len(manifest), maxManifest)
	}
	if err != nil {
		return nil, &dct.Error{GUN: gun.String(), Kind: dct.ErrRefused, Err: fmt.Errorf("making its manifest: %w", err)}
	}
	return manifest, nil
}

// about returns the annotations that describe a repository to people.
func (w *writer) about(r *dct.Repository) map[string]string {
	about := map[string]string{annotationSaved: w.now()}
	if w.options.Tool != "" {
		about[annotationTool] = w.options.Tool
	}
	if server := w.server(r.GUN()); server != "" {
		about[annotationServer] = server
	}
	for _, e := range r.Expiries() {
		about[annotationExpires+"."+e.Role] = e.At.UTC().Format(time.RFC3339)
		if v := r.Version(e.Role); v > 0 {
			about[annotationVersion+"."+e.Role] = strconv.Itoa(v)
		}
	}
	return about
}

// recording is a verified repository with the bytes it was verified from.
type recording struct {
	repository *dct.Repository
	files      map[string][]byte // by name, as the reader requested them
	warning    string
	expired    error // why its age would be refused; nil if it would not
}

// warn adds a warning.
func (r *recording) warn(text string) {
	if r.warning != "" {
		r.warning += "; "
	}
	r.warning += text
}

// list describes the files, in the order of a manifest.
func (r *recording) list() []file {
	files := make([]file, 0, len(r.files))
	for asked, raw := range r.files {
		name := asked
		if role, _, ok := cutSum(asked); ok {
			name = role
		}
		version, ok := chainVersion(name)
		if !ok {
			version = r.repository.Version(name)
		}
		files = append(files, file{blobOf(raw), ownName(name), version})
	}
	order(files)
	return files
}

// bytes returns the content of the files that list described.
func (r *recording) bytes(files []file) [][]byte {
	content := make([][]byte, 0, len(files)+1)
	for _, f := range files {
		raw, ok := r.files[f.name]
		if !ok {
			raw = r.files[f.role()+"."+f.digest().Encoded()]
		}
		content = append(content, raw)
	}
	return content
}

// errOlder is the cause if a source has older data than the snapshot.
var errOlder = errors.New("rolled back: the snapshot has a newer root")

const hintElsewhere = "if the repository was deleted and made anew, save it into another directory: this one keeps the trust data of before"
