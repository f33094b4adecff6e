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
	local     bool          // notation's local key in place of the plugin
	published Published
	notary    string // URL
}

// result is what the run said of itself.
type result struct {
	Results map[string]int `json:"results"`
}

// exitEarly is the exit code of a run that ended by its time limit.
const exitEarly = 5

// migrate runs dct2notation to its end. Running it again with the same name is a second
// run on the same ledger.
func (h *home) migrate(ctx context.Context, m migration) (result, usage, error) {
	var r result
	pins, ledger := m.name+".pins.json", m.name+".db"
	err := h.writeJSON(pins, map[string]any{
		"trust_pinning": map[string]any{"certs": m.published.Pins, "disable_tofu": true},
	})
	if err != nil {
		return r, usage{}, err
	}
	args := []string{
		"run", "-o", "json", "--notary-server", m.notary, "--trust-pinning", pins, "--docker-trust", "none",
		"--ca-file", "ca.pem", "--state", ledger, "--workers", fmt.Sprint(m.workers), "--max-duration", m.atMost.String(),
	}
	if m.local {
		args = append(args, "--key", keyID)
	} else {
		args = append(args, "--plugin", "kmstest", "--id", keyID)
	}
	c := exec.Command(h.program("dct2notation"), append(args, m.published.GUNs...)...)
	c.Env, c.Dir = h.env(), h.dir
	var out bytes.Buffer
	c.Stdout = &out
	u, err := metered(ctx, c)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitEarly {
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
