//go:build !windows

package cli

import "os"

// obeysEscapes reports whether a terminal interprets escape sequences.
func obeysEscapes(*os.File) bool { return true }
