package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin is the folder of the programs built by run.sh.
var bin = os.Getenv("DCT2NOTATION_E2E_BIN")

// built are the programs in bin; installed are Debian's.
var (
	built     = []string{"dct2notation", "dct2notation-failpoint", "ledgerload", "notation", "notation-awskms", "notation-kmstest", "notation-pkcs11", "olareg"}
	installed = []string{"notary", "notary-server", "docker-registry", "softhsm2-util", "skopeo", "strace"}
)

func TestMain(m *testing.M) {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// prepare returns an error unless every program exists: no test is ever skipped.
func prepare() error {
	for _, name := range []string{"DCT2NOTATION_E2E_BIN", "DCT2NOTATION_E2E_DOCKER"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set\nhint: run internal/e2e/run.sh", name)
		}
	}
	for _, name := range built {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("looking for the built programs: %w\nhint: run internal/e2e/run.sh", err)
		}
	}
	for _, name := range installed {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("looking for Debian's programs: %w\nhint: run internal/e2e/run.sh", err)
		}
	}
	// kmstest installs this program instead of building its own.
	return os.Setenv("KMSTEST_BINARY", filepath.Join(bin, "notation-kmstest"))
}

// program returns the path of a built program, or the name of one in PATH.
func program(name string) string {
	if path := filepath.Join(bin, name); exists(path) {
		return path
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
