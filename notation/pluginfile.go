package notation

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// pluginFile says which file is a plugin's.
type pluginFile struct {
	name  string // the plugin's
	given string // the configured path; empty: notation's place
	sum   string // required SHA-256, in hex; empty: any
}

// ready finds the file, checks it and returns the path to start. It is called before each start, since a run takes
// days and plugins are upgraded. find makes sure that between the check and the start only this user and root could
// replace the file.
func (f pluginFile) ready() (path string, err error) {
	if path, err = f.find(); err != nil || f.sum == "" {
		return path, err
	}
	return path, f.checkSum(path)
}

// find returns the absolute path of the file, without symbolic links: what is checked is what is started, and PATH is
// not searched. It checks that the file is a plain one and that only this user and root can change or replace it or
// any folder above it: anyone else who could would choose the program that holds the key's credentials.
func (f pluginFile) find() (path string, err error) {
	if err := checkPluginName(f.name); err != nil {
		return "", err
	}
	if f.given != "" {
		if info, err := os.Stat(f.given); err != nil || !info.Mode().IsRegular() {
			return "", fileError{failure.WithHint(failure.Permanent, fmt.Errorf("finding plugin %s: %w", shown(f.name), cmp.Or(err, errNoFile(f.given))), "check --plugin-path; or FILE in --verification-plugin NAME=FILE")}
		}
	}
	if path = f.given; path == "" {
		if path, err = dir.PluginFS().SysPath(f.name, binaryName(f.name)); err != nil {
			return "", err
		}
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", noPlugin(f.name, err)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", noPlugin(f.name, err)
	}
	path = filepath.Join(folder, filepath.Base(path))
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return "", noPlugin(f.name, err)
		}
		if at == path && !info.Mode().IsRegular() {
			return "", noPlugin(f.name, errNoFile(path))
		}
		if why, hint := alterable(info, os.Geteuid()); why != "" {
			return "", failure.WithHint(failure.Permanent, fmt.Errorf("plugin %s: %s %s", shown(f.name), safetext.Safe(at, 512), why), hint+" "+safetext.Safe(at, 512))
		}
		if at == filepath.Dir(at) {
			return path, nil
		}
	}
}

// checkSum returns an error unless the file has the configured SHA-256.
func (f pluginFile) checkSum(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return noPlugin(f.name, err)
	}
	defer func() { _ = file.Close() }() // only read from
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return noPlugin(f.name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, strings.TrimPrefix(f.sum, "sha256:")) {
		return failure.New(failure.Security, fmt.Errorf("plugin %s: its SHA-256 is %s, and %s is configured", shown(f.name), got, safetext.Safe(f.sum, 80)))
	}
	return nil
}

func noPlugin(name string, err error) error {
	return failure.WithHint(failure.Permanent, fmt.Errorf("finding plugin %s: %w", shown(name), err), "install it with notation plugin install, or set NOTATION_LIBEXEC to the folder that holds plugins/")
}

func errNoFile(path string) error {
	return fmt.Errorf("%s is not a regular file", safetext.Safe(path, 512))
}
