//go:build !cgo || !unix

// Command notation-pkcs11, built without cgo or for a system other than Unix, only says that it cannot work: PKCS#11
// modules are C libraries.
package main

import (
	"fmt"
	"os"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

func main() {
	// In the protocol's form, so that Notation shows it instead of "malformed".
	fmt.Fprintln(os.Stderr, plugin.NewGenericError(
		"this notation-pkcs11 was built without PKCS#11 support\n"+
			"hint: build it with CGO_ENABLED=1 and a C compiler, on Linux, macOS or a BSD").Error())
	os.Exit(1)
}
