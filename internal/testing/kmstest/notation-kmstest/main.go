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
	"encoding/hex"
	"errors"
	"io"
	"os"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

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

// serve does one command and returns the exit status.
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

// open reads the request and the behaviour it asks for.
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

// account counts and logs the call, and finds the fault it is due. True means that it is one too many
// for this second.
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

// log puts the call into the call log.
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
