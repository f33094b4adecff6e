//go:build cgo && unix

package token

import (
	"fmt"
	"os"

	"github.com/miekg/pkcs11"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// load opens and initialises the library at an absolute path. It checks the file first because the loader's own
// errors do not reach us.
func load(path string) (*pkcs11.Ctx, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fault.Invalid("install the token's PKCS#11 library or correct the path of module", "opening PKCS#11 module: %w", err)
	case !info.Mode().IsRegular():
		return nil, fault.Invalid("module is the path of a library", "opening PKCS#11 module %q: it is not a regular file", path)
	case info.Mode().Perm()&0o002 != 0:
		// The library gets the PIN: whoever may write the library can read it.
		return nil, fault.Invalid("chmod o-w the file", "opening PKCS#11 module %q: every user may change it", path)
	}
	module := pkcs11.New(path)
	if module == nil {
		return nil, fault.Invalid("it is no PKCS#11 library for this machine, or a library it needs is missing (see ldd)",
			"opening PKCS#11 module %q: it cannot be loaded", path)
	}
	if err := module.Initialize(); err != nil {
		return nil, fmt.Errorf("initialising PKCS#11 module %q: %w", path, explain(err))
	}
	return module, nil
}
