//go:build cgo && unix

package softhsmtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// childEnv marks a process as one of our children. Only do sets it.
const childEnv = "DCT2NOTATION_SOFTHSMTEST_CHILD"

// order is what a child must do; it is passed as JSON on stdin.
type order struct {
	Verb               string
	Module, Token, PIN string
	Label              string
	Bits               int
	Curve              string
	Value              []byte
	AlwaysAuthenticate bool
}

// init takes over in a child. It runs before main, so that no test starts there.
func init() {
	if os.Getenv(childEnv) == "" {
		return
	}
	var o order
	err := json.NewDecoder(os.Stdin).Decode(&o)
	if err == nil {
		var answer []byte
		if answer, err = o.carryOut(); err == nil {
			os.Stdout.Write(answer)
			os.Exit(0)
		}
	}
	fmt.Fprint(os.Stderr, err)
	os.Exit(1)
}

// do runs a child that carries out the order on this token, and returns its answer.
func (t *Token) do(o order) ([]byte, error) {
	o.Module, o.Token, o.PIN = t.Module, t.Label, t.PIN
	input, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	c := exec.Command(self)
	c.Env = append(append(os.Environ(), t.Env()...), childEnv+"=1",
		"GORACE=atexit_sleep_ms=0") // otherwise a program built with -race sleeps for a second at its end
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}
