package command

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// A file or directory that is to be read, and that the command line or the configuration names, is
// wrong configuration where it is missing or something else, whichever verb reads it. Nobody is
// contacted before.
func TestANamedFileThatIsNoGoodIsUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	policy := at("trustpolicy.json", `{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`)
	garbage, gone, folder := at("garbage", "garbage\n"), filepath.Join(dir, "gone"), filepath.Join(dir, "folder")
	must(t, os.Mkdir(folder, 0o700))
	const from = " --notary-server http://127.0.0.1:1 --cache-dir none 127.0.0.1:1/x "
	signing := " --plugin x --id y --state " + filepath.Join(dir, "new.db") + from
	ready := "ready --no-ledger --date 2026-12-08" + from
	written := "policy notation -O " + filepath.Join(dir, "out") + " --plugin x --id y" + from
	saved := "snapshot -O " + filepath.Join(dir, "out") + from
	plan, run, verify := "plan"+signing, "run --results none"+signing, "verify --results none"+from
	judged := " --trust-policy " + policy + " "
	stamped := " --timestamp-url http://127.0.0.1:1"
	reads := map[string][]string{ // what is named, and the verbs that read it; FILE takes its place
		"--config FILE":                {"doctor", plan, run, verify, ready, saved, written, "status", "undo", "report", "report push 127.0.0.1:1/x:v", "snapshot verify " + folder},
		"--trust-pinning FILE":         {plan, run, verify + judged, ready + judged, saved, written, "snapshot verify " + folder},
		"--docker-trust FILE":          {plan, run, verify + judged, ready + judged, saved, written, "snapshot verify " + folder},
		"--ca-file FILE":               {plan, run, verify + judged, ready + judged, saved, written},
		"--registry-config FILE":       {plan, run, verify + judged, ready + judged, saved, written},
		"--source snapshot:FILE":       {plan, run, verify + judged, ready + judged, written},
		"--source docker:FILE":         {plan, run, verify + judged, ready + judged, written, saved},
		"--source dump:FILE":           {plan, run, verify + judged, ready + judged, written, saved},
		"--trust-policy FILE":          {verify, ready},
		"--snapshot-trust-policy FILE": {"snapshot verify " + folder},
		"--timestamp-root-cert FILE":   {plan + stamped, run + stamped},
		"--plugin-path FILE":           {plan, run},
		"--accept-certificate FILE":    {plan, run},
		"--only FILE":                  {"doctor --no-sign", run},
		"--plan FILE":                  {"doctor --no-sign", run},
		"--ledger FILE":                {verify + judged, "ready --date 2026-12-08" + from + judged, "policy notation -O " + filepath.Join(dir, "out")},
		"--state FILE":                 {"status", "undo --dry-run", "undo --yes", "run --results none --plugin x --id y" + from},
		"--decisions FILE":             {ready + judged},
		"--snapshot FILE":              {ready + judged},
		"FILE":                         {"snapshot verify", "report", "report push --plugin x --id y 127.0.0.1:1/x:v"},
	}
	for what, verbs := range reads {
		for _, verb := range verbs {
			for _, file := range []string{gone, garbage, folder} {
				switch {
				case file == folder && (what == "--source docker:FILE" || what == "--docker-trust FILE"):
					continue // an empty trust directory is one
				case file == garbage && slices.Contains([]string{"--ledger FILE", "--state FILE", "--plugin-path FILE", "--only FILE"}, what):
					continue // a damaged ledger, a plugin that fails, the name of a repository
				case file == gone && strings.HasPrefix(verb, "run") && what == "--state FILE":
					continue // it is made
				}
				t.Run(strings.ReplaceAll(verb+" "+what+" "+filepath.Base(file), dir, ""), func(t *testing.T) {
					t.Parallel()
					args := append(strings.Fields(verb), strings.Fields(strings.ReplaceAll(what, "FILE", file))...)
					var out, msg strings.Builder
					if code := Main(t.Context(), nil, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &msg}); code != cli.ExitUsage || !strings.Contains(msg.String(), file) {
						t.Errorf("%v: got exit code %d, want %d and the name %s\n%s%s", args, code, cli.ExitUsage, file, out.String(), msg.String())
					}
				})
			}
		}
	}
}
