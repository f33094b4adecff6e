//go:build !failpoint

package command

import "github.com/dct2notation/dct2notation/migrate"

func failpoints(*migrate.Engine) {}
