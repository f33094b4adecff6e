//go:build !failpoint

package session

import (
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/migrate"
)

// Failpoints lets crash tests stop the engine; in this build it does nothing.
func Failpoints(*migrate.Engine) {}

func failingRegistry(c *auth.Client) *auth.Client { return c }
