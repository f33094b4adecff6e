//go:build linux && !cgo

package main

import (
	"context"
	"fmt"
	"io"
)

// softHSM says that its part is missing: the plugin for tokens needs a C compiler.
func softHSM(_ context.Context, _, _ string, out io.Writer) error {
	fmt.Fprintf(out, "\nSoftHSM: LEFT OUT: the benchmark was built without a C compiler\n")
	return nil
}
