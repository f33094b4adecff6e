//go:build unix

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// tally counts over all plugin processes, in files of one folder under a lock each. The count is the
// length of a file, so that a process killed half-way leaves no nonsense behind.
type tally struct{ dir string }

// next counts a call of the command and returns its number, from 1.
func (t tally) next(command string) (int, error) {
	file, err := t.open(command + ".count")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("counting calls: %w", err)
	}
	if _, err := file.WriteAt([]byte{'.'}, info.Size()); err != nil {
		return 0, fmt.Errorf("counting calls: %w", err)
	}
	return int(info.Size()) + 1, nil
}

// allow takes part in a limit of perSecond calls. False means that this one is too many; it is then not
// counted.
func (t tally) allow(perSecond float64) (bool, error) {
	const size = 8 // of a time
	file, err := t.open("rate")
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, fmt.Errorf("limiting the rate: %w", err)
	}
	taken, burst := info.Size()/size, max(1, int64(perSecond))
	window := time.Duration(float64(burst) / perSecond * float64(time.Second))
	now := time.Now()
	var stamp [size]byte
	if taken >= burst {
		if _, err := file.ReadAt(stamp[:], (taken-burst)*size); err != nil {
			return false, fmt.Errorf("limiting the rate: %w", err)
		}
		if now.Sub(time.Unix(0, int64(binary.LittleEndian.Uint64(stamp[:])))) < window {
			return false, nil
		}
	}
	binary.LittleEndian.PutUint64(stamp[:], uint64(now.UnixNano()))
	if _, err := file.WriteAt(stamp[:], taken*size); err != nil {
		return false, fmt.Errorf("limiting the rate: %w", err)
	}
	return true, nil
}

// open opens a file and waits for its lock, which ends with the file or the process.
func (t tally) open(name string) (*os.File, error) {
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the counters: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(t.dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the counters: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking the counters: %w", err)
	}
	return file, nil
}
