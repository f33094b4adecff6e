package main

import (
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/command"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// The man page of run says what its help says: flags under their headings, in full, and exit codes.
func TestManPageHasWhatTheHelpHas(t *testing.T) {
	t.Parallel()
	root := command.NewRoot(nil, cli.Streams{Out: t.Output(), Err: t.Output()})
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	page := manPage(run, time.Unix(0, 0).UTC())
	for _, want := range []string{
		`.TH "DCT2NOTATION\-RUN" "1" "January 1970"`, `docker[:DIR] (docker\(aqs trust directory)`,
		`.SH "TRUST DATA"`, `.SH "LIMITS"`, "\\fB\\-\\-workers\\fR \\fIint\\fR\n", "(default 8)\n",
		".SH \"EXIT STATUS\"\n", ".TP\n\\fB130, 143\\fR\n", `\fBdct2notation\fR(1)`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("got no %q in the page of run, want it\n%.2000s", want, page)
		}
	}
	for _, wrong := range []string{"=false", "[]\n"} {
		if strings.Contains(page, wrong) {
			t.Errorf("got %q in the page of run, want none", wrong)
		}
	}
}
