// Package pin finds the token's PIN: in an environment variable or in a private
// file, never in an argument or a configuration value, because both are shown
// (ps, notation key list, debug logs).
package pin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// DefaultEnv is the variable that is read if the configuration names no other.
const DefaultEnv = "NOTATION_PKCS11_PIN"

// maxFile limits the size of a PIN file: a longer one is not a PIN file.
const maxFile = 1 << 10

// A PIN prints as a placeholder however it is formatted.
type PIN struct{ value string }

// Reveal returns the PIN for C_Login, its only use.
func (p PIN) Reveal() string { return p.value }

func (PIN) String() string { return "[PIN]" }

// GoString is what %#v prints.
func (PIN) GoString() string { return "[PIN]" }

// Of makes a PIN from text.
func Of(text string) PIN { return PIN{text} }

// Source says where to find the PIN. File is tried first; Env is the name of a variable, or empty for DefaultEnv.
type Source struct {
	File string
	Env  string
}

// Read returns the PIN. It returns false if none was configured and DefaultEnv
// is unset: a token may need none, or have its own keypad. A source that was
// named but holds no PIN is an error.
func (s Source) Read(getenv func(string) string) (PIN, bool, error) {
	if s.File != "" {
		p, err := readFile(s.File)
		if err != nil {
			return PIN{}, false, fmt.Errorf("reading pin_file %q: %w", s.File, err)
		}
		return p, true, nil
	}
	name := s.Env
	if name == "" {
		name = DefaultEnv
	}
	if v := getenv(name); v != "" {
		return Of(v), true, nil
	}
	if s.Env != "" {
		return PIN{}, false, fault.Denied(
			"set the variable; programs that run plugins may also have to be told to pass it on",
			"environment variable %q (pin_env) holds no PIN", s.Env)
	}
	return PIN{}, false, nil
}

// readFile checks the file that it opened, not the path, so that it cannot be exchanged in between. Symbolic links
// are followed: Kubernetes mounts secrets as links. O_NONBLOCK keeps a pipe from blocking the open.
func readFile(path string) (PIN, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return PIN{}, fault.Invalid("pin_file is the path of a file that holds the PIN and nothing else", "%w", unpath(err))
	}
	defer f.Close()
	if err := private(f); err != nil {
		return PIN{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return PIN{}, unpath(err)
	}
	if len(text) > maxFile {
		return PIN{}, fault.Invalid("pin_file holds the PIN and nothing else", "it is longer than %d bytes", maxFile)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		return PIN{}, fault.Denied("write the PIN into it", "it is empty")
	}
	if bytes.ContainsAny(text, "\r\n\x00") {
		return PIN{}, fault.Invalid("pin_file holds the PIN and nothing else", "it has more than one line")
	}
	return Of(string(text)), nil
}

func private(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return unpath(err)
	}
	if !info.Mode().IsRegular() {
		return fault.Invalid("", "it is not a regular file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fault.Invalid("chmod 600 (or 400) the file", "its mode %04o lets other users at the PIN", perm)
	}
	return nil
}

// unpath removes the path from an error: the caller names the file once.
func unpath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
