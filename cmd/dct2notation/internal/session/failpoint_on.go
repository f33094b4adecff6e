//go:build failpoint

package session

import (
	"os"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/migrate"
)

// Failpoints lets tests break the engine's promises, or crash it, through the environment. Only binaries built with
// the tag failpoint contain it.
func Failpoints(e *migrate.Engine) {
	if os.Getenv("DCT2NOTATION_TEST_SIGN_BEFORE_RECORD") != "" {
		e.SignBeforeRecord()
	}
	e.Ledger = crashingLedger{e.Ledger}
	for i, k := range e.Keys {
		e.Keys[i].Signer = crashingSigner{k.Signer}
	}
}

// failingRegistry does the same for pushes.
func failingRegistry(c *auth.Client) *auth.Client {
	c.Client.Transport = crashingPushes{c.Client.Transport}
	return c
}
