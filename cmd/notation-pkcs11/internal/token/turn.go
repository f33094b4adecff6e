//go:build cgo && unix

package token

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"golang.org/x/sys/unix"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// turnWait is how long a process waits for its turn. A turn takes about 20 ms.
const turnWait = time.Minute

// takeTurn serialises processes that use SoftHSM, and returns the lock to close after the session; nil for other
// modules, which need none.
//
// SoftHSM 2.6 rewrites the token's file at each login, and a process that reads it meanwhile sees no token, or one
// without a PIN: with 8 plugins at once 118 of 320 signatures failed, in ways that look like a wrong configuration.
// Real HSMs keep their sessions apart.
func takeTurn(module string, getenv func(string) string) (*os.File, error) {
	if !strings.Contains(strings.ToLower(filepath.Base(module)), "softhsm") {
		return nil, nil
	}
	// The lock is on a file that exists and is only read: nothing to create, nothing to clean up, and the kernel
	// releases it when a process is killed.
	path := getenv("SOFTHSM2_CONF")
	if path == "" {
		path = module
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // SoftHSM says what is wrong with its configuration
	}
	if err != nil {
		return nil, fault.Invalid("let the plugin read the file", "waiting for the token: %w", err)
	}
	if err := lock(f, turnWait); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lock takes the exclusive lock on the file or gives up after a while. It polls instead of blocking, so that giving
// up leaves nothing behind.
func lock(f *os.File, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(3 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("locking %q: %w", f.Name(), err)
		case time.Now().After(end):
			return &fault.Fault{
				Code:  plugin.ErrorCodeThrottled,
				Hint:  "see which other process holds the lock (lslocks)",
				Cause: fmt.Errorf("waiting for the token: %q was locked for more than %s", f.Name(), wait),
			}
		}
	}
}
