package command

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// If a file or directory to be read, named by the command line or the configuration, is missing or
// something else, the configuration is wrong, whichever verb reads it. Nobody is contacted before
// that.
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
	ready := "ready --no-ledger --date 2099-12-08" + from
	written := "policy notation -O " + filepath.Join(dir, "out") + " --plugin x --id y" + from
	saved := "snapshot -O " + filepath.Join(dir, "out") + from
	plan, run, verify := "plan"+signing, "run --results none"+signing, "verify --results none"+from
	judged := " --trust-policy " + policy + " "
	undo := "undo --dry-run --state " + filepath.Join(dir, "none.db")
	stamped := " --timestamp-url http://127.0.0.1:1"
	reads := map[string][]string{ // what is named, and the verbs that read it; FILE is replaced by it
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
		// Whether or not it is used.
		"--snapshot-trust-policy GONE":   {plan, run, verify + judged, ready + judged, saved, written},
		"--verification-plugin foo=GONE": {plan, run, verify + judged, ready + judged, saved, written, "snapshot verify " + folder},
		"-O GARBAGE":                     {"snapshot" + from},
		"--ca-file GONE":                 {undo},
		"--registry-config GONE":         {undo},
		"--timestamp-root-cert FILE":     {plan + stamped, run + stamped},
		"--plugin-path FILE":             {plan, run},
		"--accept-certificate FILE":      {plan, run},
		"--only FILE":                    {run},
		"--plan FILE":                    {run},
		"--state GONE/new.db":            {"plan --plugin x --id y" + from, "run --results none --plugin x --id y" + from},
		"--results GONE":                 {"report", "report push --plugin x --id y 127.0.0.1:1/x:v"},
		"--ledger FILE":                  {verify + judged, "ready --date 2099-12-08" + from + judged, "policy notation -O " + filepath.Join(dir, "out")},
		"--state FILE":                   {"status", "undo --dry-run", "undo --yes", "run --results none --plugin x --id y" + from},
		"--decisions FILE":               {ready + judged},
		"--snapshot FILE":                {ready + judged},
		"FILE":                           {"snapshot verify", "report", "report push --plugin x --id y 127.0.0.1:1/x:v"},
	}
	for what, verbs := range reads {
		for _, verb := range verbs {
			for _, file := range []string{gone, garbage, folder} {
				switch {
				case strings.Contains(what, "GONE") && file != gone, strings.Contains(what, "GARBAGE") && file != garbage:
					continue
				case file == garbage && slices.Contains([]string{"--ledger FILE", "--state FILE", "--plugin-path FILE", "--only FILE"}, what):
					continue // a damaged ledger, a plugin that fails, the name of a repository
				case file == gone && strings.HasPrefix(verb, "run") && what == "--state FILE":
					continue // it is created
				}
				t.Run(strings.ReplaceAll(verb+" "+what+" "+filepath.Base(file), dir, ""), func(t *testing.T) {
					t.Parallel()
					args := append(strings.Fields(verb), strings.Fields(strings.NewReplacer("FILE", file, "GONE", file, "GARBAGE", file).Replace(what))...)
					var out, msg strings.Builder
					if code := Main(t.Context(), nil, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &msg}); code != cli.ExitUsage || !strings.Contains(msg.String(), file) {
						t.Errorf("%v: got exit code %d, want %d and the name %s\n%s%s", args, code, cli.ExitUsage, file, out.String(), msg.String())
					}
				})
			}
		}
	}
}

// doctor has a row for each bad file, and says that the run would fail.
func TestDoctorHasARowForEachNamedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gone, garbage := filepath.Join(dir, "gone"), filepath.Join(dir, "garbage")
	must(t, os.WriteFile(garbage, []byte("garbage\n"), 0o600))
	for _, file := range []string{gone, garbage, dir} {
		all := []string{"--trust-pinning", "--docker-trust", "--ca-file", "--registry-config", "--snapshot-trust-policy", "--plan", "--timestamp-root-cert"}
		args := []string{"doctor", "--plugin", "x", "--id", "y", "--state", filepath.Join(dir, "new.db"), "--timestamp-url", "http://127.0.0.1:1", "--source", "dump:" + file}
		for _, option := range all {
			args = append(args, option, file)
		}
		var out, msg strings.Builder
		code := Main(t.Context(), nil, append(args, "127.0.0.1:1/x"), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &msg})
		if rows := strings.Count(out.String(), "fail     file "); code != cli.ExitCannot || rows != len(all)+1 {
			t.Errorf("%s: got exit code %d, %d rows, want %d, %d\n%s%s", file, code, rows, cli.ExitCannot, len(all)+1, out.String(), msg.String())
		}
	}
}

