// Package policies writes, for the verb policy, the files by which a consumer verifies the new signatures. It takes
// what to trust from trust data (what DCT vouches for) or from a ledger (what was signed). Package policy works out
// the content of the files.
package policies

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// Options are the options of policy.
type Options struct {
	session.ReadOptions
	session.KeyOptions
	Dir           string
	All           bool
	Force         bool
	Stage         string
	Ledger        string
	Certificates  []string
	Dedicated     []string
	Name          string
	Namespace     string
	ClusterPolicy bool
	RatifyCA      string

	ClusterAsked bool // --cluster-policy is on the command line

	consumers []policy.Consumer // read by Check
	named     []string          // repositories
}

// Check returns a usage error for options that do not fit together.
func (o *Options) Check(args []string) error {
	var err error
	if o.consumers, o.named, err = o.choose(args); err != nil {
		return err
	}
	if err := o.ReadOptions.Check(); err != nil {
		return err
	}
	switch {
	case o.Dir == "":
		return cli.Usage(errors.New("policy writes files: give their directory with -O"))
	case o.Key != "" && o.Plugin != "":
		return cli.Usage(errors.New("--key and --plugin cannot be used together"))
	case (o.Plugin == "") != (o.ID == ""):
		return cli.Usage(errors.New("--plugin and --id must be used together"))
	case !slices.Contains([]policy.Stage{"", policy.Audit, policy.Enforce}, policy.Stage(o.Stage)): // skip is not offered
		return cli.Usage(fmt.Errorf("--stage %s: it is audit or enforce", safetext.Safe(o.Stage, 64)))
	}
	return nil
}

// choose returns the selected consumers, and the remaining arguments.
func (o *Options) choose(args []string) ([]policy.Consumer, []string, error) {
	var names []string
	var usual []policy.Consumer
	for _, c := range policy.Consumers() {
		names = append(names, c.Name)
		if !c.Asked {
			usual = append(usual, c)
		}
	}
	which := "\nhint: it is " + strings.Join(names, ", ") + "; or --all"
	switch {
	case o.All && len(args) > 0 && slices.Contains(names, args[0]):
		return nil, nil, cli.Usage(fmt.Errorf("--all and the consumer %s cannot be used together", args[0]))
	case o.All:
		return usual, args, nil
	case len(args) == 0:
		return nil, nil, cli.Usage(errors.New("no consumer is named" + which))
	}
	i := slices.Index(names, args[0])
	if i < 0 {
		return nil, nil, cli.Usage(fmt.Errorf("unknown consumer %s%s", safetext.Safe(args[0], 100), which))
	}
	if len(args) > 1 && slices.Contains(names, args[1]) {
		return nil, nil, cli.Usage(fmt.Errorf("%s and %s are both consumers: give one at a time\nhint: give each its own directory; or --all. A repository of that name is docker.io/library/%s", args[0], args[1], args[1]))
	}
	c := policy.Consumers()[i]
	if o.ClusterAsked && o.ClusterPolicy && !c.ClusterPolicy {
		return nil, nil, cli.Usage(fmt.Errorf("--cluster-policy is for kyverno, not for %s", c.Name))
	}
	return []policy.Consumer{c}, args[1:], nil
}

// A Writer is one call of policy.
type Writer struct {
	Options
	Config  session.Config
	Streams cli.Streams
	Log     *slog.Logger

	m *policy.Migrated
}

// A Result is what was written, and why it may be incomplete.
type Result struct {
	Stage        policy.Stage
	Repositories int
	Consumers    []Written
	Problems     []policy.Problem
}

// Written is what was written for a consumer.
type Written struct {
	Consumer      string
	policy.Folder        // if the consumer refuses, it has no output
	Refused       string // why it refuses
	Warnings      []string
}

// Write works out what to trust, and writes the files.
func (w *Writer) Write(ctx context.Context) (*Result, error) {
	session.UseNotationFolders()
	w.m = policy.NewMigrated(w.problems())
	read := w.fromTrustData
	if w.Ledger != "" {
		read = w.fromLedger
	}
	if err := read(ctx); err != nil {
		return nil, err
	}
	trust, err := w.trust()
	if err != nil {
		return nil, err
	}
	written, err := w.write(trust)
	return &Result{trust.Stage, w.m.Repositories(), written, w.m.Problems}, err
}

