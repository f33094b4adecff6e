//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// refusals are the answers of the kinds that answer with an error of the protocol.
var refusals = map[kmstest.Kind]plugin.Error{
	kmstest.Throttled:      {ErrCode: plugin.ErrorCodeThrottled, Message: "request rate too high"},
	kmstest.ThrottledAzure: {ErrCode: "Throttled", Message: "Request was not processed because too many requests were received."},
	kmstest.ThrottledText:  {ErrCode: plugin.ErrorCodeGeneric, Message: "Error making API request. Code: 429. Errors: * request rejected"},
	kmstest.AccessDenied:   {ErrCode: plugin.ErrorCodeAccessDenied, Message: "the caller may not use this key"},
	kmstest.TimeoutCode:    {ErrCode: plugin.ErrorCodeTimeout, Message: "the key service did not answer in time"},
	kmstest.Validation:     {ErrCode: plugin.ErrorCodeValidation, Message: "the request is not valid"},
	kmstest.GenericError:   {ErrCode: plugin.ErrorCodeGeneric, Message: "something went wrong"},
}

const panicText = `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a1b2c]

goroutine 1 [running]:
main.main()
`

// fail carries out the faults that leave no answer. It returns false if there is one to give.
func (j *job) fail(stderr io.Writer) (status int, failed bool) {
	if e, ok := refusals[j.fault.Kind]; ok {
		e.Message = j.text(e.Message)
		return refuse(stderr, &e), true
	}
	switch j.fault.Kind {
	case kmstest.EchoRequest:
		fmt.Fprintf(stderr, "forbidden: could not do %v with %q\n", j.request.PluginConfig, os.Getenv("AZURE_CLIENT_SECRET"))
		return 1, true
	case kmstest.PlainTextStderr:
		fmt.Fprintln(stderr, j.text("kmstest: could not reach the key service"))
		return 1, true
	case kmstest.PanicText:
		io.WriteString(stderr, j.text(panicText))
		return 2, true
	case kmstest.EmptyStderr:
		return 3, true
	case kmstest.LogLineThenJSON:
		fmt.Fprintln(stderr, "2026/01/02 03:04:05 WARN retrying the key service")
		e := plugin.NewError(plugin.ErrorCodeThrottled, j.text("request rate too high"))
		return refuse(stderr, e), true
	case kmstest.HangIgnoreTerm:
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		return j.hang(stderr), true
	case kmstest.Hang:
		return j.hang(stderr), true
	case kmstest.ChildHoldsAndHangs:
		if err := j.spawnHolder(false); err != nil {
			return refuse(stderr, err), true
		}
		return j.hang(stderr), true
	}
	return 0, false
}

// deliver writes the answer in the way that the fault requires.
func (j *job) deliver(answer []byte, stdout, stderr io.Writer) int {
	var err error
	status := 0
	switch j.fault.Kind {
	case kmstest.ColdStart:
		io.WriteString(stderr, j.text("WARNING: globalization is invariant\n2026/01/02 03:04:05 INFO looking for credentials\n"))
		j.linger()
	case kmstest.Slow:
		j.linger()
	case kmstest.ChildHoldsStdout, kmstest.SetsidDaemon:
		err = j.spawnHolder(j.fault.Kind == kmstest.SetsidDaemon)
	case kmstest.GarbageStdout:
		answer = []byte("\x00\xff not { JSON \x1b[31m")
	case kmstest.EmptyStdout:
		answer = nil
	case kmstest.TruncatedJSON:
		answer = answer[:len(answer)/2]
	case kmstest.DuplicateJSONKeys:
		answer, err = duplicateFirst(answer)
	case kmstest.ExitOneValidStdout:
		status = 1
	case kmstest.HugeStdout:
		return huge(stdout)
	}
	if err != nil {
		return refuse(stderr, err)
	}
	if _, err := stdout.Write(answer); err != nil {
		return refuse(stderr, fmt.Errorf("writing the answer: %w", err))
	}
	return status
}

// text returns the fault's own text, or the usual one.
func (j *job) text(usual string) string {
	if j.fault.Text != "" {
		return j.fault.Text
	}
	return usual
}

// duplicateFirst inserts a copy of an object's first field before it, with the value null. Most readers keep the last
// of two and notice nothing.
func duplicateFirst(object []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("duplicating a field: %w", err)
	}
	field, err := decoder.Token()
	if err != nil {
		return nil, fmt.Errorf("duplicating a field: %w", err)
	}
	return append([]byte(fmt.Sprintf("{%q:null,", field)), object[1:]...), nil
}

// huge writes 300 MB that begin like JSON, or as much of it as is read.
func huge(stdout io.Writer) int {
	io.WriteString(stdout, `{"keyId":"`)
	block := bytes.Repeat([]byte("A"), 1_000_000)
	for range 300 {
		if _, err := stdout.Write(block); err != nil {
			return 1
		}
	}
	io.WriteString(stdout, `"}`)
	return 0
}

// holdCommand is the argument that makes this program a child that only holds the pipe.
const holdCommand = "hold-stdout"

// linger waits as long as the fault says, or until the behaviour file is gone, which means that the test is over.
func (j *job) linger() { wait(j.path, j.lasting()) }

func (j *job) lasting() time.Duration {
	if j.fault.Ms > 0 {
		return time.Duration(j.fault.Ms) * time.Millisecond
	}
	return time.Minute
}

func wait(while string, atMost time.Duration) {
	const look = 50 * time.Millisecond
	for end := time.Now().Add(atMost); time.Now().Before(end); {
		if _, err := os.Stat(while); err != nil {
			return
		}
		time.Sleep(min(look, time.Until(end)))
	}
}

func (j *job) hang(stderr io.Writer) int {
	j.linger()
	return refuse(stderr, fmt.Errorf("hung for %v and gave up", j.lasting()))
}

// spawnHolder starts a child that keeps our stdout open; in a session of its own it survives the
// killing of our process group.
func (j *job) spawnHolder(ownSession bool) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting a child: %w", err)
	}
	child := exec.Command(program, holdCommand, j.path, strconv.FormatInt(j.lasting().Milliseconds(), 10))
	child.Stdout = os.Stdout
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: ownSession}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting a child: %w", err)
	}
	return nil
}

// hold is the child: it holds its stdout for the given time.
func hold(args []string) {
	if len(args) != 2 {
		return
	}
	ms, err := strconv.Atoi(args[1])
	if err != nil {
		return
	}
	wait(args[0], time.Duration(ms)*time.Millisecond)
}
