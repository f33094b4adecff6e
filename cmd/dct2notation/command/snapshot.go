package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

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
		// What is saved stays saved: ending it is as good as finishing the repository.
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runSnapshot(ctx, o, cfg, args, s)
	}
	c.AddCommand(newSnapshotVerify(stop, s))
	return c
}

// snapshotKind tells the JSON apart from our other JSON.
const snapshotKind = "dct2notation.snapshot"

// savedReport is what snapshot did, as JSON.
type savedReport struct {
	Version   int              `json:"version"`
	Kind      string           `json:"kind"`
	Directory string           `json:"directory"`
	Shard     string           `json:"shard,omitempty"` // the part I/N of the repositories that was saved; empty: all
	Added     int              `json:"added"`
	Changed   int              `json:"changed"`
	Unchanged int              `json:"unchanged"`
	Kept      int              `json:"kept"`
	Failed    int              `json:"failed"`
	Expired   int              `json:"expired,omitempty"` // saved, and past its date: reading it needs --allow-expired
	Signed    *signedReport    `json:"signed,omitempty"`  // with --sign
	Attention []savedAttention `json:"attention,omitempty"`
}

// signedReport counts the signatures of repositories that were verified.
type signedReport struct {
	Leaf   string `json:"leaf,omitempty"` // SHA-256 of the certificate; empty: nothing was to be signed, and nothing is
	Made   int    `json:"made"`           // by this call
	Before int    `json:"before"`         // by an earlier one
	Failed int    `json:"failed"`
}

type savedAttention struct {
	GUN     string           `json:"gun"`
	Outcome snapshot.Outcome `json:"outcome"` // or unsigned, or expired
	Reason  string           `json:"reason"`
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
	var signed *signedReport
	var key *session.SnapshotSigner
	if o.sign {
		if len(cfg.Keys) > 0 && o.Key == "" && o.Plugin == "" {
			return cli.Usage(errors.New("--sign with keys in the configuration: name the one that signs the snapshot with --key, or --plugin and --id"))
		}
		if key, err = f.SnapshotSigner(ctx, o.KeyOptions, log); err != nil {
			return err
		}
		options.Signer, signed = key, &signedReport{}
	}
	sum, err := o.save(ctx, f, options, s, log)
	out := savedReport{
		Version: 1, Kind: snapshotKind, Directory: o.dir, Shard: o.Shard.String(),
		Added: sum.Added, Changed: sum.Changed, Unchanged: sum.Unchanged, Kept: sum.Kept, Failed: sum.Failed, Expired: sum.Expired, Signed: signed,
	}
	if signed != nil {
		signed.Made, signed.Before, signed.Failed, signed.Leaf = sum.Signed, sum.SignedBefore, sum.Unsigned, key.Leaf()
	}
	out.attend(sum, f.Found)
	if o.Output == "json" {
		err = errors.Join(err, report.JSON(s.Out, out))
	} else {
		err = errors.Join(err, out.text(s))
	}
	if err == nil {
		err = wrongServer(f.GUNs, sum)
	}
	if err == nil && out.Added+out.Changed+out.Unchanged == 0 && out.Kept+out.Failed > 0 {
		err = fmt.Errorf("%w: see the result", dct.ErrNothingRead)
	}
	if err == nil && (f.Unlisted != nil || out.Kept+out.Failed+out.Expired+sum.Unsigned > 0) {
		return cli.Exit(cli.ExitFailures)
	}
	return err
}

// wrongServer returns an error if the Notary server of a registry had none of the trust data.
func wrongServer(guns []dct.GUN, sum snapshot.Summary) error {
	read := map[dct.GUN]error{}
	for _, gun := range guns {
		read[gun] = nil
	}
	for _, one := range sum.Attention {
		read[one.GUN] = one.Err
	}
	return dct.WrongServer(read)
}