// problems returns the logger for problems as they are found; it discards them if the result shows them to the same
// person.
func (w *Writer) problems() *slog.Logger {
	if w.Twice(w.Streams) {
		return slog.New(slog.DiscardHandler)
	}
	return w.Log
}

// fromTrustData finds what DCT vouches for, and which key of the configuration signs it.
func (w *Writer) fromTrustData(ctx context.Context) error {
	rules, err := w.Rules(w.Config)
	if err != nil {
		return err
	}
	keys := map[string]migrate.Key{}
	for _, rule := range rules {
		k, err := rule.NotationKey()
		if err != nil {
			return err
		}
		keys[k.Name] = rule.EngineKey(nil)
		if len(rule.Roles) > 0 {
			w.m.Notes = append(w.m.Notes, fmt.Sprintf("Key %s signs for the DCT roles %s.", safetext.Safe(k.Name, 128), strings.Join(rule.Roles, ", ")))
		}
	}
	f, err := w.Connect(ctx, w.Config, w.named, session.Access{ReadOnly: true}, w.Streams, w.Log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if f.Unlisted != nil {
		return f.Unlisted // it affects all of them
	}
	reader := f.Reader()
	read := false
	for _, gun := range f.GUNs {
		r, err := reader.Read(ctx, gun, dct.Known{})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, dct.ErrUnsigned) && f.Found(gun):
		case err != nil:
			w.Streams.Then.NotRead(failure.Of(err), gun.String())
			w.m.Problem("left out", append([]any{"repository", gun.String()}, cli.Reasoned(err.Error())...)...)
		default:
			read = true
			w.m.AddVouched(f.Vouched(r, keys))
		}
	}
	f.TellUnmatchedTags(w.Log)
	if !read {
		return errors.New("no repository's trust data could be read: see the messages above\nhint: dct2notation doctor looks at the Notary server and the pins of its roots")
	}
	w.m.Notes = append(w.m.Notes, "The repositories are those that DCT vouches for. This does not check whether their images are signed, or by these certificates: dct2notation verify does.")
	return nil
}

// fromLedger finds what runs have signed.
func (w *Writer) fromLedger(context.Context) error {
	sel, err := session.SelectRecorded(w.named, w.Config)
	if err != nil {
		return cli.Usage(err)
	}
	if i := slices.IndexFunc(w.named, func(a string) bool { return strings.Contains(a, "@") }); i >= 0 {
		return cli.Usage(fmt.Errorf("%s names one image, and a policy covers whole repositories", safetext.Safe(w.named[i], 256)))
	}
	ledger, err := session.ReadLedger(w.Ledger, w.Log)
	if err != nil {
		return err
	}
	defer func() { _ = ledger.Close() }() // only read from
	if ledger.Behind != "" {
		w.m.Problem(ledger.Behind + ": images signed since then are left out")
	}
	if _, err := sel.Hosts(ledger.Ledger); err != nil {
		return err
	}
	for _, name := range sel.Absent {
		w.m.Problem("left out: the ledger has no image in it", "repository", safetext.Safe(name, 256))
	}
	return w.m.ReadLedger(ledger.ForPolicy(sel.Meant))
}

