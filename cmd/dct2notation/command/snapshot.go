package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
)

type snapshotOptions struct {
	commonOptions
	remoteOptions
	selectOptions
	dir string
}

func newSnapshot(stop <-chan struct{}, s Streams) *cobra.Command {
	var o snapshotOptions
	c := &cobra.Command{
		Use:   "snapshot -O DIR [flags] [REPOSITORY...]",
		Short: "Save the raw, verified trust data before its server is gone",
		Long: `Snapshot reads and verifies trust data and saves it, in the bytes that the server sent, as an
OCI image layout: oras and skopeo can copy it, and notation can sign it. Run again, it
fetches what has changed; killed, it goes on. Every verb that reads trust data takes it with
--source snapshot:DIR. A snapshot vouches for nothing by itself: whoever reads it verifies
it with pins.`,
		Example: `  dct2notation snapshot -O trust-data --trust-pinning pins.json registry.example.com/team/app
  dct2notation snapshot verify --trust-pinning pins.json --allow-expired=timestamp trust-data
  oras cp --from-oci-layout trust-data:<name> registry.example.com/archive/trust-data:<name>`,
	}
	o.commonOptions.bind(c.Flags())
	o.remoteOptions.bind(c.Flags())
	o.selectOptions.bind(c.Flags())
	c.Flags().StringVarP(&o.dir, "output-dir", "O", "", "directory of the snapshot, made if it is not there")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		// What is saved stays saved: ending it is as good as finishing the repository.
		ctx, cancel := until(c.Context(), stop)
		defer cancel()
		return runSnapshot(ctx, o, cfg, args, s)
	}
	c.AddCommand(newSnapshotVerify(stop, s))
	return c
}

func (o *snapshotOptions) check() error {
	for _, check := range []func() error{o.commonOptions.check, o.remoteOptions.check, o.selectOptions.check} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// savedReport is what snapshot did, as JSON.
type savedReport struct {
	Version   int              `json:"version"`
	Kind      string           `json:"kind"`
	Directory string           `json:"directory"`
	Added     int              `json:"added"`
	Changed   int              `json:"changed"`
	Unchanged int              `json:"unchanged"`
	Kept      int              `json:"kept"`
	Failed    int              `json:"failed"`
	Attention []savedAttention `json:"attention,omitempty"`
}

type savedAttention struct {
	GUN     string           `json:"gun"`
	Outcome snapshot.Outcome `json:"outcome"`
	Reason  string           `json:"reason"`
}

func runSnapshot(ctx context.Context, o snapshotOptions, cfg config, args []string, s Streams) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.dir == "" {
		return usage(errors.New("-O names the directory of the snapshot"))
	}
	log := o.logger(s.Err)
	f, err := enter(ctx, o.remoteOptions, o.selectOptions, cfg, args, access{readOnly: true}, nil, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // only read from
	began, done := time.Now(), 0
	sum, err := snapshot.Save(ctx, o.dir, f.reader(), f.guns, snapshot.Options{
		Tool: "dct2notation/" + Version(), Server: f.notaryURL,
		Observe: func(one snapshot.Saved) {
			done++
			if time.Since(began) > heartbeat {
				began = time.Now()
				log.Info("progress", "done", done, "of", len(f.guns))
			}
			log.Debug("saved", "repository", one.GUN.String(), "outcome", string(one.Outcome))
		},
	})
	out := savedReport{
		Version: 1, Kind: "dct2notation.snapshot", Directory: o.dir,
		Added: sum.Added, Changed: sum.Changed, Unchanged: sum.Unchanged, Kept: sum.Kept, Failed: sum.Failed,
	}
	for _, one := range sum.Attention {
		if one.Outcome == snapshot.Failed && errors.Is(one.Err, dct.ErrUnsigned) && f.scope.Discovered {
			out.Failed-- // found in a catalogue, and not signed: nothing to save
			continue
		}
		a := savedAttention{GUN: one.GUN.String(), Outcome: one.Outcome, Reason: one.Warning}
		if one.Err != nil {
			a.Reason = one.Err.Error()
		}
		out.Attention = append(out.Attention, a)
	}
	if o.output == "json" {
		err = errors.Join(err, report.JSON(s.Out, out))
	} else {
		err = errors.Join(err, out.text(s))
	}
	if err == nil && out.Kept+out.Failed > 0 {
		return &verdict{exitFailures}
	}
	return err
}

func (r savedReport) text(s Streams) error {
	var b strings.Builder
	for _, a := range r.Attention {
		fmt.Fprintf(&b, "%-10s %s\n    %s\n", a.Outcome, safetext.Safe(a.GUN, 256),
			strings.ReplaceAll(safetext.Lines(a.Reason, 2048), "\n", "\n    "))
	}
	fmt.Fprintf(&b, "added %d, changed %d, unchanged %d, kept from before %d, failed %d\n", r.Added, r.Changed, r.Unchanged, r.Kept, r.Failed)
	_, err := fmt.Fprint(s.Out, b.String())
	return err
}

func newSnapshotVerify(stop <-chan struct{}, s Streams) *cobra.Command {
	var o snapshotOptions
	c := &cobra.Command{
		Use:   "verify [flags] DIR",
		Short: "Check a snapshot offline: each file's bytes, and the trust data by the pins",
		Args:  func(c *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(c, args)) },
	}
	o.commonOptions.bind(c.Flags())
	o.remoteOptions.bind(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := until(c.Context(), stop)
		defer cancel()
		return runSnapshotVerify(ctx, o, cfg, args[0], s)
	}
	return c
}

