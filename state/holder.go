package state

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// The lock itself does not show who has it, so the holder writes that into a file beside the ledger. It only informs
// people: it may be stale after a crash, and nothing depends on it.

const maxHolder = 4096 // bytes

func holderPath(path string) string { return path + ".holder" }

// announce writes who we are. The caller holds the lock.
func announce(path string, now time.Time) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	data, err := json.Marshal(Holder{PID: os.Getpid(), Host: host, Start: now.UTC(), Command: command()})
	if err != nil {
		return err
	}
	// A rename also replaces a planted link. It is not flushed: after a power loss nobody holds the ledger.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("announcing the holder: %w", err)
	}
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), holderPath(path))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("announcing the holder: %w", err)
	}
	return nil
}

// withdraw removes what announce wrote. A leftover file is harmless.
func withdraw(path string) { os.Remove(holderPath(path)) }

// holder returns who holds the ledger, or the zero Holder if unknown. Anyone who can write into the directory can
// write anything here.
func holder(path string) Holder {
	f, err := os.OpenFile(holderPath(path), os.O_RDONLY|durable.NoFollow|durable.NoWait, 0)
	if err != nil {
		return Holder{}
	}
	defer f.Close()
	var h Holder
	data, err := io.ReadAll(io.LimitReader(f, maxHolder))
	if err != nil || json.Unmarshal(data, &h) != nil {
		return Holder{}
	}
	h.Host, h.Command = bounded(h.Host, 255), bounded(h.Command, 255)
	return h
}

// command returns the program and its verb. Further arguments may be private.
func command() string {
	words := []string{filepath.Base(os.Args[0])}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		words = append(words, os.Args[1])
	}
	return bounded(strings.Join(words, " "), 255)
}
