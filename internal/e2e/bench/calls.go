//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// What the key costs, in milliseconds.
const (
	describeKey       = "describe-key"
	generateSignature = "generate-signature"

	describeDelay = 40
	signDelay     = 60
)

// allows is how many signatures per second so many key operations in flight can give.
func allows(workers int) float64 { return float64(workers) * 1000 / signDelay }

// keyUse is what was asked of the plugin during one measurement.
type keyUse struct {
	processes  int
	operations int     // signatures made
	rate       float64 // operations per second between the second and the last; 0: too few
}

// useOf reads the call log from one line on. The first operation is left out of the rate:
// dct2notation spends it before it begins, to see the key's certificate.
func useOf(calls []kmstest.Call, from int) keyUse {
	calls = calls[from:]
	u := keyUse{processes: len(calls)}
	var first, last time.Time
	for _, c := range calls {
		if c.Command != generateSignature {
			continue
		}
		if u.operations++; u.operations == 2 {
			first = c.At()
		}
		last = c.At()
	}
	if u.operations > 2 && last.After(first) {
		u.rate = float64(u.operations-2) / last.Sub(first).Seconds()
	}
	return u
}

// operationTime is how long one key operation takes that nothing else disturbs, from the
// start of the plugin's process to its end: no caller of plugins can be faster. It is the
// mean of a few.
func (h *home) operationTime(ctx context.Context) (time.Duration, error) {
	const times = 10
	request, err := json.Marshal(plugin.GenerateSignatureRequest{
		ContractVersion: plugin.ContractVersion, KeyID: keyID, KeySpec: plugin.KeySpecEC256,
		Hash: plugin.HashAlgorithmSHA256, Payload: []byte("a payload"),
	})
	if err != nil {
		return 0, fmt.Errorf("asking the plugin for a signature: %w", err)
	}
	var total time.Duration
	for range times {
		c := exec.Command(h.plugin.Path, generateSignature)
		c.Env, c.Stdin = h.env(), bytes.NewReader(request)
		u, err := metered(ctx, c)
		if err != nil {
			return 0, fmt.Errorf("asking the plugin for a signature: %w", err)
		}
		total += u.wall
	}
	return total / times, nil
}
