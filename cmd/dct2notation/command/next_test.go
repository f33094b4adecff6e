package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
)

func unread(class failure.Class, names ...string) (t cli.Then) {
	for _, name := range names {
		t.NotRead(class, name)
	}
	return t
}

func failed(class failure.Class) (t cli.Then) {
	t.Fail(class)
	return t
}

// Next says what no command can do. For repositories without a pin, it says how many there are and
// how to pin them.
func TestNextSaysWhatNoCommandDoes(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "migration.yaml")
	must(t, os.WriteFile(config, []byte("trust-pinning:\n  certs:\n    # \"a.example.com/1\": [\"00\"]\n"), 0o600))
	both := unread(failure.Expired, "a.example.com/1", "a.example.com/2")
	both.Differ(verify.Moved)
	many := unread(failure.Unpinned, slices.Repeat([]string{"a.example.com/1"}, 297)...)
	for _, one := range []struct {
		args string
		code int
		then cli.Then
		want []string
	}{
		{"verify", cli.ExitDisagree, both, []string{"tag-moved (1 tag): point the tag", "expired (2 repositories): have the owner sign the trust data again, or accept it with --allow-expired"}},
		{"run", cli.ExitFailures, failed(failure.Full), []string{"full (1 image): make room"}},
		{"plan --config " + config, cli.ExitFailures, many, []string{
			"no pin: 297 repositories. List the keys, compare them with those that the owners give you, then take the # from the lines of these repositories in " + config,
			"or write a file of all for --trust-pinning: dct2notation pins -o json --config " + config + " > pins.json",
		}},
		{"pins --config " + config, cli.ExitFailures, many, []string{
			"no pin: 297 repositories. Compare their keys with those that the owners give you, then take the # from the lines of these repositories in " + config,
			"or write a file of all for --trust-pinning: dct2notation pins -o json --config " + config + " > pins.json",
		}},
		{"pins", cli.ExitDone, many, []string{"no pin: 297 repositories. Compare their keys with those that the owners give you, then write a file for --trust-pinning"}},
		{"plan --config none.yaml a.example.com/1", cli.ExitFailures, unread(failure.Unpinned, "a.example.com/1"), []string{
			"no pin: 1 repository. List the keys, compare them with those that the owners give you, then write a file of all for --trust-pinning: dct2notation pins -o json --config none.yaml a.example.com/1 > pins.json",
		}},
	} {
		verb, typed := parsed(t, one.args)
		got := next(end{verb, typed, one.code, nil, one.then}).say
		if !slices.EqualFunc(got, one.want, strings.HasPrefix) {
			t.Errorf("%s: got %q, want %q", one.args, got, one.want)
		}
	}
}

// parsed returns the verb of a command line and the flags that it has.
func parsed(t *testing.T, args string) (verb *cobra.Command, typed []string) {
	t.Helper()
	root := NewRoot(nil, cli.Streams{In: strings.NewReader("")})
	root.PersistentPreRun = func(c *cobra.Command, _ []string) {
		verb = c
		c.Flags().Visit(func(f *pflag.Flag) { typed = append(typed, f.Name) })
	}
	for _, c := range root.Commands() {
		c.RunE = func(*cobra.Command, []string) error { return nil }
		for _, sub := range c.Commands() {
			sub.RunE = c.RunE
		}
	}
	root.SetArgs(strings.Split(args, " "))
	must(t, root.Execute())
	return verb, typed
}

