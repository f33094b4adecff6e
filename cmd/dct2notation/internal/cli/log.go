package cli

import (
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Heartbeat is how often a line is written where there is no bar.
const Heartbeat = 10 * time.Second

// Reasoned returns the log attributes of a failure: its reason and, separately, the hint.
func Reasoned(text string) []any {
	reason, hint, hinted := strings.Cut(text, "\nhint: ")
	attrs := []any{"reason", safetext.FirstLine(reason)}
	if hinted {
		attrs = append(attrs, "hint", safetext.Safe(strings.ReplaceAll(hint, "\nhint: ", "; "), 2000))
	}
	return attrs
}
