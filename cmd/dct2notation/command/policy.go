package command

import (
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
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation/policy"
)

type policyOptions struct {
	session.ReadOptions
	session.KeyOptions
	dir           string
	all           bool
	force         bool
	stage         string
	ledger        string
	certificates  []string
	dedicated     []string
	name          string
	namespace     string
	clusterPolicy bool
	ratifyCA      string

	clusterAsked bool // on the command line
}

func newPolicy(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o policyOptions
	var list strings.Builder
	for _, c := range policy.Consumers() {
		fmt.Fprintf(&list, "  %-15s %s\n", c.Name, c.About)
	}
	c := &cobra.Command{
		Use:   "policy CONSUMER -O DIR [flags] [REPOSITORY|GLOB...]",
		Short: "Write trust policies for the tools that verify the new signatures",
		Long: `Policy writes the configuration that a consumer of Notation signatures needs: which
repositories to verify, and which certificates and identities to trust. It also says which
guarantees of Docker Content Trust the consumer cannot give, how to apply the files, and how
to test that they work. It applies nothing itself.

Consumers:
` + list.String() + `
With --ledger, the repositories are those that runs have signed, and no server is contacted.
Without it, name the repositories as for verify; trust data is then read from --source.
A ledger file can be forged, so its certificates are not trusted by themselves: name a file
with the certificate chain, or the thumbprint of the certificate in the ledger. A key in
notation's signingkeys.json that has a certificate file needs neither.

Start with the stage audit, which reports images that would be rejected; enforce rejects them.`,
		Example: `  dct2notation policy notation -O trust --ledger migration.db --certificate release=release-chain.pem
  dct2notation policy kyverno -O trust --stage enforce --config migration.yaml --certificate azure-kv/https://vault.example.com/keys/release/1=chain.pem
  dct2notation policy --all -O trust --ledger migration.db --certificate release=sha256:<thumbprint>`,
		Args: cobra.ArbitraryArgs,
	}
	f := c.Flags()
	f.StringVarP(&o.dir, "output-dir", "O", "", "directory to write to, created if it does not exist; with --all, one subdirectory for each consumer")
	f.BoolVar(&o.all, "all", false, "write files for all consumers except betas")
	f.BoolVar(&o.force, "force", false, "overwrite existing files")
	f.StringVar(&o.stage, "stage", "", "audit or enforce (default audit)")
	f.StringVar(&o.ledger, "ledger", "", "ledger of the runs that signed; without it, trust data is read")
	f.StringArrayVar(&o.certificates, "certificate", nil, "certificate chain of a key: KEY=FILE (PEM, leaf first, up to the certificate to trust), or KEY=THUMBPRINT (SHA-256 of the leaf) to take the chain from the ledger; repeat for each key, and for a renewed certificate")
	f.StringArrayVar(&o.dedicated, "dedicated-ca", nil, "KEY whose CA issues certificates to this key only, so that the CA itself can be trusted where a policy cannot check the subject")
	f.StringVar(&o.name, "name", "dct2notation", "name of the policies and resources written (a DNS label)")
	f.StringVar(&o.namespace, "namespace", "default", "Kubernetes namespace of Flux's Secrets and of Ratify")
	f.BoolVar(&o.clusterPolicy, "cluster-policy", false, "kyverno: write the deprecated ClusterPolicy")
	f.StringVar(&o.ratifyCA, "ratify-ca", "", "ratify: PEM file with the CA of Ratify's TLS certificate; writes the Provider too")
	o.ReadOptions.Bind(f)
	o.KeyOptions.Bind(f)
	f.Lookup("timestamp-root-cert").Usage = "file with the root certificate of the time-stamping authority that countersigned the signatures"
	cli.HideFlags(f, "accept-certificate", "plugin-path", "plugin-sha256", "plugin-env", "plugin-timeout", "plugin-config", "signature-format", "expiry", "user-metadata", "timestamp-url", "timestamp-rate", "key-rate")
	c.RunE = func(c *cobra.Command, args []string) error {
		// Before the configuration, which serves all verbs, sets some.
		reading := cli.FirstChanged(c.Flags(), func(f *pflag.FlagSet) { f.String("source", "", ""); f.String("discover", "", "") })
		tags := cli.FirstChanged(c.Flags(), func(f *pflag.FlagSet) { f.String("include-tags", "", ""); f.String("exclude-tags", "", "") })
		o.clusterAsked = c.Flags().Changed("cluster-policy")
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		if o.ledger != "" && reading != "" {
			return cli.Usage(fmt.Errorf("--%s cannot be used with --ledger: no trust data is read in that case", reading))
		}
		if o.ledger != "" && tags != "" {
			return cli.Usage(fmt.Errorf("--%s: a policy covers whole repositories, and the images of --ledger are already signed, whatever their tags", tags))
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runPolicy(ctx, o, cfg, args, s)
	}
	return c
}

func (o *policyOptions) check() error {
	if err := o.ReadOptions.Check(); err != nil {
		return err
	}
	switch {
	case o.dir == "":
		return cli.Usage(errors.New("policy writes files: give their directory with -O"))
	case o.Key != "" && o.Plugin != "":
		return cli.Usage(errors.New("--key and --plugin cannot be used together"))
	case (o.Plugin == "") != (o.ID == ""):
		return cli.Usage(errors.New("--plugin and --id must be used together"))
	}
	return nil
}

// consumers gives those that are meant, and the arguments that are left.
func (o *policyOptions) consumers(args []string) ([]policy.Consumer, []string, error) {
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
	case o.all && len(args) > 0 && slices.Contains(names, args[0]):
		return nil, nil, cli.Usage(fmt.Errorf("--all and the consumer %s cannot be used together", args[0]))
	case o.all:
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
	if o.clusterAsked && o.clusterPolicy && !c.ClusterPolicy {
		return nil, nil, cli.Usage(fmt.Errorf("--cluster-policy is for kyverno, not for %s", c.Name))
	}
	return []policy.Consumer{c}, args[1:], nil
}

// stageOf returns the stage of that name, audit if there is none. Skipping verification is never a stage.
func stageOf(name string) (policy.Stage, error) {
	switch stage := policy.Stage(name); stage {
	case "":
		return policy.Audit, nil
	case policy.Audit, policy.Enforce:
		return stage, nil
	}
	return "", cli.Usage(fmt.Errorf("--stage %s: it is audit or enforce", safetext.Safe(name, 64)))
}

func runPolicy(ctx context.Context, o policyOptions, cfg session.Config, args []string, s cli.Streams) error {
	consumers, args, err := o.consumers(args)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	m := policy.NewMigrated(log)
	stage, err := stageOf(o.stage)
	if err != nil {
		return err
	}
	if o.ledger != "" {
		err = o.fromLedger(m, cfg, args, log)
	} else {
		err = o.fromTrustData(ctx, m, cfg, args, s, log)
	}
	if err != nil {
		return err
	}
	trust, err := o.trust(m, cfg, stage)
	if err != nil {
		return err
	}
	result := policyResult{Version: 1, Kind: policyKind, Tool: cli.Tool(), Stage: string(stage), Repositories: m.Repositories()}
	if err := o.write(&result, m, trust, consumers, log); err != nil {
		return err
	}
	result.Problems, result.Complete = m.Problems, len(m.Problems) == 0
	if err := result.show(s.Out, o.Output); err != nil {
		return err
	}
	if !result.Complete {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// fromTrustData finds what DCT vouches for, and which key of the configuration stands for it.
func (o *policyOptions) fromTrustData(ctx context.Context, m *policy.Migrated, cfg session.Config, args []string, s cli.Streams, log *slog.Logger) error {
	rules, err := o.Rules(cfg)
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
			m.Notes = append(m.Notes, fmt.Sprintf("Key %s signs for the DCT roles %s.", safetext.Safe(k.Name, 128), strings.Join(rule.Roles, ", ")))
		}
	}
	f, err := o.Connect(ctx, cfg, args, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if f.Unlisted != nil {
		return f.Unlisted // it speaks of all of them
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
			m.Problem("left out", append([]any{"repository", gun.String()}, cli.Reasoned(err.Error())...)...)
		default:
			read = true
			m.AddVouched(f.Vouched(r, keys))
		}
	}
	f.TellUnmatchedTags(log)
	if !read {
		return errors.New("no repository's trust data could be read: see the messages above\nhint: dct2notation doctor looks at the Notary server and the pins of its roots")
	}
	m.Notes = append(m.Notes, "The repositories are those that DCT vouches for. This does not check whether their images are signed, or by these certificates: dct2notation verify does.")
	return nil
}

// fromLedger finds what runs have signed.
func (o *policyOptions) fromLedger(m *policy.Migrated, cfg session.Config, args []string, log *slog.Logger) error {
	sel, err := session.SelectRecorded(args, cfg)
	if err != nil {
		return cli.Usage(err)
	}
	if i := slices.IndexFunc(args, func(a string) bool { return strings.Contains(a, "@") }); i >= 0 {
		return cli.Usage(fmt.Errorf("%s names one image, and a policy covers whole repositories", safetext.Safe(args[i], 256)))
	}
	ledger, err := session.ReadLedger(o.ledger, log)
	if err != nil {
		return err
	}
	defer func() { _ = ledger.Close() }() // only read from
	if ledger.Behind != "" {
		m.Problem(ledger.Behind + ": images signed since then are left out")
	}
	if _, err := sel.Hosts(ledger.Ledger); err != nil {
		return err
	}
	for _, name := range sel.Absent {
		m.Problem("left out: the ledger has no image in it", "repository", safetext.Safe(name, 256))
	}
	return m.ReadLedger(ledger.ForPolicy(sel.Meant))
}

// trust is the neutral value that everything is written from.
func (o *policyOptions) trust(m *policy.Migrated, cfg session.Config, stage policy.Stage) (policy.Trust, error) {
	if m.Repositories() == 0 {
		if o.ledger == "" {
			return policy.Trust{}, cli.Usage(errors.New("nothing to trust: no key stands for a tag that DCT vouches for in the selected repositories\nhint: name other repositories, or give a key their roles (roles, under keys in the configuration)"))
		}
		return policy.Trust{}, cli.Usage(errors.New("none of the selected repositories was signed: there is nothing to trust\nhint: run first; or name other repositories"))
	}
	t := policy.Trust{Name: o.name, Stage: stage, Namespace: o.namespace, Legacy: m.Legacy, ClusterPolicy: o.clusterPolicy}
	given, err := o.given(cfg)
	if err != nil {
		return t, err
	}
	certificates, err := m.Certificates(given, stage)
	if err != nil {
		return t, cli.Usage(err)
	}
	t.Statements = m.Statements(o.name, certificates)
	pins, err := o.Pins(cfg)
	if err != nil {
		return t, err
	}
	m.NotePins(slices.Concat(slices.Collect(maps.Keys(pins.Certs)), slices.Collect(maps.Keys(pins.RootKeys))), slices.Collect(maps.Keys(pins.CA)))
	t.Notes = m.Notes
	if o.ratifyCA != "" {
		authority, err := session.ReadCertificates(o.ratifyCA)
		if err != nil {
			return t, err
		}
		// Only what was read as a certificate: a file may hold more.
		for _, c := range authority {
			t.RatifyCA = append(t.RatifyCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
	}
	return t, nil
}

// given is where the certificates of the keys are, by the flags and the configuration. With a ledger there may be no key.
func (o *policyOptions) given(cfg session.Config) (policy.Given, error) {
	g := policy.Given{
		Certificates: o.certificates, Dedicated: o.dedicated, TSARoot: o.TSARoot, Keys: map[string]policy.Configured{},
		Read: session.ReadCertificates, Now: time.Now(),
	}
	if s := cfg.Flags["state"]; len(s) == 1 {
		g.State = s[0]
	}
	unnamed := o.ledger != "" && len(cfg.Keys) == 0 && o.Key == "" && o.Plugin == "" && !o.Renews()
	rules, err := o.Rules(cfg)
	if err != nil {
		return g, err
	}
	for _, rule := range rules {
		k, err := rule.NotationKey() // where none is named the default one, as in run
		switch {
		case err != nil && unnamed:
			return g, nil // the machine need not be the one that signed
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

// write writes for each consumer. With several, one that is refused stops none of the others.
func (o *policyOptions) write(result *policyResult, m *policy.Migrated, t policy.Trust, consumers []policy.Consumer, log *slog.Logger) error {
	folders := map[int]policy.Folder{} // by place in the result
	for at, c := range consumers {
		f := policy.Folder{Dir: o.dir}
		if o.all {
			f.Dir = filepath.Join(o.dir, c.Name)
		}
		out, err := c.Write(t)
		var refusal *policy.Refusal
		if o.all && errors.As(err, &refusal) && refusal.Consumer != "" {
			m.Problem("refused", append([]any{"consumer", c.Name}, cli.Reasoned(refusal.Error())...)...)
			one := policyConsumer{Consumer: c.Name, Directory: f.Dir, Files: []string{}, Refused: refusal.Error()}
			if session.Exists(f.Dir) {
				log.Warn(stale, "consumer", c.Name, "file", f.Dir)
				one.Warnings = []string{f.Dir + " is " + stale}
			}
			result.Consumers = append(result.Consumers, one)
			continue
		}
		if err != nil {
			return cli.Usage(err)
		}
		m.TellUnstamped(c, t)
		for _, w := range out.Warnings {
			log.Warn(w, "consumer", c.Name)
		}
		f.Output = out
		folders[at] = f
		result.add(f)
	}
	order := slices.Sorted(maps.Keys(folders))
	// All are looked at before the first is written.
	for _, at := range order {
		err := folders[at].Check(o.dir, o.force)
		var refusal *policy.Refusal
		if errors.As(err, &refusal) {
			err = cli.Usage(err)
		}
		if err != nil {
			return err
		}
	}
	for _, at := range order {
		f := folders[at]
		if err := f.Write(); err != nil {
			return err
		}
		told := &result.Consumers[at]
		for _, file := range f.Stale(o.name) {
			log.Warn(stale, "consumer", told.Consumer, "file", file)
			told.Warnings = append(told.Warnings, file+" is "+stale)
		}
		for _, w := range f.InTheWay(dir.ConfigFS().SysPath) {
			log.Warn(w.Text, "file", w.File)
		}
	}
	return nil
}
