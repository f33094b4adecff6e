package kmstest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

const (
	// Name is the plugin's name.
	Name = "kmstest"
	// ConfigKey is the plugin-config key that carries the path of the behaviour file.
	ConfigKey = "behaviour"
	// BehaviourFile is the name of the behaviour file beside the executable.
	BehaviourFile = "kmstest.json"

	mainPackage = "github.com/dct2notation/dct2notation/internal/testing/kmstest/notation-kmstest"
)

// A Plugin is an installed kmstest plugin.
type Plugin struct {
	// Path is the executable.
	Path string

	mu    sync.Mutex
	calls string // path of the call log; owned by mu
}

// Install puts the plugin where Notation looks for it, <libexecDir>/plugins/kmstest/notation-kmstest,
// with its behaviour, and resets its counters.
//
// The executable is built once per process with the go command, so the process must run inside this
// module and with the developer's own HOME or GOCACHE; or KMSTEST_BINARY names one built before.
func Install(libexecDir string, b Behaviour) (*Plugin, error) {
	program, err := executable()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Join(libexecDir, "plugins", Name))
	if err != nil {
		return nil, fmt.Errorf("installing plugin %s: %w", Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("installing plugin %s: %w", Name, err)
	}
	p := &Plugin{Path: filepath.Join(dir, "notation-"+Name)}
	if err := writeExecutable(p.Path, program); err != nil {
		return nil, fmt.Errorf("installing plugin %s: %w", Name, err)
	}
	if err := p.Set(b); err != nil {
		return nil, err
	}
	return p, nil
}

// writeExecutable writes a program that can be started at once.
func writeExecutable(path string, content []byte) error {
	// A process that another goroutine starts meanwhile would inherit our descriptor until it executes
	// its own program, and for as long ours is "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755) // whatever the umask
}

// executable is the plugin's program. It is kept in memory, so that no test leaves a file behind.
var executable = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv("KMSTEST_BINARY"); path != "" {
		program, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading KMSTEST_BINARY: %w", err)
		}
		return program, nil
	}
	dir, err := os.MkdirTemp("", "kmstest-")
	if err != nil {
		return nil, fmt.Errorf("building plugin %s: %w", Name, err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notation-"+Name)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, mainPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building plugin %s: %w: %s", Name, err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("building plugin %s: %w", Name, err)
	}
	return program, nil
})

// Config is what to pass as --plugin-config.
func (p *Plugin) Config() map[string]string { return map[string]string{ConfigKey: p.behaviour()} }

// Set changes the behaviour for all plugin processes that start from now on, and resets the counters
// that Fault.Nth and MaxPerSecond look at. The call log is kept.
func (p *Plugin) Set(b Behaviour) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Calls == "" {
		b.Calls = filepath.Join(filepath.Dir(p.Path), "calls.log")
	}
	if err := b.check(); err != nil {
		return fmt.Errorf("setting the behaviour of plugin %s: %w", Name, err)
	}
	err := os.RemoveAll(CountersDir(p.behaviour()))
	if err == nil {
		err = os.Mkdir(CountersDir(p.behaviour()), 0o755)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // a running plugin may have been faster
		return fmt.Errorf("resetting the counters of plugin %s: %w", Name, err)
	}
	if err := b.write(p.behaviour()); err != nil {
		return err
	}
	p.calls = b.Calls
	return nil
}

// Calls returns what the plugin was started for, in the order of the log: one command, or all if it is
// empty. Each process is in it, however it ended.
func (p *Plugin) Calls(command string) ([]Call, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return readCalls(p.calls, command)
}

func (p *Plugin) behaviour() string { return filepath.Join(filepath.Dir(p.Path), BehaviourFile) }

// CountersDir is where the plugin keeps its counters, given the path of its behaviour file.
func CountersDir(behaviour string) string { return behaviour + ".counters" }
