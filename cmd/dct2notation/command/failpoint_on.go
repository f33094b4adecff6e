//go:build failpoint

package command

import (
	"os"

	"github.com/dct2notation/dct2notation/migrate"
)

// failpoints lets tests break the engine's promises by the environment. It is in no
// binary that is not built with the tag failpoint.
func failpoints(e *migrate.Engine) {
	if os.Getenv("DCT2NOTATION_TEST_SIGN_BEFORE_RECORD") != "" {
		e.SignBeforeRecord()
	}
}
