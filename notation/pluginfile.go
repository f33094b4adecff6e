package notation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// findPlugin locates a plugin, where notation keeps it unless a path is given, and checks
// that it is a plain file that nobody but this user and root can change or replace:
// whoever could would choose what holds the key's credentials.
func findPlugin(name, path string) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\\:`) {
		return "", &Error{Permanent, fmt.Errorf("plugin %s: that is no name of a plugin", safetext.Safe(name, 64)), "--plugin takes a name as notation plugin list shows it; --plugin-path takes a file"}
	}
	if path == "" {
		var err error
		if path, err = dir.PluginFS().SysPath(name, binaryName(name)); err != nil {
			return "", err
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return "", noPlugin(name, err)
	}
	if !info.Mode().IsRegular() {
		return "", noPlugin(name, fmt.Errorf("%s is not a regular file", safetext.Safe(path, 512)))
	}
	folder := filepath.Dir(path)
	around, err := os.Stat(folder)
	if err != nil {
		return "", noPlugin(name, err)
	}
	for _, one := range []struct {
		path string
		info os.FileInfo
	}{{path, info}, {folder, around}} {
		if why, hint := alterable(one.info, os.Geteuid()); why != "" {
			return "", &Error{Permanent, fmt.Errorf("plugin %s: %s %s", safetext.Safe(name, 64), safetext.Safe(one.path, 512), why), hint + " " + safetext.Safe(one.path, 512)}
		}
	}
	return path, nil
}

// checkSum returns an error unless the plugin's file has the SHA-256, in hex.
func checkSum(name, path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return noPlugin(name, err)
	}
	defer func() { _ = f.Close() }() // only read from
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return noPlugin(name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return &Error{Security, fmt.Errorf("plugin %s: its SHA-256 is %s, and %s is configured", safetext.Safe(name, 64), got, safetext.Safe(want, 80)), ""}
	}
	return nil
}

func noPlugin(name string, err error) error {
	return &Error{Permanent, fmt.Errorf("finding plugin %s: %w", safetext.Safe(name, 64), err),
		"install it with notation plugin install, or set NOTATION_LIBEXEC to the folder that holds plugins/"}
}
