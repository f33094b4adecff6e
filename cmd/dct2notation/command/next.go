package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
)

// follows is what to run after a verb, by its exit code, if nothing more specific is known.
var follows = map[string]map[int]string{
	"doctor":   {cli.ExitDone: "plan"},
	"pins":     {cli.ExitDone: "pins"},
	"snapshot": {cli.ExitDone: "snapshot verify"},
	"plan":     {cli.ExitDone: "run", cli.ExitFailures: "doctor"},
	"run":      {cli.ExitDone: "verify", cli.ExitFailures: "doctor", cli.ExitEarly: "run", cli.ExitInterrupted: "run"},
	"verify":   {cli.ExitDone: "ready", cli.ExitFailures: "doctor"},
}

// ofOneCall are flags of a single call, which the next one does not get.
var ofOneCall = []string{
	"output", "report", "results", "quiet", "verbose", "debug", "log-format", "color", "no-tty", "watch", "metrics-address", "dry-run", "only", "plan",
	"max-duration", "max-operations", "accept-root", "accept-changes", "recheck", "resign", "rebind", "sample", "sample-seed", "fail-on", "all-tags", "yes",
	"no-sign", "fold", "root-keys", "output-file", "help",
}

// doctor checks what the diagnosed verbs need, and finds what is wrong with a server or a key as a whole. It does not
// help with what is wrong with one repository or image.
var (
	diagnosed = []string{"plan", "run", "verify", "ready", "snapshot"}
	ofServers = []failure.Class{failure.Transient, failure.Throttled, failure.Denied, failure.NotNotary}
	ofImages  = []failure.Class{failure.Permanent, failure.Incomplete}
)

// end is how a verb ended.
type end struct {
	verb  *cobra.Command
	typed []string // flags from the command line, not from the configuration
	code  int
	err   error
	then  cli.Then
}

// A step is what to do after a verb.
type step struct {
	say   []string // what no command does, or what to know first
	line  string   // the command to type; empty: none
	cures bool     // the command would solve the problem that the verb ended with
}

// write prints a line for each thing to do, and the command last.
func (s step) write(w io.Writer, before string) {
	for _, one := range append(slices.Clone(s.say), s.line) {
		if one != "" {
			fmt.Fprintln(w, before+safetext.Safe(one, 8192))
		}
	}
}

// next returns what to do after a verb that ended this way. The command to type repeats the configuration and the
// typed flags that the next verb has, quoted for a shell, without any value that may be secret.
func next(e end) step {
	name := strings.TrimPrefix(e.verb.CommandPath(), e.verb.Root().Name()+" ")
	args := e.verb.Flags().Args()
	if name == "inspect" {
		args = repositoriesOf(args)
	}
	var of *dct.Error
	switch {
	case errors.As(e.err, &of) && len(e.then.Unread) == 0 && (errors.Is(e.err, dct.ErrUnpinnedRoot) || errors.Is(e.err, dct.ErrNothingRead)):
		e.then.NotRead(failure.Of(of), of.GUN)
	case errors.Is(e.err, notation.ErrNoTrustPolicy):
		return step{line: e.line("policy", []string{"notation", "-O", session.TrustFolder}, args), cures: true}
	case errors.Is(e.err, session.ErrNoRepositories) && !slices.Contains(e.typed, "config") && name != "init":
		return step{line: e.line("init", nil, nil), cures: true}
	case name == "policy" && (e.code == cli.ExitDone || e.code == cli.ExitFailures) && len(args) > 0 && args[0] == "notation" && e.flag("output-dir") != "":
		return step{line: "NOTATION_CONFIG=" + quote(e.flag("output-dir")) + " " + e.line("verify", nil, args[1:])}
	}
	if pins, ok := e.pins(name, args); ok {
		return pins
	}
	verb, dry := follows[name][e.code], slices.Contains(e.typed, "dry-run")
	cures := false
	switch {
	case (e.code == cli.ExitDone || name == "pins" && e.code == cli.ExitFailures) && e.then.Verb != "":
		verb = e.then.Verb
	case e.code == cli.ExitDone && dry:
		verb = name
	case e.code == cli.ExitCannot && slices.Contains(ofServers, failure.Of(e.err)) && slices.Contains(diagnosed, name):
		verb, cures = "doctor", true
	case verb == "doctor", errors.Is(e.err, dct.ErrNothingRead) && (name == "pins" || slices.Contains(diagnosed, name)), name == "verify" && e.code == cli.ExitDisagree:
		if verb = e.mend(name, dry); verb == "" {
			return step{say: e.remedies(), cures: true}
		}
		cures = verb == "doctor"
	}
	if verb == "verify" && name != "verify" && !e.then.Judged {
		return step{line: e.line("policy", []string{"notation", "-O", session.TrustFolder}, args)}
	}
	switch {
	case verb == "", verb == "nothing", slices.Contains(e.typed, "watch") && name != "doctor", name == "pins" && e.flag("output") == "json":
		return step{}
	case verb == "pins":
		return step{line: e.line(verb, []string{"-o", "json"}, args) + " > pins.json"}
	case verb == "undo":
		return step{line: e.line(verb, []string{"--yes"}, args)}
	case verb == "snapshot verify":
		return step{line: e.line(verb, nil, []string{e.flag("output-dir")})}
	case verb == "verify" && e.then.Ledger != "":
		return step{line: e.withNotation(e.line(verb, []string{"--ledger", e.then.Ledger}, args))}
	case verb == "verify":
		return step{line: e.withNotation(e.line(verb, nil, args)), cures: cures}
	case verb == "ready":
		words := []string{"--date", "DATE", "--snapshot", "DIR"}
		if !slices.Contains(e.typed, "ledger") {
			words = append(words, "--no-ledger")
		}
		return step{line: e.withNotation(e.line(verb, words, args))}
	}
	return step{line: e.line(verb, nil, args), cures: cures}
}

