package command

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
)

type snapshotOptions struct {
	session.ReadOptions
	session.KeyOptions
	dir  string
	sign bool
}

func newSnapshot(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o snapshotOptions
	c := &cobra.Command{
		Use:   "snapshot -O DIR [flags] [REPOSITORY...]",
		Short: "Save the raw, verified trust data before its server is gone",
		Long: `Snapshot reads and verifies trust data and saves it, byte for byte, as an OCI image layout:
oras and skopeo can copy it, and notation can sign it. Run it again to resume it, or to fetch
what has changed. Every command that reads trust data can read it with --source snapshot:DIR.
A snapshot vouches for nothing by itself: it is verified with pins each time it is read.

With --sign, a Notation key signs what was verified in this run, once for each repository.
When the snapshot is read with a --snapshot-trust-policy that trusts this signature, expiry is
checked at the time of signing, so trust data that was valid then needs no --allow-expired.
Use a separate key for this, or a trust policy that distinguishes it from the keys of images.`,
		Example: `  dct2notation snapshot -O trust-data --trust-pinning pins.json registry.example.com/team/app
  dct2notation snapshot -O trust-data --sign --key archive --trust-pinning pins.json --discover catalog 'registry.example.com/**'
  dct2notation snapshot verify --trust-pinning pins.json --allow-expired=timestamp trust-data
  oras cp --from-oci-layout trust-data:<name> registry.example.com/archive/trust-data:<name>`,
	}
	o.ReadOptions.Bind(c.Flags())
	o.Shard.Bind(c.Flags())
	o.KeyOptions.Bind(c.Flags())
	c.Flags().BoolVar(&o.sign, "sign", false, "sign what was verified in this run with a Notation key")
	c.Flags().StringVarP(&o.dir, "output-dir", "O", "", "directory of the snapshot, created if it does not exist")
	c.RunE = func(c *cobra.Command, args []string) error {
		keyed := cli.FirstChanged(c.Flags(), new(session.KeyOptions).Bind) // before the configuration, which serves all verbs, sets some
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		if keyed != "" && !o.sign {
			return cli.Usage(fmt.Errorf("--%s needs --sign: without it no key is used", keyed))
		}
		// What is saved stays saved: it is as good to stop now as to finish the repository.
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runSnapshot(ctx, o, cfg, args, s)
	}
	c.AddCommand(newSnapshotVerify(stop, s))
	return c
}

func runSnapshot(ctx context.Context, o snapshotOptions, cfg session.Config, args []string, s cli.Streams) error {
	if err := cli.FirstError(o.ReadOptions.Check, o.KeyOptions.Check); err != nil {
		return err
	}
	if o.dir == "" {
		return cli.Usage(errors.New("-O is required: the directory of the snapshot\nhint: to check one that is there: dct2notation snapshot verify DIR"))
	}
	if info, err := os.Stat(o.dir); err == nil && !info.IsDir() {
		return cli.Usage(fmt.Errorf("-O %s: not a directory", safetext.Safe(o.dir, 300)))
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	f, err := o.Connect(ctx, cfg, args, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	options := snapshot.Options{Tool: cli.Tool(), Server: f.NotaryURL, Readers: o.NotaryLimit}
	var key *session.SnapshotSigner
	if o.sign {
		if len(cfg.Keys) > 0 && o.Key == "" && o.Plugin == "" {
			return cli.Usage(errors.New("--sign with keys in the configuration: name the one that signs the snapshot with --key, or --plugin and --id"))
		}
		if key, err = f.SnapshotSigner(ctx, o.KeyOptions, log); err != nil {
			return err
		}
		options.Signer = key
	}
	if o.TOFU {
		log.Warn("roots without a pin are trusted on first use (--tofu)")
	}
	saving := output.NewSaving(&o.Common, s, len(f.GUNs), log)
	options.Observe = saving.Saved
	sum, err := snapshot.Save(ctx, o.dir, f.Reader(), f.GUNs, options)
	saving.Finish()
	out := report.NewSnapshot(o.dir, o.Shard.String(), sum, f.Found)
	if o.sign {
		out.Signed = &report.SnapshotSigned{Leaf: key.Leaf(), Made: sum.Signed, Before: sum.SignedBefore, Failed: sum.Unsigned}
	}
	write := report.SnapshotText
	if o.Output == "json" {
		write = report.JSON[*report.Snapshot]
	}
	if err = errors.Join(err, write(s.Out, out)); err == nil {
		err = sum.WrongServer(f.GUNs)
	}
	if err == nil && out.Added+out.Changed+out.Unchanged == 0 && out.Kept+out.Failed > 0 {
		err = fmt.Errorf("%w: see the result", dct.ErrNothingRead)
	}
	if err == nil && (f.Unlisted != nil || out.Kept+out.Failed+out.Expired+sum.Unsigned > 0) {
		return cli.Exit(cli.ExitFailures)
	}
	return err
}
