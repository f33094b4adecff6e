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
	"path/filepath"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/softhsmtest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

const hsmPlugin = "notation-pkcs11"

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
	fmt.Fprintf(out, "\nSoftHSM: beside the loop, %d ms for each request, plugin notation-pkcs11, whose processes take turns\n%s",
		requestLatency.Milliseconds(), pairHead)
	for _, k := range hsmKeys {
		h, err := newHome(filepath.Join(dir, k.name), bin, servers.address, nil)
		if err != nil {
			return err
		}
		public, err := k.make(token, k.name)
		if err != nil {
			return err
		}
		key, err := h.installHSM(ctx, token, k.name, public)
		if err != nil {
			return err
		}
		if err := (stage{remote: servers, home: h, key: key}).measurePairs(ctx, k.name, out); err != nil {
			return fmt.Errorf("with key %s: %w", k.name, err)
		}
	}
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
	if err := h.install(ctx, hsmPlugin); err != nil {
		return nil, err
	}
	return []string{
		"--plugin", "pkcs11", "--id", label, "--plugin-config", "module=" + token.Module, "--plugin-config", "token=" + token.Label,
		"--plugin-config", "ca_certs=" + h.path("chain.pem"), "--plugin-config", "pin_file=" + h.path("pin"),
	}, nil
}
