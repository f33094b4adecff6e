package dct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// DockerTrust is docker's trust directory (~/.docker/trust) as a [Source]: what docker downloaded for the
// repositories used on this machine. We only read it. It has the latest file of each role, usually past the
// timestamp's 14 days.
type DockerTrust struct{ Dir string }

// File implements [Source]. It ignores the hash in a name: whoever lists the file checks it.
func (d DockerTrust) File(ctx context.Context, gun GUN, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	role := roleOf(name)
	if role == "root" && name != "root" {
		return nil, absentFile(lookup.DockerTrust, name) // only the latest version is kept
	}
	fail := func(kind, err error) error {
		return &Error{GUN: gun.String(), Role: role, Kind: kind, Err: fmt.Errorf("reading docker's trust directory: %w", err)}
	}
	// os.Root, because both names may come from a server.
	root, err := os.OpenRoot(d.Dir)
	if err != nil {
		return nil, fail(ErrUnavailable, err)
	}
	defer func() { _ = root.Close() }() // only read from
	f, err := root.Open(path.Join("tuf", gun.String(), "metadata", role+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absentFile(lookup.DockerTrust, name)
	}
	if err != nil {
		return nil, fail(ErrUnavailable, err)
	}
	defer func() { _ = f.Close() }() // only read from
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fail(ErrUnavailable, err)
	case int64(len(raw)) > limit:
		return nil, fail(ErrRefused, fmt.Errorf("file is larger than %d bytes", limit))
	}
	return raw, nil
}

// GUNs lists the repositories with trust data in the directory, sorted, and the names of folders that no image can
// have.
func (d DockerTrust) GUNs() (guns []GUN, odd []string, err error) {
	root, err := os.OpenRoot(d.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("opening docker's trust directory: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	err = fs.WalkDir(root.FS(), "tuf", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, ok := strings.CutSuffix(p, "/metadata/root.json")
		if !ok || e.IsDir() {
			return nil
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, "tuf"), "/")
		if gun, err := ParseGUN(name); err == nil && gun.String() == name {
			guns = append(guns, gun)
		} else {
			odd = append(odd, name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("listing docker's trust directory: %w", err)
	}
	slices.SortFunc(guns, GUN.Compare)
	slices.Sort(odd)
	return guns, odd, nil
}
