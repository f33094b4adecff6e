package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// File implements [dct.Source]: the latest file of a role, N.root, or <role>.<sha256>.
func (s *Snapshot) File(ctx context.Context, gun dct.GUN, fileName string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, ok := s.entries[gun]
	if !ok {
		return nil, absent(fileName)
	}
	if e.damage != nil {
		return nil, e.damage
	}
	f, ok := e.find(fileName)
	if !ok {
		return nil, absent(fileName)
	}
	if f.size > limit {
		return nil, blame(gun, f.role(), "file "+f.name, &damage{dct.ErrRefused, fmt.Errorf("it is larger than %d bytes", limit)})
	}
	return s.read(gun, f)
}

// absent returns the error for what was not saved.
func absent(name string) error {
	return &lookup.AbsentError{By: lookup.Snapshot, What: "file " + safetext.Safe(name, 128) + " of it"}
}

// read returns the bytes of a file as saved, or an *dct.Error that names it.
func (s *Snapshot) read(gun dct.GUN, f file) ([]byte, error) {
	raw, err := s.blob(f.digest(), f.size)
	if err != nil {
		return nil, blame(gun, f.role(), "file "+f.name, err)
	}
	return raw, nil
}

// damage says what is wrong with a file, and which kind of error that is. Its text leaves the kind to the caller, who
// names the file's owner.
type damage struct {
	kind error
	err  error
}

func (d *damage) Error() string   { return d.err.Error() }
func (d *damage) Unwrap() []error { return []error{d.kind, d.err} }

// blob returns the bytes of a blob, checked against its size and digest. An error is a
// *damage.
func (s *Snapshot) blob(d digest.Digest, size int64) ([]byte, error) {
	path := blobName(d)
	raw, err := readRegular(s.fsys, path, maxFile)
	var irregular *damage
	switch {
	// This is not absence: otherwise a repository that lost its root would count as unsigned.
	case isNotThere(err):
		return nil, &damage{dct.ErrIncomplete, fmt.Errorf("%s is missing", path)}
	case errors.As(err, &irregular):
		return nil, irregular
	case err != nil:
		return nil, &damage{dct.ErrUnavailable, err}
	case int64(len(raw)) != size:
		return nil, &damage{dct.ErrRefused, fmt.Errorf("%s has %d bytes, and %d were saved", path, len(raw), size)}
	}
	if sum := sumOf(raw); sum != d {
		return nil, &damage{dct.ErrRefused, fmt.Errorf("%s is damaged: its SHA-256 is %s", path, sum.Encoded())}
	}
	return raw, nil
}

func sumOf(raw []byte) digest.Digest { return digest.SHA256.FromBytes(raw) }

// blame names the owner of a damaged file.
func blame(gun dct.GUN, role, what string, err error) error {
	kind := dct.ErrRefused
	var d *damage
	if errors.As(err, &d) {
		kind = d.kind
	}
	return &dct.Error{
		GUN: gun.String(), Role: role, Kind: kind, Err: fmt.Errorf("reading the snapshot: %s: %w", what, err),
		Hint: "restore it from a copy of the snapshot, or save the repository again if its server is still there",
	}
}

// readRegular reads a regular file that is not larger than limit.
func readRegular(fsys fs.FS, path string, limit int64) ([]byte, error) {
	info, err := fs.Lstat(fsys, path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &damage{dct.ErrRefused, fmt.Errorf("%s is no regular file", path)}
	}
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, &damage{dct.ErrRefused, fmt.Errorf("%s is larger than %d bytes", path, limit)}
	}
	return raw, nil
}
