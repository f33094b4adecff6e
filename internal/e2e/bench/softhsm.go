//go:build linux && cgo

package main

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/softhsmtest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

const (
	hsmPlugin = "notation-pkcs11"
	hsmLoop   = 100 // images for the loop
	hsmOurs   = 400 // images for dct2notation
)

// softHSM measures both with keys on a SoftHSM token and request latency, through the
// same plugin.
func softHSM(ctx context.Context, bin, dir string, out io.Writer) (err error) {
	dir = filepath.Join(dir, "softhsm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	token, err := softhsmtest.New(dir)
	if errors.Is(err, softhsmtest.ErrNotInstalled) {
		fmt.Fprintf(out, "\nSoftHSM: LEFT OUT: %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	servers, err := startRemote(requestLatency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	fmt.Fprintf(out, "\nSoftHSM: beside the loop, %d workers, %d ms for each request, plugin notation-pkcs11, whose processes take turns\n%s",
		aimWorkers, requestLatency.Milliseconds(), pairHead)
	var rows []row
	for _, k := range hsmKeys {
		r, err := measureHSM(ctx, servers, token, bin, dir, k)
		if err != nil {
			return fmt.Errorf("with key %s: %w", k.name, err)
		}
		printPair(out, k.name, r)
		rows = append(rows, r)
	}
	printDisturbed(out, rows)
	return nil
}

type hsmKey struct {
	name string
	make func(*softhsmtest.Token, string) (crypto.PublicKey, error)
}

var hsmKeys = []hsmKey{
	{"ec-256", func(t *softhsmtest.Token, label string) (crypto.PublicKey, error) {
		return t.GenerateEC(label, elliptic.P256())
	}},
	{"rsa-3072", func(t *softhsmtest.Token, label string) (crypto.PublicKey, error) { return t.GenerateRSA(label, 3072) }},
}

func measureHSM(ctx context.Context, servers *remote, token *softhsmtest.Token, bin, dir string, k hsmKey) (r row, err error) {
	h, err := newHome(filepath.Join(dir, k.name), bin, servers.address, nil)
	if err != nil {
		return r, err
	}
	public, err := k.make(token, k.name)
	if err != nil {
		return r, err
	}
	key, err := h.installHSM(ctx, token, k.name, public)
	if err != nil {
		return r, err
	}
	s := stage{servers, h, key}
	r.workers = aimWorkers
	if r.loop, err = s.measureLoop(ctx, k.name+"-loop", aimWorkers, hsmLoop); err != nil {
		return r, err
	}
	r.ours, err = s.measureOurs(ctx, k.name+"-ours", aimWorkers, hsmOurs)
	return r, err
}

// installHSM installs the plugin as a user does and returns what names the token's key.
func (h *home) installHSM(ctx context.Context, token *softhsmtest.Token, label string, public crypto.PublicKey) ([]string, error) {
	h.extra = token.Env()
	authority, err := pki.NewAuthority("bench root")
	if err != nil {
		return nil, err
	}
	id, err := authority.Issue("bench token key", pki.Public(public))
	if err != nil {
		return nil, err
	}
	if err := h.write("chain.pem", id.ChainPEM()); err != nil {
		return nil, err
	}
	if err := h.write("pin", []byte(token.PIN)); err != nil {
		return nil, err
	}
	install := exec.CommandContext(ctx, h.program("notation"), "plugin", "install", "--file", h.program(hsmPlugin))
	install.Env, install.Dir = h.env(), h.dir
	if said, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("installing %s: %w\n%s", hsmPlugin, err, tail(string(said)))
	}
	return []string{
		"--plugin", "pkcs11", "--id", label, "--plugin-config", "module=" + token.Module, "--plugin-config", "token=" + token.Label,
		"--plugin-config", "ca_certs=" + h.path("chain.pem"), "--plugin-config", "pin_file=" + h.path("pin"),
	}, nil
}
