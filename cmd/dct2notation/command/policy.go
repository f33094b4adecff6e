package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/policies"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/notation/policy"
)

func newPolicy(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o policies.Options
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
	f.StringVarP(&o.Dir, "output-dir", "O", "", "directory to write to, created if it does not exist; with --all, one subdirectory for each consumer")
	f.BoolVar(&o.All, "all", false, "write files for all consumers except betas")
	f.BoolVar(&o.Force, "force", false, "overwrite existing files")
	f.StringVar(&o.Stage, "stage", "", "audit or enforce (default audit)")
	f.StringVar(&o.Ledger, "ledger", "", "ledger of the runs that signed; without it, trust data is read")
	f.StringArrayVar(&o.Certificates, "certificate", nil, "certificate chain of a key: KEY=FILE (PEM, leaf first, up to the certificate to trust), or KEY=THUMBPRINT (SHA-256 of the leaf) to take the chain from the ledger; repeat for each key, and for a renewed certificate")
	f.StringArrayVar(&o.Dedicated, "dedicated-ca", nil, "KEY whose CA issues certificates to this key only, so that the CA itself can be trusted where a policy cannot check the subject")
	f.StringVar(&o.Name, "name", "dct2notation", "name of the policies and resources written (a DNS label)")
	f.StringVar(&o.Namespace, "namespace", "default", "Kubernetes namespace of Flux's Secrets and of Ratify")
	f.BoolVar(&o.ClusterPolicy, "cluster-policy", false, "kyverno: write the deprecated ClusterPolicy")
	f.StringVar(&o.RatifyCA, "ratify-ca", "", "ratify: PEM file with the CA of Ratify's TLS certificate; writes the Provider too")
	o.ReadOptions.Bind(f)
	o.KeyOptions.Bind(f)
	o.BindVerbose(f, "on a terminal too, print the result in full")
	f.Lookup("timestamp-root-cert").Usage = "file with the root certificate of the time-stamping authority that countersigned the signatures"
	cli.HideFlags(f, "accept-certificate", "plugin-path", "plugin-sha256", "plugin-env", "plugin-timeout", "plugin-config", "signature-format", "expiry", "user-metadata", "timestamp-url", "timestamp-rate", "key-rate")
	c.RunE = func(c *cobra.Command, args []string) error {
		// Before the configuration, which serves all verbs, sets some flags.
		reading := cli.FirstChanged(c.Flags(), func(f *pflag.FlagSet) { f.String("source", "", ""); f.String("discover", "", "") })
		tags := cli.FirstChanged(c.Flags(), func(f *pflag.FlagSet) { f.String("include-tags", "", ""); f.String("exclude-tags", "", "") })
		o.ClusterAsked = c.Flags().Changed("cluster-policy")
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		if o.Ledger != "" && reading != "" {
			return cli.Usage(fmt.Errorf("--%s cannot be used with --ledger: no trust data is read in that case", reading))
		}
		if o.Ledger != "" && tags != "" {
			return cli.Usage(fmt.Errorf("--%s: a policy covers whole repositories, and the images of --ledger are already signed, whatever their tags", tags))
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runPolicy(ctx, o, cfg, args, s)
	}
	return c
}

func runPolicy(ctx context.Context, o policies.Options, cfg session.Config, args []string, s cli.Streams) error {
	if err := o.Check(args); err != nil {
		return err
	}
	w := &policies.Writer{Options: o, Config: cfg, Streams: s, Log: o.Logger(s.Err)}
	written, err := w.Write(ctx)
	if err != nil {
		return err
	}
	result := newPolicyResult(written)
	if screen, ok := o.Screen(s.Out); ok && screen.Width > 0 {
		err = result.onScreen(screen, s.Out, written.Problems)
	} else {
		err = result.show(s.Out, o.Output)
	}
	if err != nil {
		return err
	}
	if !result.Complete {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}
