package command

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/notation"
)

// follows is what to run after a verb, by its exit code, where nothing is known that says more.
var follows = map[string]map[int]string{
	"doctor":   {cli.ExitDone: "plan"},
	"pins":     {cli.ExitDone: "pins"},
	"snapshot": {cli.ExitDone: "snapshot verify"},
	"plan":     {cli.ExitDone: "run", cli.ExitFailures: "doctor"},
	"run":      {cli.ExitDone: "verify", cli.ExitFailures: "doctor", cli.ExitEarly: "run", cli.ExitInterrupted: "run"},
	"verify":   {cli.ExitDone: "ready", cli.ExitFailures: "doctor", cli.ExitDisagree: "plan"},
}

// ofOneCall are flags of one call, which the next one does not get.
var ofOneCall = []string{
	"output", "report", "results", "quiet", "verbose", "debug", "log-format", "color", "no-tty", "watch", "metrics-address", "dry-run", "only", "plan",
	"max-duration", "max-operations", "accept-root", "accept-changes", "recheck", "resign", "rebind", "sample", "sample-seed", "fail-on", "all-tags", "yes",
	"no-sign", "fold", "root-keys", "output-file", "help",
}

// doctor looks at what the verbs that are diagnosed need, and finds what is wrong with a server as a whole.
var (
	diagnosed = []string{"plan", "run", "verify", "ready", "snapshot"}
	ofServers = []failure.Class{failure.Transient, failure.Denied, failure.NotNotary}
)

// end is how a verb ended.
type end struct {
	verb  *cobra.Command
	typed []string // flags that the command line gave, without those of the configuration
	code  int
	err   error
	then  cli.Then
}

// next returns the command line to type after a verb that has ended so, and whether it would cure what it ended with;
// it is empty where none follows. It has the configuration and the flags that were typed as far as the next verb
// takes them, quoted for a shell, without any value that may be secret.
func next(e end) (line string, cures bool) {
	name := strings.TrimPrefix(e.verb.CommandPath(), e.verb.Root().Name()+" ")
	verb, unpinned := follows[name][e.code], e.then.Unpinned
	var of *dct.Error
	switch {
	case errors.As(e.err, &of) && errors.Is(e.err, dct.ErrUnpinnedRoot) && len(unpinned) == 0:
		unpinned = []string{of.GUN}
	case errors.Is(e.err, notation.ErrNoTrustPolicy):
		return e.line("policy", []string{"notation", "-O", "trust"}, e.verb.Flags().Args()), true
	case errors.Is(e.err, session.ErrNoRepositories) && !slices.Contains(e.typed, "config") && name != "init":
		return e.line("init", nil, nil), true
	case errors.Is(e.err, dct.ErrNothingRead) && name != "doctor", e.code == cli.ExitCannot && slices.Contains(ofServers, failure.Of(e.err)) && slices.Contains(diagnosed, name):
		verb, cures = "doctor", true
	}
	args := e.verb.Flags().Args()
	if unpinned = slices.DeleteFunc(slices.Clone(unpinned), ungrammatical); len(unpinned) > 0 && name != "pins" {
		if len(unpinned) <= 3 {
			args = unpinned
		}
		return e.line("pins", nil, args), true
	}
	dry := slices.Contains(e.typed, "dry-run")
	switch {
	case e.code == cli.ExitDone && e.then.Verb != "":
		verb = e.then.Verb
	case e.code == cli.ExitDone && dry:
		verb = name
	}
	switch {
	case verb == "", slices.Contains(e.typed, "watch") && name != "doctor", name == "pins" && e.flag("output") == "json":
		return "", false
	case verb == "pins":
		return e.line(verb, []string{"-o", "json"}, args) + " > pins.json", false
	case verb == "undo":
		return e.line(verb, []string{"--yes"}, args), false
	case verb == "snapshot verify":
		return e.line(verb, nil, []string{e.flag("output-dir")}), false
	case verb == "verify" && e.then.Ledger != "":
		return e.line(verb, []string{"--ledger", e.then.Ledger}, args), false
	case verb == "ready":
		words := []string{"--date", "DATE", "--snapshot", "DIR"}
		if !slices.Contains(e.typed, "ledger") {
			words = append(words, "--no-ledger")
		}
		return e.line(verb, words, args), false
	}
	return e.line(verb, nil, args), cures
}

// ungrammatical reports whether a name from a server is not a valid repository name, and so not to be pasted.
func ungrammatical(name string) bool {
	_, err := dct.ParseGUN(name)
	return err != nil
}

// flag returns the value of a flag.
func (e end) flag(name string) string {
	if f := e.verb.Flags().Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// line is the command line of a verb.
func (e end) line(verb string, words, args []string) string {
	root := e.verb.Root()
	c, _, err := root.Find(strings.Fields(verb))
	if err != nil {
		return ""
	}
	all := append(append([]string{root.Name()}, strings.Fields(verb)...), words...)
	for _, name := range e.typed {
		f, takes := e.verb.Flags().Lookup(name), c.Flags().Lookup(name)
		again := c == e.verb && !slices.Contains(once, name)
		if f == nil || takes == nil || takes.Hidden || slices.Contains(words, "--"+name) || slices.Contains(ofOneCall, name) && !again {
			continue
		}
		all = append(all, spelled(f)...)
	}
	if len(args) > 5 {
		args = append(slices.Clone(args[:5]), "...")
	}
	all = append(all, args...)
	for i, word := range all {
		all[i] = quote(word)
	}
	return strings.Join(all, " ")
}

// once are flags that the same call does not get again.
var once = []string{"accept-root", "accept-changes", "dry-run"}

// spelled is a flag as it has to be typed, with … for what may be secret.
func spelled(f *pflag.Flag) []string {
	name := "--" + f.Name
	if f.Value.Type() == "bool" {
		if f.Value.String() == "true" {
			return []string{name}
		}
		return []string{name + "=" + f.Value.String()}
	}
	values := []string{f.Value.String()}
	switch v := f.Value.(type) {
	case *cli.Pairs:
		values = nil
		for _, k := range slices.Sorted(maps.Keys(*v)) {
			values = append(values, k+"="+(*v)[k])
		}
		if strings.HasSuffix(f.Name, "-config") { // what a plugin is given may be a password
			values = nil
			for _, k := range slices.Sorted(maps.Keys(*v)) {
				values = append(values, k+"=…")
			}
		}
	case pflag.SliceValue:
		values = v.GetSlice()
	}
	var all []string
	for _, v := range values {
		if pinValue.MatchString(v) {
			v = "…"
		}
		all = append(all, name, transport.RedactText(v))
	}
	return all
}

// pinValue is in the PKCS#11 URI of a key whose PIN is typed with it.
var pinValue = regexp.MustCompile(`(?i)pin-(value|source)=`)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote quotes a word for a POSIX shell.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
