//go:build linux && !cgo

package main

import "context"

// softHSM reports that its part is missing: the plugin for tokens needs a C compiler.
func softHSM(_ context.Context, w *world) {
	w.note("LEFT OUT: the benchmark was built without a C compiler")
}
