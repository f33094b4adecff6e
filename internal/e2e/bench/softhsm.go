//go:build linux && cgo

package main

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/softhsmtest"
)

func softHSM(ctx context.Context, w *world) {
	token, err := softhsmtest.New(w.dir)
	if errors.Is(err, softhsmtest.ErrNotInstalled) {
		w.note("LEFT OUT: %v", err)
		return
	}
	if w.fail(err) {
		return
	}
	for _, label := range []string{"ec-256", "rsa-3072"} {
		public, err := generate(token, label)
		if w.fail(err) {
			return
		}
		h := w.newHome(label, nil)
		h.extra = token.Env()
		h.install(ctx, "notation-pkcs11", public)
		w.fail(h.write("pin", []byte(token.PIN)))
		pairs(ctx, h, label, []string{
			"--plugin", "pkcs11", "--id", label, "--plugin-config", "module=" + token.Module, "--plugin-config", "token=" + token.Label,
			"--plugin-config", "ca_certs=" + h.path("chain.pem"), "--plugin-config", "pin_file=" + h.path("pin"),
		})
	}
}

func generate(token *softhsmtest.Token, label string) (crypto.PublicKey, error) {
	if label == "ec-256" {
		return token.GenerateEC(label, elliptic.P256())
	}
	return token.GenerateRSA(label, 3072)
}
