package preflight

import (
	"fmt"
	"strings"

	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// findings are the checks so far. They may quote text from anywhere, so it is made safe to show here, for both text
// and JSON.
type findings struct {
	checks []report.Check
}

func (f *findings) add(c report.Check) {
	c.Subject, c.Detail, c.Hint = transport.RedactText(c.Subject), transport.RedactText(c.Detail), transport.RedactText(c.Hint)
	f.checks = append(f.checks, c)
}

func (f *findings) ok(check, subject, format string, args ...any) {
	f.add(report.Check{Check: check, Subject: subject, Result: report.OK, Detail: fmt.Sprintf(format, args...)})
}

// failed adds a failure that would also fail the run.
func (f *findings) failed(check, subject string, err error) {
	f.ended(report.Fail, check, subject, err)
}

// ended adds a check with an error. The error's second line, by our convention, is the hint.
func (f *findings) ended(result report.Health, check, subject string, err error) {
	detail, hint, _ := strings.Cut(err.Error(), "\nhint: ")
	f.add(report.Check{Check: check, Subject: subject, Result: result, Detail: detail, Hint: strings.ReplaceAll(hint, "\nhint: ", "; ")})
}
