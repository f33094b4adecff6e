//go:build unix

package pin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

func noEnv(string) string { return "" }

// file writes a PIN file with exactly that mode, whatever the umask.
func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileHoldsThePIN(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1234": "1234", "1234\n": "1234", "1234\r\n": "1234", " 12 34 ": " 12 34 ",
	} {
		for _, mode := range []os.FileMode{0o600, 0o400} {
			got, ok, err := Source{File: file(t, text, mode)}.Read(noEnv)
			if err != nil || !ok || got.Reveal() != want {
				t.Errorf("%q, mode %o: got %q, %v, error %v, want %q", text, mode, got.Reveal(), ok, err, want)
			}
		}
	}
}

func TestFileIsRefused(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, want string
		code       plugin.ErrorCode
	}{
		"group may read":   {file(t, "s3cr3t", 0o640), "0640", plugin.ErrorCodeValidation},
		"others may read":  {file(t, "s3cr3t", 0o604), "0604", plugin.ErrorCodeValidation},
		"others may write": {file(t, "s3cr3t", 0o602), "0602", plugin.ErrorCodeValidation},
		"a directory":      {t.TempDir(), "regular", plugin.ErrorCodeValidation},
		"a pipe":           {fifo, "regular", plugin.ErrorCodeValidation},
		"missing":          {filepath.Join(t.TempDir(), "none"), "no such file", plugin.ErrorCodeValidation},
		"empty":            {file(t, "\n", 0o600), "empty", plugin.ErrorCodeAccessDenied},
		"two lines":        {file(t, "s3cr3t\nmore", 0o600), "one line", plugin.ErrorCodeValidation},
		"too long":         {file(t, strings.Repeat("s3cr3t", 1000), 0o600), "longer", plugin.ErrorCodeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The variable must not replace a file that cannot be trusted.
			_, _, err := Source{File: c.path}.Read(func(string) string { return "9999" })
			if err == nil {
				t.Fatal("got no error, want one")
			}
			got := fault.Protocol(err)
			if got.ErrCode != c.code || !strings.Contains(got.Message, c.want) || strings.Contains(got.Message, "s3cr3t") {
				t.Errorf("got %s %q, want %s with %q and without the PIN", got.ErrCode, got.Message, c.code, c.want)
			}
		})
	}
}

func TestLinkToPrivateFileIsFollowed(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file(t, "1234", 0o400), link); err != nil {
		t.Fatal(err)
	}
	if got, _, err := (Source{File: link}).Read(noEnv); err != nil || got.Reveal() != "1234" {
		t.Errorf("got %q, error %v, want 1234", got.Reveal(), err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{DefaultEnv: "1111", "OTHER": "2222"}
	getenv := func(n string) string { return env[n] }
	if got, ok, err := (Source{}).Read(getenv); err != nil || !ok || got.Reveal() != "1111" {
		t.Errorf("default variable: got %q, %v, error %v, want 1111", got.Reveal(), ok, err)
	}
	if got, ok, err := (Source{Env: "OTHER"}).Read(getenv); err != nil || !ok || got.Reveal() != "2222" {
		t.Errorf("named variable: got %q, %v, error %v, want 2222", got.Reveal(), ok, err)
	}
	if _, ok, err := (Source{}).Read(noEnv); ok || err != nil {
		t.Errorf("nothing configured: got %v, error %v, want no PIN and no error", ok, err)
	}
	var f *fault.Fault
	if _, _, err := (Source{Env: "UNSET"}).Read(getenv); !errors.As(err, &f) || f.Code != plugin.ErrorCodeAccessDenied {
		t.Errorf("named but unset: got error %v, want ACCESS_DENIED", err)
	}
}

func TestPINDoesNotPrint(t *testing.T) {
	t.Parallel()
	p := Of("s3cr3t")
	for _, text := range []string{fmt.Sprint(p), fmt.Sprintf("%+v", p), fmt.Sprintf("%#v", p), fmt.Sprintf("%q", struct{ P PIN }{p})} {
		if strings.Contains(text, "s3cr3t") {
			t.Errorf("got it printed as %s, want it hidden", text)
		}
	}
}
