package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is dct2notation as built by run.sh. browser is Debian's.
var (
	program = filepath.Join(os.Getenv("DCT2NOTATION_E2E_BIN"), "dct2notation")
	browser = "chromium"
)

func TestMain(m *testing.M) {
	for _, name := range []string{program, browser} {
		if _, err := exec.LookPath(name); err != nil {
			fmt.Fprintf(os.Stderr, "looking for %s: %v\nhint: run internal/e2e/run.sh\n", name, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
