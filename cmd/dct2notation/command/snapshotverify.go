package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate/report"
)

type snapshotVerifyOptions struct {
	cli.Common
	session.RemoteOptions
}

func newSnapshotVerify(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o snapshotVerifyOptions
	c := &cobra.Command{
		Use:   "verify [flags] DIR",
		Short: "Check a snapshot offline: the digest of each file, and the trust data against the pins",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(errors.New("snapshot verify takes one directory, written by snapshot -O"))
			}
			return nil
		},
	}
	o.Common.Bind(c.Flags())
	o.RemoteOptions.Bind(c.Flags())
	// It accepts the configuration of the other verbs. The only servers it contacts are those that answer
	// whether a certificate was revoked, and only with a trust policy.
	cli.HideFlags(c.Flags(), "notary-server", "source", "rescue", "cache-dir", "username", "password-stdin", "registry-config", "token-host",
		"ca-file", "plain-http", "insecure-registry", "registry-concurrency", "registry-rate", "max-pages", "list-timeout", "body-timeout", "notary-concurrency", "max-changefeed-records", "notary-timeout", "no-tty")
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runSnapshotVerify(ctx, o, cfg, args[0], s)
	})
	return c
}

func runSnapshotVerify(ctx context.Context, o snapshotVerifyOptions, cfg session.Config, dir string, s cli.Streams) error {
	if err := cli.FirstError(o.Common.Check, o.RemoteOptions.Check); err != nil {
		return err
	}
	session.UseNotationFolders()
	pins, err := o.Pins(cfg)
	if err != nil {
		return err
	}
	rt, err := o.OfflineTransport()
	if err != nil {
		return err
	}
	defer rt.CloseIdleConnections()
	judge, err := o.SnapshotJudge(rt)
	if err != nil {
		return err
	}
	results, err := snapshot.Verify(ctx, dir, &dct.Reader{Pins: pins, AllowExpired: o.AllowExpired, AllowDegraded: o.AllowDegraded, MaxBytes: int64(o.MaxTrust) << 20}, judge)
	if err != nil && ctx.Err() == nil {
		return cli.Usage(err) // it cannot be opened
	}
	if err != nil {
		return err
	}
	unseen := 0
	for _, r := range results {
		if r.PinnedBy == dct.PinnedTOFU {
			unseen++
		}
	}
	output.WarnOfUnseen(unseen, o.Logger(s.Err))
	out, write := report.NewVerifiedSnapshot(results), report.SnapshotVerifyText
	if o.Output == "json" {
		write = report.JSON[*report.VerifiedSnapshot]
	}
	if err := write(s.Out, out); err != nil {
		return err
	}
	switch {
	case len(results) == 0:
		return errors.New("nothing was verified: the snapshot has no repository\nhint: take it again, and see which repositories are found")
	case out.Failed() > 0:
		return cli.Exit(cli.ExitDisagree)
	}
	return nil
}
