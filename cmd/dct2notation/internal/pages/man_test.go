package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/command"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// The documents of a release link to the repository as of that release, and are complete.
func TestDocumentsLeadToTheirCommit(t *testing.T) {
	t.Parallel()
	root, to := filepath.Join("..", "..", "..", ".."), t.TempDir()
	if err := documents(root, to, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "docs/README.md", "docs/howto/install.md", "docs/images/report.png"} {
		was, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		is, err := os.ReadFile(filepath.Join(to, name))
		if want := strings.ReplaceAll(string(was), "/blob/main/", "/blob/v1.2.3/"); err != nil || string(is) != want {
			t.Errorf("%s: got error %v and other text, want the document with links to v1.2.3", name, err)
		}
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 4 {
		t.Errorf("got %v, error %v, want README, CHANGELOG, SECURITY and docs", entries, err)
	}
}

// The man page of run has what its help has: all flags under their headings, and exit codes.
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
