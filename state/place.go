package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Place is where a ledger is or would be created, as far as one can tell without touching it.
type Place struct {
	Exists bool   // a file exists; only Open can tell whether it is a ledger
	Dir    string // the directory, or the nearest above it that exists
	Free   uint64 // bytes that may still be written there
	Sized  bool   // Free is known
}

// Survey examines the place of a ledger and changes nothing. An error says why no ledger can be kept there.
func Survey(path string) (Place, error) {
	var p Place
	err := p.survey(path)
	if err != nil {
		err = fmt.Errorf("looking at the place of ledger %s: %w", path, err)
	}
	return p, err
}

func (p *Place) survey(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		p.Exists = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p.Dir, err = nearest(filepath.Dir(path)); err != nil {
		return err
	}
	if err := local(p.Dir, Options{}); err != nil {
		return err
	}
	if err := mayWrite(p.Dir); err != nil {
		return fmt.Errorf("%s: %w\nhint: the ledger and its directory must be writable", p.Dir, err)
	}
	p.Free, p.Sized = freeSpace(p.Dir)
	return nil
}

// nearest returns the directory, or the first one above it that exists.
func nearest(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err == nil:
			return "", fmt.Errorf("%s is not a directory", dir)
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir:
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}
