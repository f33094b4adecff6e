//go:build linux

package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// trustOwnKey writes notation's trust store and policy, by which both contestants verify.
func (h *home) trustOwnKey() error {
	id, err := h.key.Load()
	if err != nil {
		return err
	}
	root := id.Chain[len(id.Chain)-1]
	store := filepath.Join("notation", "truststore", "x509", "ca", "bench", "root.pem")
	if err := h.write(store, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})); err != nil {
		return err
	}
	return h.writeJSON(filepath.Join("notation", "trustpolicy.json"), map[string]any{"version": "1.0", "trustPolicies": []any{map[string]any{
		"name": "bench", "registryScopes": []string{"*"}, "signatureVerification": map[string]string{"level": "strict"},
		"trustStores": []string{"ca:bench"}, "trustedIdentities": []string{"*"},
	}}})
}

// verifying is one call of dct2notation verify.
type verifying struct {
	published Published
	guns      []string // of them
	tags      int      // that they have, on all of which the sides have to agree
	workers   int
	readers   int // repositories whose trust data is read at a time; 0: as the program has it
}

// verify runs dct2notation to its end. What it says goes to a file: of many tags it is
// much, and would count as our memory.
func (h *home) verify(ctx context.Context, notary string, v verifying) (u usage, err error) {
	if err := h.writeJSON("pins.json", map[string]any{
		"trust_pinning": map[string]any{"certs": v.published.Pins, "disable_tofu": true},
	}); err != nil {
		return u, err
	}
	args := []string{
		"verify", "-o", "json", "--notary-server", notary, "--trust-pinning", "pins.json", "--docker-trust", "none",
		"--ca-file", "ca.pem", "--workers", fmt.Sprint(v.workers),
	}
	if v.readers > 0 {
		args = append(args, "--notary-concurrency", fmt.Sprint(v.readers))
	}
	out, err := os.Create(h.path("verified.json"))
	if err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c := exec.Command(h.program("dct2notation"), append(args, v.guns...)...)
	c.Env, c.Dir, c.Stdout = h.env(), h.dir, out
	if u, err = metered(ctx, c); err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	if _, err := out.Seek(0, 0); err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	var said struct {
		Totals map[string]int `json:"totals"`
		Agree  bool           `json:"agree"`
	}
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	if !said.Agree || said.Totals["agree"] != v.tags {
		return u, fmt.Errorf("verifying: the sides should agree on %d tags, and it says %v", v.tags, said.Totals)
	}
	return u, nil
}

// verifyEach verifies with the notation command, once for each image. That one fails is an
// error.
func (h *home) verifyEach(ctx context.Context, workers int, references []string) (usage, error) {
	return h.each(ctx, workers, []string{"verify"}, references)
}
