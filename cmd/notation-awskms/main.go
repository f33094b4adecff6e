// Command notation-awskms is a Notation plugin that signs with an asymmetric key of AWS KMS. README.md describes its
// use.
//
// It promises: one Sign request for each generate-signature, never repeated by itself; before signing, it checks that
// the certificate holds the key's public key and that Notation accepts the chain; after signing, it checks that the
// signature verifies with that certificate. It reads credentials only where the AWS SDK looks for them, and nothing
// secret from plugin-config or arguments.
package main

import "github.com/dct2notation/dct2notation/internal/rawplugin"

// version is set by the release build (-ldflags "-X main.version=1.2.3").
var version = "0.1.0"

func main() {
	rawplugin.Plugin{Name: "awskms", Description: "Sign with a key of AWS KMS", Version: version, Open: open}.Main()
}