// trust returns the neutral value that everything is written from.
func (w *Writer) trust() (policy.Trust, error) {
	if w.m.Repositories() == 0 {
		if w.Ledger == "" {
			return policy.Trust{}, cli.Usage(errors.New("nothing to trust: no key stands for a tag that DCT vouches for in the selected repositories\nhint: name other repositories, or give a key their roles (roles, under keys in the configuration)"))
		}
		return policy.Trust{}, cli.Usage(errors.New("none of the selected repositories was signed: there is nothing to trust\nhint: run first; or name other repositories"))
	}
	t := policy.Trust{Name: w.Name, Stage: cmp.Or(policy.Stage(w.Stage), policy.Audit), Namespace: w.Namespace, Legacy: w.m.Legacy, ClusterPolicy: w.ClusterPolicy}
	given, err := w.given()
	if err != nil {
		return t, err
	}
	certificates, err := w.m.Certificates(given, t.Stage)
	if err != nil {
		return t, cli.Usage(err)
	}
	t.Statements = w.m.Statements(w.Name, certificates)
	pins, err := w.Pins(w.Config)
	if err != nil {
		return t, err
	}
	w.m.NotePins(slices.Concat(slices.Collect(maps.Keys(pins.Certs)), slices.Collect(maps.Keys(pins.RootKeys))), slices.Collect(maps.Keys(pins.CA)))
	t.Notes = w.m.Notes
	if w.RatifyCA != "" {
		authority, err := session.ReadCertificates(w.RatifyCA)
		if err != nil {
			return t, err
		}
		// Only what was parsed as a certificate: a file may contain more.
		for _, c := range authority {
			t.RatifyCA = append(t.RatifyCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
	}
	return t, nil
}

// given returns where the certificates of the keys are, by flags and configuration. With a ledger there may be no
// key.
func (w *Writer) given() (policy.Given, error) {
	g := policy.Given{
		Certificates: w.Certificates, Dedicated: w.Dedicated, TSARoot: w.TSARoot, Keys: map[string]policy.Configured{},
		Read: session.ReadCertificates, Now: time.Now(),
	}
	if s := w.Config.Flags["state"]; len(s) == 1 {
		g.State = s[0]
	}
	unnamed := w.Ledger != "" && len(w.Config.Keys) == 0 && w.Key == "" && w.Plugin == "" && !w.Renews()
	rules, err := w.Rules(w.Config)
	if err != nil {
		return g, err
	}
	for _, rule := range rules {
		k, err := rule.NotationKey() // without a name, the default key, as in run
		switch {
		case err != nil && unnamed:
			return g, nil // this machine need not be the one that signed
		case err != nil:
			return g, err
		}
		if g.Keys[k.Name], err = rule.ForPolicy(k); err != nil {
			return g, err
		}
	}
	return g, nil
}

const stale = "left by an earlier policy, and not written this time: remove it, and undo it where it was applied"

// write writes the files for each consumer. One consumer that refuses does not stop the others.
func (w *Writer) write(t policy.Trust) ([]Written, error) {
	all, err := w.outputs(t)
	if err != nil {
		return nil, err
	}
	// Check all before the first is written.
	for _, one := range all {
		if one.Output == nil {
			continue
		}
		err := one.Check(w.Dir, w.Force)
		if refusal := (*policy.Refusal)(nil); errors.As(err, &refusal) {
			err = cli.Usage(err)
		}
		if err != nil {
			return nil, err
		}
	}
	for i, one := range all {
		if one.Output == nil {
			continue
		}
		if err := one.Folder.Write(); err != nil {
			return nil, err
		}
		for _, file := range one.Stale(w.Name) {
			w.Log.Warn(stale, "consumer", one.Consumer, "file", file)
			all[i].Warnings = append(all[i].Warnings, file+" is "+stale)
		}
		for _, other := range one.InTheWay(dir.ConfigFS().SysPath) {
			w.Log.Warn(other.Text, "file", other.File)
		}
	}
	return all, nil
}

// outputs returns what to write for the consumers, or why one refuses.
func (w *Writer) outputs(t policy.Trust) (all []Written, _ error) {
	for _, c := range w.consumers {
		one := Written{Consumer: c.Name, Folder: policy.Folder{Dir: w.Dir}}
		if w.All {
			one.Dir = filepath.Join(w.Dir, c.Name)
		}
		out, err := c.Write(t)
		var refusal *policy.Refusal
		switch {
		case w.All && errors.As(err, &refusal) && refusal.Consumer != "":
			one.Refused = refusal.Error()
			w.m.Problem("refused", append([]any{"consumer", c.Name}, cli.Reasoned(one.Refused)...)...)
			if session.Exists(one.Dir) {
				w.Log.Warn(stale, "consumer", c.Name, "file", one.Dir)
				one.Warnings = []string{one.Dir + " is " + stale}
			}
		case err != nil:
			return nil, cli.Usage(err)
		default:
			w.m.TellUnstamped(c, t)
			for _, warning := range out.Warnings {
				w.Log.Warn(warning, "consumer", c.Name)
			}
			one.Output, one.Warnings = out, out.Warnings
		}
		all = append(all, one)
	}
	return all, nil
}
