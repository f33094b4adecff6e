//go:build !failpoint

package command

import (
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/migrate"
)

func failpoints(*migrate.Engine) {}

func failingRegistry(c *auth.Client) *auth.Client { return c }