// What cannot be parsed is reported in our words and as a usage error, whatever the library says.
func TestWordsOfUsage(t *testing.T) {
	t.Parallel()
	decisions, dated := filepath.Join(t.TempDir(), "decisions.yaml"), filepath.Join(t.TempDir(), "dated.yaml")
	must(t, os.WriteFile(dated, []byte("version: 1\nticks:\n- {check: clients, by: Jane, date: soon}\n"), 0o600))
	must(t, os.WriteFile(decisions, []byte("version: 1\nwaiver: []\n"), 0o600))
	for args, want := range map[string]string{
		"completion foo": "unknown command",
		"ready --no-ledger --date 2099-12-08 --decisions " + dated + " 127.0.0.1:1/x": "dated.yaml: soon is no date, such as 2026-12-31",
		"help verfy":          "Did you mean this?",
		"help snapshot verfy": "unknown command",
		"verfy":               "Did you mean this?",
		"sign x":              "Did you mean this?\n  run",
		"help migrate":        "Did you mean this?\n  run",
		"frobnicate":          "hint: dct2notation --help lists the commands",
		"help frobnicate":     "hint: dct2notation --help lists the commands",
		"plan --trust-pinning nope.json 127.0.0.1:1/x":                            "--trust-pinning nope.json: it does not exist\nhint: ",
		"plan --trust-pinning " + dated + " 127.0.0.1:1/x":                        "hint: a configuration is given with --config",
		"ready --no-ledger --date 2099-12-08 --decisions nope.yaml 127.0.0.1:1/x": "nope.yaml does not exist\nhint: ",
		"run 127.0.0.1:15000":                   "hint: name a repository of it, such as 127.0.0.1:15000/team/app, or find them: --discover catalog '127.0.0.1:15000/**'",
		"run localhost:15000":                   "hint: name a repository of it",
		"run registry.example.com/team/app:1.0": "hint: write registry.example.com/team/app",
		"run --workers x":                       "--workers x: it takes a whole number",
		"run --key-rate x":                      "--key-rate x: it takes a number",
		"run --watch 5":                         "--watch 5: it takes a duration with a unit",
		"run --recheck=maybe":                   "--recheck maybe: it takes true or false",
		"status x":                              "status takes no arguments",
		"snapshot verify":                       "snapshot verify takes one directory",
		"ready --no-ledger --date 2099-12-08 --decisions " + decisions + " 127.0.0.1:1/x": "decisions.yaml: unknown field \"waiver\"",
		"run --sample 3":           "hint: --sample is a flag of verify",
		"run --wokers 3":           "hint: did you mean --workers?",
		"plan -u me 127.0.0.1:1/x": "hint: give --password-stdin",
	} {
		var msg strings.Builder
		code := Main(t.Context(), nil, strings.Fields(args), cli.Streams{In: strings.NewReader(""), Out: &msg, Err: &msg})
		if text := msg.String(); code != cli.ExitUsage || !strings.Contains(text, want) || strings.Contains(text, "strconv") || strings.Contains(text, "arg(s)") {
			t.Errorf("%s: got exit code %d, want %d and %q\n%s", args, code, cli.ExitUsage, want, text)
		}
	}
}

// The help of run begins with what most people need. Each flag appears once.
func TestHelpOfRunBeginsWithWhatMostNeed(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := Main(t.Context(), nil, []string{"run", "--help"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}); code != cli.ExitDone {
		t.Fatalf("got exit code %d, want %d\n%s", code, cli.ExitDone, out.String())
	}
	_, flags, _ := strings.Cut(out.String(), "\nFlags:\n")
	first, _, _ := strings.Cut(flags, "\n\n")
	for _, name := range []string{"config", "trust-pinning", "key", "plugin", "id", "state", "dry-run", "plan", "watch", "output", "help"} {
		if !strings.Contains(first, "--"+name+" ") || strings.Count(flags, "--"+name+" string  ") > 1 {
			t.Errorf("--%s: want it among the first flags alone, got\n%s", name, first)
		}
	}
	if n := strings.Count(first, " --"); n > 14 { // three are in descriptions
		t.Errorf("got %d flags first, want ten and --help\n%s", n, first)
	}
}