// save saves what the field has, and tells how far it is.
func (o *snapshotOptions) save(ctx context.Context, f *session.Session, options snapshot.Options, s cli.Streams, log *slog.Logger) (snapshot.Summary, error) {
	if o.TOFU {
		log.Warn("roots without a pin are trusted on first use (--tofu)")
	}
	var done, failed atomic.Int64
	began, below := time.Now(), o.ProgressOn(s.Err)
	defer output.Meter(&o.Common, s, func() (far cli.Status) {
		bad := failed.Load() // before done, which has them too
		far.Percent = int(100*done.Load()) / max(len(f.GUNs), 1)
		far.Text = fmt.Sprintf("saved: %d of %s", done.Load()-bad, safetext.Count(len(f.GUNs), "repository"))
		far.Fail(int(bad), "failed")
		return far
	})()
	options.Observe = func(one snapshot.Saved) {
		done.Add(1)
		if one.Outcome == snapshot.Failed {
			failed.Add(1)
		}
		if below == nil && time.Since(began) > cli.Heartbeat {
			began = time.Now()
			log.Info("progress", "done", done.Load(), "of", len(f.GUNs))
		}
		log.Debug("saved", "repository", one.GUN.String(), "outcome", string(one.Outcome))
	}
	return snapshot.Save(ctx, o.dir, f.Reader(), f.GUNs, options)
}

// unsigned is why a repository is in the report that was saved and not signed.
const unsigned snapshot.Outcome = "unsigned"

// pastDate is why a repository is in the report that was saved, and is past its date.
const pastDate snapshot.Outcome = "expired"

// attend lists what a person should know of. found reports whether a repository was found,
// not named: that it has no trust data is no failure then.
func (r *savedReport) attend(sum snapshot.Summary, found func(dct.GUN) bool) {
	for _, one := range sum.Attention {
		gun := one.GUN.String()
		lacks := errors.Is(one.Err, dct.ErrUnsigned) && found(one.GUN)
		switch {
		case lacks && one.Outcome == snapshot.Failed:
			r.Failed-- // nothing to save
		case lacks && errors.Is(one.Err, dct.ErrDeleted):
			r.Kept-- // what was saved before stays, and there will be nothing newer
			r.Unchanged++
			r.Attention = append(r.Attention, savedAttention{gun, snapshot.Unchanged, one.Err.Error()})
		case one.Err != nil:
			r.Attention = append(r.Attention, savedAttention{gun, one.Outcome, one.Err.Error()})
		case one.Warning != "":
			r.Attention = append(r.Attention, savedAttention{gun, one.Outcome, one.Warning})
		}
		if one.Expired != nil {
			r.Attention = append(r.Attention, savedAttention{gun, pastDate, one.Expired.Error()})
		}
		if one.Unsigned != nil {
			r.Attention = append(r.Attention, savedAttention{gun, unsigned, one.Unsigned.Error()})
		}
	}
}

func (r savedReport) text(s cli.Streams) error {
	var b strings.Builder
	for _, a := range r.Attention {
		fmt.Fprintf(&b, "%-10s %s\n    %s\n", a.Outcome, safetext.Safe(a.GUN, 256),
			strings.ReplaceAll(safetext.Lines(a.Reason, 2048), "\n", "\n    "))
	}
	fmt.Fprintf(&b, "added %d, changed %d, unchanged %d, kept from before %d, failed %d\n", r.Added, r.Changed, r.Unchanged, r.Kept, r.Failed)
	if r.Expired > 0 {
		fmt.Fprintf(&b, "of these expired %d: saved, not signed, and readable only with --allow-expired\n", r.Expired)
	}
	if r.Signed != nil {
		fmt.Fprintf(&b, "signed %d, signed before %d, not signed %d, with certificate %s\n", r.Signed.Made, r.Signed.Before, r.Signed.Failed, cmp.Or(r.Signed.Leaf, "none"))
	}
	_, err := fmt.Fprint(s.Out, b.String())
	return err
}
