//go:build unix

// Notation-kmstest is a Notation plugin that signs with keys from files and misbehaves as ordered: see
// package kmstest, which installs it. One process serves one command: the request comes on stdin, the
// answer goes to stdout, or an error to stderr with exit status 1.
//
// A call is logged and counted before anything else, so what was asked of the key is known even if
// the process is killed a moment later.
package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"golang.org/x/sys/unix"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(refuse(os.Stderr, plugin.NewValidationError("no command")))
	}
	if os.Args[1] == holdCommand {
		hold(os.Args[2:])
		return
	}
	os.Exit(serve(os.Args[1], os.Stdin, os.Stdout, os.Stderr))
}

// A job is one command with everything known about it.
type job struct {
	command   string
	request   request
	path      string // of the behaviour file
	behaviour kmstest.Behaviour
	fault     kmstest.Fault // the zero value, whose kind is empty, if nothing goes wrong
}

// serve carries out one command and returns the exit status.
func serve(command string, stdin io.Reader, stdout, stderr io.Writer) int {
	j, err := open(command, stdin)
	if err != nil {
		return refuse(stderr, err)
	}
	throttled, err := j.account()
	if err != nil {
		return refuse(stderr, err)
	}
	if throttled {
		e := refusals[cmp.Or(j.behaviour.Refusal, kmstest.Throttled)]
		return refuse(stderr, &e)
	}
	time.Sleep(time.Duration(j.behaviour.Delay[command]) * time.Millisecond)
	if status, failed := j.fail(stderr); failed {
		return status
	}
	answer, err := j.answer()
	if err != nil {
		return refuse(stderr, err)
	}
	return j.deliver(answer, stdout, stderr)
}

// open reads the request and the behaviour that it names.
func open(command string, stdin io.Reader) (*job, error) {
	j := &job{command: command}
	err := j.request.read(stdin)
	if err != nil {
		return nil, err
	}
	if j.path, err = j.request.behaviourFile(); err != nil {
		return nil, err
	}
	j.behaviour, err = kmstest.ReadBehaviour(j.path)
	return j, err
}

// account counts and logs the call, and finds its fault. It returns true if the call exceeds the rate limit.
func (j *job) account() (throttled bool, err error) {
	count := tally{kmstest.CountersDir(j.path)}
	nth, err := count.next(j.command)
	if err != nil {
		return false, err
	}
	j.fault, _ = j.behaviour.Fault(j.command, nth)
	if j.behaviour.MaxPerSecond > 0 && j.command != string(plugin.CommandGetMetadata) {
		allowed, err := count.allow(j.behaviour.MaxPerSecond)
		if err != nil {
			return false, err
		}
		throttled = !allowed
	}
	return throttled, j.log(throttled)
}

// log adds the call to the call log.
func (j *job) log(throttled bool) error {
	if j.behaviour.Calls == "" {
		return nil
	}
	call := kmstest.Call{Command: j.command, Args: os.Args, KeyID: j.request.KeyID, Fault: j.fault.Kind, UnixNano: time.Now().UnixNano()}
	if throttled {
		call.Fault = kmstest.Throttled
	}
	if len(j.request.Payload) > 0 {
		sum := sha256.Sum256(j.request.Payload)
		call.Payload, call.Proof = hex.EncodeToString(sum[:]), kmstest.IsProof(j.request.Payload)
	}
	return call.Append(j.behaviour.Calls)
}

// refuse answers with an error of the protocol; other errors get the code ERROR.
func refuse(stderr io.Writer, err error) int {
	var coded *plugin.Error
	if !errors.As(err, &coded) {
		coded = plugin.NewGenericError(err.Error())
	}
	io.WriteString(stderr, coded.Error())
	return 1
}

// A request has the fields of all requests; a command uses its own.
type request struct {
	ContractVersion         string            `json:"contractVersion"`
	KeyID                   string            `json:"keyId"`
	Payload                 []byte            `json:"payload"`
	PayloadType             string            `json:"payloadType"`
	SignatureEnvelopeType   string            `json:"signatureEnvelopeType"`
	ExpiryDurationInSeconds uint64            `json:"expiryDurationInSeconds"`
	PluginConfig            map[string]string `json:"pluginConfig"`

	Signature   plugin.Signature   `json:"signature"`
	TrustPolicy plugin.TrustPolicy `json:"trustPolicy"`
}

func (r *request) read(stdin io.Reader) error {
	content, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if err := json.Unmarshal(content, r); err != nil {
		return plugin.NewJSONParsingError(plugin.ErrorMsgMalformedInput)
	}
	if r.ContractVersion != "" && r.ContractVersion != plugin.ContractVersion {
		return plugin.NewUnsupportedContractVersionError(r.ContractVersion)
	}
	return nil
}

// behaviourFile returns the file that the request names, or else the one beside the executable.
func (r *request) behaviourFile() (string, error) {
	if path := r.PluginConfig[kmstest.ConfigKey]; path != "" {
		return path, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for the behaviour file: %w", err)
	}
	return filepath.Join(filepath.Dir(program), kmstest.BehaviourFile), nil
}

// tally counts over all plugin processes, in files of one folder with a lock each. The count is the length of a file,
// so that a process killed half-way leaves it valid.
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

// allow applies a limit of perSecond calls. It returns false if this call exceeds the limit; then it is not counted.
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

// open opens a file and waits for its lock, which is released with the file or the process.
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
