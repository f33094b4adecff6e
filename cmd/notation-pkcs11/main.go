//go:build cgo && unix

// Command notation-pkcs11 is a Notation plugin that signs with a key on a PKCS#11 token: an HSM, a smart card,
// SoftHSM. README.md describes its use.
//
// It promises: one key operation for each generate-signature; exactly one key and one token match the request, or
// nothing is signed; the certificate is the key's own and Notation accepts its chain, both checked before the
// operation; the signature verifies with that certificate, checked after it; the PIN comes from the environment or a
// private file and appears in no output.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := keepModuleQuiet(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pkcs11(os.Getenv).Main()
}