// verifiedSnapshot is what snapshot verify found, as JSON.
type verifiedSnapshot struct {
	Version      int                    `json:"version"`
	Kind         string                 `json:"kind"`
	Repositories []verifiedSnapshotPart `json:"repositories"`
}

type verifiedSnapshotPart struct {
	GUN      string       `json:"gun"`
	Manifest string       `json:"manifest"`
	Targets  int          `json:"targets"`
	PinnedBy string       `json:"pinned_by,omitempty"`
	Expired  []string     `json:"expired,omitempty"`
	Expiries []dct.Expiry `json:"expiries,omitempty"`
	Error    string       `json:"error,omitempty"`
}

func runSnapshotVerify(ctx context.Context, o snapshotOptions, cfg config, dir string, s Streams) error {
	if err := errors.Join(o.commonOptions.check(), o.remoteOptions.check()); err != nil {
		return err
	}
	pins, err := o.pins(cfg)
	if err != nil {
		return err
	}
	results, err := snapshot.Verify(ctx, dir, &dct.Reader{Pins: pins, AllowExpired: o.allowExpired, AllowDegraded: o.allowDegraded})
	if err != nil {
		return err
	}
	out := verifiedSnapshot{Version: 1, Kind: "dct2notation.snapshot-verify"}
	failed := 0
	var text strings.Builder
	for _, r := range results {
		part := verifiedSnapshotPart{r.GUN.String(), r.Manifest.String(), r.Targets, r.PinnedBy, r.Expired, r.Expiries, ""}
		fmt.Fprintf(&text, "%s  %d targets", safetext.Safe(part.GUN, 256), r.Targets)
		if len(r.Expired) > 0 {
			fmt.Fprintf(&text, ", past its date and allowed to be: %s", safetext.Safe(strings.Join(r.Expired, ", "), 200))
		}
		if r.Err != nil {
			failed++
			part.Error = r.Err.Error()
			fmt.Fprintf(&text, "  not verified\n    %s", strings.ReplaceAll(safetext.Lines(part.Error, 2048), "\n", "\n    "))
		}
		text.WriteString("\n")
		out.Repositories = append(out.Repositories, part)
	}
	fmt.Fprintf(&text, "verified %d, not verified %d\n", len(results)-failed, failed)
	if o.output == "json" {
		err = report.JSON(s.Out, out)
	} else {
		_, err = fmt.Fprint(s.Out, text.String())
	}
	if err == nil && failed > 0 {
		return &verdict{exitDisagree}
	}
	return err
}