// The next command can be typed as it stands. It contains nothing secret and nothing that a server
// made up.
func TestNext(t *testing.T) {
	t.Parallel()
	unpinned := &migrate.Ended{Kind: dct.ErrNothingRead, Cause: &dct.Error{GUN: "registry.example.com/team/app", Kind: dct.ErrUnpinnedRoot}}
	nothing := fmt.Errorf("%w: of any", dct.ErrNothingRead)
	for _, one := range []struct {
		args string
		code int
		err  error
		then cli.Then
		want string
	}{
		{args: "doctor --config migration.yaml --no-sign", want: "plan --config migration.yaml"},
		{args: "doctor --config migration.yaml", code: cli.ExitCannot},
		{args: "pins --docker-trust none registry.example.com/team/app", want: "pins -o json registry.example.com/team/app > pins.json"},
		{args: "pins -o json registry.example.com/team/app"},
		{args: "pins registry.example.com/team/app", then: unread(failure.Unpinned, "registry.example.com/team/app"), want: "pins -o json registry.example.com/team/app > pins.json"},
		{args: "pins --config migration.yaml", code: cli.ExitFailures, then: cli.Then{Verb: "plan"}, want: "plan --config migration.yaml"},
		{args: "pins --config migration.yaml", then: cli.Then{Verb: "nothing"}},
		{args: "snapshot -O my\tarchive --tofu registry.example.com/team/app", want: "snapshot verify --tofu 'my\tarchive'"},
		{args: "snapshot verify archive"},
		{args: "plan --config migration.yaml -o json", want: "run --config migration.yaml"},
		{args: "plan --config migration.yaml", then: cli.Then{Verb: "verify", Judged: true}, want: "verify --config migration.yaml"},
		{args: "plan --config migration.yaml", then: cli.Then{Verb: "verify", Judged: true, Folder: "trust"}, want: "NOTATION_CONFIG=trust dct2notation verify --config migration.yaml"},
		{args: "plan --config migration.yaml", then: cli.Then{Verb: "verify"}, want: "policy notation -O trust --config migration.yaml"},
		{args: "plan --config migration.yaml", code: cli.ExitFailures, then: cli.Then{Verb: "verify"}, want: "doctor --config migration.yaml"},
		{args: "plan --config migration.yaml --key release", code: cli.ExitFailures, then: unread(failure.Unpinned, "registry.example.com/team/app", "Bad;name", "x\x1b/y"), want: "pins --config migration.yaml registry.example.com/team/app"},
		{args: "plan --config init.yaml", code: cli.ExitFailures, then: unread(failure.Unpinned, "a.example.com/1", "a.example.com/2", "a.example.com/3", "a.example.com/4"), want: "pins --config init.yaml"},
		{args: "verify --config migration.yaml", code: cli.ExitDisagree, then: unread(failure.Unpinned, "a.example.com/1"), want: "pins --config migration.yaml a.example.com/1"},
		// Next says what only people can do, and goes on with the rest.
		{args: "plan --config migration.yaml", code: cli.ExitFailures, then: unread(failure.Expired, "a.example.com/1"), want: "run --config migration.yaml"},
		{args: "plan --config migration.yaml", code: cli.ExitFailures, then: unread(failure.Unsigned, "a.example.com/1"), want: "run --config migration.yaml"},
		{args: "plan --config migration.yaml", code: cli.ExitFailures, then: unread(failure.Transient, "a.example.com/1"), want: "doctor --config migration.yaml"},
		{args: "run --config migration.yaml", code: cli.ExitFailures, then: unread(failure.Expired, "a.example.com/1"), want: "policy notation -O trust --config migration.yaml"},
		{args: "run --config migration.yaml", code: cli.ExitFailures, then: failed(failure.Full)},
		{args: "run --config migration.yaml", code: cli.ExitFailures, then: failed(failure.Denied), want: "doctor --config migration.yaml"},
		{args: "plan --config migration.yaml", code: cli.ExitCannot, err: nothing, then: unread(failure.Expired, "a.example.com/1")},
		{args: "verify --config migration.yaml", code: cli.ExitDisagree, then: unread(failure.Expired, "a.example.com/1")},
		{args: "verify --config migration.yaml", code: cli.ExitDisagree, then: cli.Then{Differs: map[verify.Class]int{verify.Moved: 1, verify.Unknown: 2}}},
		{args: "verify --config migration.yaml", code: cli.ExitFailures, then: cli.Then{Differs: map[verify.Class]int{verify.Unknown: 2}}, want: "doctor --config migration.yaml"},
		{args: "policy notation -O my\ttrust --config migration.yaml a.example.com/b", want: "NOTATION_CONFIG='my\ttrust' dct2notation verify --config migration.yaml a.example.com/b"},
		{args: "policy kyverno -O out --config migration.yaml"},
		{args: "plan --notary-server https://me:secret@notary.example.com --plugin p --id pkcs11:token=a?pin-value=1234 --plugin-config pin=1234 a.example.com/*", want: "run --notary-server https://notary.example.com --plugin p --id '…' --plugin-config 'pin=…' 'a.example.com/*'"},
		{args: "run --config migration.yaml --report json=out.json", then: cli.Then{Ledger: "/var/lib/ledger.db", Judged: true}, want: "verify --ledger /var/lib/ledger.db --config migration.yaml"},
		{args: "run --config migration.yaml --max-duration 1h --accept-changes --include-tags v* --include-tags it's", code: cli.ExitEarly, want: `run --config migration.yaml --max-duration 1h0m0s --include-tags 'v*' --include-tags 'it'\''s'`},
		{args: "run --config migration.yaml --watch 10m", code: cli.ExitInterrupted},
		{args: "run --config migration.yaml --dry-run", want: "run --config migration.yaml"},
		{args: "verify --config migration.yaml --sample 3 -v", want: "ready --date DATE --snapshot DIR --no-ledger --config migration.yaml"},
		{args: "verify --config migration.yaml --trust-policy p.json", code: cli.ExitDisagree, then: cli.Then{Differs: map[verify.Class]int{verify.DCTOnly: 1, verify.Moved: 1}}, want: "plan --config migration.yaml"},
		{args: "verify registry.example.com/team/app", code: cli.ExitCannot, err: unpinned, want: "pins registry.example.com/team/app"},
		{args: "verify --config migration.yaml a.example.com/b", code: cli.ExitUsage, err: fmt.Errorf("x: %w", notation.ErrNoTrustPolicy), want: "policy notation -O trust --config migration.yaml a.example.com/b"},
		{args: "inspect --config migration.yaml a.example.com:5000/b:v1", code: cli.ExitUsage, err: fmt.Errorf("x: %w", notation.ErrNoTrustPolicy), want: "policy notation -O trust --config migration.yaml a.example.com:5000/b"},
		{args: "verify --config migration.yaml", code: cli.ExitCannot, err: nothing, want: "doctor --config migration.yaml"},
		{args: "run --key release a.example.com/b", code: cli.ExitCannot, err: failure.New(failure.Denied, errors.New("changefeed")), want: "doctor --key release a.example.com/b"},
		{args: "report", code: cli.ExitCannot, err: failure.New(failure.Denied, errors.New("x"))},
		{args: "plan --key release", code: cli.ExitUsage, err: cli.Usage(session.ErrNoRepositories), want: "init --key release"},
		{args: "plan --config migration.yaml", code: cli.ExitUsage, err: cli.Usage(session.ErrNoRepositories)},
		{args: "plan --config migration.yaml", code: cli.ExitCannot, err: errors.New("other")},
		{args: "undo --dry-run --state l.db", want: "undo --yes --state l.db"},
		{args: "undo --yes --state l.db"},
		{args: "ready --config migration.yaml --date 2099-01-01", code: cli.ExitDisagree},
		{args: "version"},
		{args: "plan a.example.com/1 a.example.com/2 a.example.com/3 a.example.com/4 a.example.com/5 a.example.com/6", want: "run a.example.com/1 a.example.com/2 a.example.com/3 a.example.com/4 a.example.com/5 ..."},
	} {
		verb, typed := parsed(t, one.args)
		got := next(end{verb, typed, one.code, one.err, one.then}).line
		want := one.want
		if want != "" && !strings.HasPrefix(want, "NOTATION_CONFIG=") {
			want = "dct2notation " + want
		}
		if got != want {
			t.Errorf("%s, exit code %d, %v: got\n%q, want\n%q", one.args, one.code, one.err, got, want)
		}
	}
	for word, want := range map[string]string{"a/b:v1": "a/b:v1", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "v*": "'v*'", "": "''"} {
		if got := quote(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}
