// Package kmstest stands in for a key management service: it installs "kmstest", a real Notation
// plugin whose every misbehaviour can be ordered.
//
//	id, _ := authority.Issue("release key", nil) // of package pki
//	key, _ := id.Save(dir, "release")
//	p, _ := kmstest.Install(libexec, kmstest.Behaviour{Keys: map[string]pki.Files{"release": key}})
//	... sign with --plugin kmstest --id release and p.Config() as --plugin-config ...
//	calls, _ := p.Calls("generate-signature")
//
// The plugin is a separate program (folder notation-kmstest) that speaks the protocol by hand, since a
// well-behaved framework cannot misbehave. It is told what to do by a Behaviour in a JSON file. The
// file's path comes with each request as plugin-config "behaviour"; without that, the plugin reads
// kmstest.json beside its executable, where Install puts it, so both are the same file.
//
// Counting is over all processes of one installation and survives kill -9. Everything that lingers by
// order (hangs, children that hold a pipe) ends by itself, at the latest when the behaviour file is
// deleted, as at the end of a test that installed into its temporary directory.
//
// All functions and methods may be called from several goroutines at once. Nothing here takes a
// testing.TB: the demo and benchmarks use it too.
package kmstest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// Name is the plugin's name.
	Name = "kmstest"
	// ConfigKey is the plugin-config key for the path of the behaviour file.
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

// Install installs the plugin where Notation looks for it, <libexecDir>/plugins/kmstest/notation-kmstest, with its
// behaviour, and resets its counters.
//
// The executable is built once per process with the go command, so the process must run inside this module and with
// the developer's own HOME or GOCACHE; or KMSTEST_BINARY names an existing one.
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
	// A process that another goroutine starts meanwhile would inherit our descriptor until it executes its own
	// program, and until then ours is "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755) // whatever the umask
}

// executable returns the plugin's program. It is kept in memory, so that no test leaves a file behind.
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

// Config returns what to pass as --plugin-config.
func (p *Plugin) Config() map[string]string { return map[string]string{ConfigKey: p.behaviour()} }

// Set changes the behaviour for all plugin processes that start from now on, and resets the counters for Fault.Nth
// and MaxPerSecond. The call log is kept.
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

// Calls returns the plugin's calls for one command, or all if command is empty, in the order of the log. It includes
// every process, however it ended.
func (p *Plugin) Calls(command string) ([]Call, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return readCalls(p.calls, command)
}

func (p *Plugin) behaviour() string { return filepath.Join(filepath.Dir(p.Path), BehaviourFile) }

// CountersDir returns where the plugin keeps its counters, given the path of its behaviour file.
func CountersDir(behaviour string) string { return behaviour + ".counters" }

// LeavesDir returns where the plugin keeps renewed certificates, given the path of its behaviour file.
func LeavesDir(behaviour string) string { return behaviour + ".leaves" }

// A Call is a line of the call log: a command that the plugin was started for, logged before it was carried out.
type Call struct {
	Command string `json:"command"`
	// Args is the command line.
	Args  []string `json:"args,omitempty"`
	KeyID string   `json:"keyId,omitempty"`
	// Payload is the hex SHA-256 of the bytes to sign; empty for commands without a payload.
	Payload string `json:"payload,omitempty"`
	// Proof is set if those bytes are not for an image: dct2notation asked which certificate the key has.
	Proof bool `json:"proof,omitempty"`
	// Fault is what went wrong on purpose: throttled includes calls over the rate limit. Empty: nothing.
	Fault Kind `json:"fault,omitempty"`
	// UnixNano is when.
	UnixNano int64 `json:"unixNano"`
}

// At returns the time of the call.
func (c Call) At() time.Time { return time.Unix(0, c.UnixNano) }

// proofType is the media type of the content of a proof.
const proofType = "application/vnd.dct2notation.proof"

// IsProof reports whether bytes to sign are those of a proof: the payload itself, COSE's structure around it, or
// JWS's parts in base64.
func IsProof(payload []byte) bool {
	if bytes.Contains(payload, []byte(proofType)) {
		return true
	}
	for part := range bytes.SplitSeq(payload, []byte(".")) {
		plain, err := base64.RawURLEncoding.DecodeString(string(part))
		if err == nil && bytes.Contains(plain, []byte(proofType)) {
			return true
		}
	}
	return false
}

// Append adds the call to the log with a single write, so that lines of plugins that run, or are killed, at the same
// time do not mix.
func (c Call) Append(path string) error {
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a call: %w", err)
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the call log: %w", err)
	}
	_, err = log.Write(append(line, '\n'))
	if closing := log.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("writing the call log: %w", err)
	}
	return nil
}

// readCalls returns the calls of one command, or all if it is empty. Without a log there are no calls.
func readCalls(path, command string) ([]Call, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the call log: %w", err)
	}
	var calls []Call
	for line := range bytes.Lines(content) {
		var c Call
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("reading the call log %s: %w", path, err)
		}
		if command == "" || c.Command == command {
			calls = append(calls, c)
		}
	}
	return calls, nil
}