// withNotation makes a command read the trust policy that this verb got through the environment, or that is in the
// working directory.
func (e end) withNotation(line string) string {
	if folder := cmp.Or(e.then.Folder, os.Getenv("NOTATION_CONFIG")); folder != "" && line != "" {
		return "NOTATION_CONFIG=" + quote(folder) + " " + line
	}
	return line
}

// mend returns the verb to run if something was left undone: doctor if a server or a key may be the reason, else what
// follows for the rest; empty if only people can do something.
func (e end) mend(name string, dry bool) string {
	t := e.then
	switch {
	case t.Differs[verify.DCTOnly] > 0:
		return "plan" // it shows what run would sign
	case name == "verify" && e.code == cli.ExitDisagree:
		return ""
	case t.Any(slices.Concat(ofServers, ofImages)...), len(t.Unread)+len(t.Failed) == 0:
		return "doctor"
	case len(t.Failed) > 0, errors.Is(e.err, dct.ErrNothingRead):
		return ""
	case t.Verb != "":
		return t.Verb
	case dry:
		return name
	}
	return follows[name][cli.ExitDone]
}

// remedies returns for each class what to do, if no command does it.
func (e end) remedies() (all []string) {
	lower := func(s string) string { return strings.ToLower(s[:1]) + strings.TrimSuffix(s[1:], ".") }
	for _, c := range report.Classes() {
		if n := e.then.Differs[c]; n > 0 {
			all = append(all, fmt.Sprintf("%s (%s): %s", c, safetext.Count(n, "tag"), lower(report.RemedyOfTag(c))))
		}
	}
	for _, c := range failure.FailureClasses {
		if of := e.then.Unread[c]; of != nil {
			all = append(all, fmt.Sprintf("%s (%s): %s", c, safetext.Count(of.Count, "repository"), lower(report.Remedy(c))))
		}
		if n := e.then.Failed[c]; n > 0 {
			all = append(all, fmt.Sprintf("%s (%s): %s", c, safetext.Count(n, "image"), lower(report.Remedy(c))))
		}
	}
	return all
}

// pins returns what to do about repositories that are not pinned: list their keys, and pin them in one of two ways.
func (e end) pins(name string, args []string) (step, bool) {
	of := e.then.Unread[failure.Unpinned]
	if of == nil {
		return step{}, false
	}
	named := slices.DeleteFunc(slices.Clone(of.First), ungrammatical)
	if len(named) == 0 {
		return step{}, false
	}
	file := "write a file of all for --trust-pinning: " + e.line("pins", []string{"-o", "json"}, args) + " > pins.json"
	say := []string{"no pin: " + safetext.Count(of.Count, "repository") + ". List the keys, compare them with those that the owners give you, then " + file}
	if config := e.flag("config"); config != "" && hasComment(config, named) {
		say = []string{strings.TrimSuffix(say[0], file) + "take the # from the lines of these repositories in " + config, "or " + file}
	}
	if name == "pins" && (e.flag("output") == "json" || e.then.Verb != "") {
		return step{}, true // written, or with what differs from its pin
	}
	if name == "pins" {
		say[0] = strings.Replace(say[0], "List the keys, compare them", "Compare their keys", 1)
		if len(say) > 1 {
			return step{say: say, line: e.line("plan", nil, args)}, true
		}
		return step{say: []string{strings.TrimSuffix(say[0], file) + "write a file for --trust-pinning"}, line: e.line("pins", []string{"-o", "json"}, args) + " > pins.json"}, true
	}
	if of.Count <= 3 {
		args = named
	}
	return step{say: say, line: e.line("pins", nil, args), cures: true}, true
}

// hasComment reports whether a configuration has pins of these repositories as comments, as init writes them.
func hasComment(config string, repositories []string) bool {
	raw, err := os.ReadFile(config)
	return err == nil && slices.ContainsFunc(repositories, func(r string) bool {
		return strings.Contains(string(raw), "# \""+r+"\": [")
	})
}

// repositoriesOf returns images without their tags and digests.
func repositoriesOf(images []string) (names []string) {
	for _, image := range images {
		name, _, _ := strings.Cut(image, "@")
		if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
			name = name[:colon]
		}
		names = append(names, name)
	}
	return names
}

// ungrammatical reports whether a name from a server is not a valid repository name, and so must not be pasted.
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

// line returns the command line of a verb.
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

// spelled returns a flag as it has to be typed, with … for what may be secret.
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
		if strings.HasSuffix(f.Name, "-config") { // a plugin's configuration may contain a password
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

// pinValue matches in the PKCS#11 URI of a key that includes its PIN.
var pinValue = regexp.MustCompile(`(?i)pin-(value|source)=`)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote quotes a word for a POSIX shell.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
