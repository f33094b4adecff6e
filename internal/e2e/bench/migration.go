//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// migration is one call of dct2notation run.
type migration struct {
	name      string // of the publication; its ledger and pins have that name
	workers   int
	atMost    time.Duration // begin nothing new after that; 0: no limit
	key       []string      // what names it
	mayFail   bool          // items that fail are a result, and no error
	published Published
	notary    string // URL
}

// result is what the run said of itself.
type result struct {
	Results map[string]int `json:"results"`
}

// Exit codes of a run that did not sign all.
const (
	exitFailures = 3 // items failed
	exitEarly    = 5 // it ended by its time limit
)

// migrate runs dct2notation to its end. Running it again with the same name is a second
// run on the same ledger.
func (h *home) migrate(ctx context.Context, m migration) (result, usage, error) {
	var r result
	c, err := h.migration(m)
	if err != nil {
		return r, usage{}, err
	}
	var out bytes.Buffer
	c.Stdout = &out
	u, err := metered(ctx, c)
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == exitEarly || m.mayFail && exit.ExitCode() == exitFailures) {
		err = nil
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &r)
	}
	if err != nil {
		return r, u, fmt.Errorf("migrating: %w", err)
	}
	return r, u, nil
}

// migration is the command, ready to be started.
func (h *home) migration(m migration) (*exec.Cmd, error) {
	pins, ledger := m.name+".pins.json", m.name+".db"
	err := h.writeJSON(pins, map[string]any{
		"trust_pinning": map[string]any{"certs": m.published.Pins, "disable_tofu": true},
	})
	if err != nil {
		return nil, err
	}
	args := []string{
		"run", "-o", "json", "--notary-server", m.notary, "--trust-pinning", pins, "--docker-trust", "none",
		"--ca-file", "ca.pem", "--state", ledger, "--workers", fmt.Sprint(m.workers), "--max-duration", m.atMost.String(),
	}
	c := exec.Command(h.program("dct2notation"), append(append(args, m.key...), m.published.GUNs...)...)
	c.Env, c.Dir = h.env(), h.dir
	return c, nil
}
