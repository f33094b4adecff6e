package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runSnapshotVerify(ctx, o, cfg, args[0], s)
	}
	return c
}

// snapshotVerifyKind tells the JSON apart from our other JSON.
const snapshotVerifyKind = "dct2notation.snapshot-verify"

// verifiedSnapshot is what snapshot verify found, as JSON.
type verifiedSnapshot struct {
	Version      int                    `json:"version"`
	Kind         string                 `json:"kind"`
	Repositories []verifiedSnapshotPart `json:"repositories"`
}

type verifiedSnapshotPart struct {
	GUN       string             `json:"gun"`
	Manifest  string             `json:"manifest"`
	Targets   int                `json:"targets"`
	PinnedBy  string             `json:"pinned_by,omitempty"`
	Expired   []string           `json:"expired,omitempty"` // expired, allowed by --allow-expired
	Judged    dct.Judged         `json:"judged,omitzero"`   // past its date, and valid when it was signed
	Expiries  []dct.Expiry       `json:"expiries,omitempty"`
	Signature *snapshotSignature `json:"signature,omitempty"` // if it has any
	Error     string             `json:"error,omitempty"`
}

// snapshotSignature is what the trust policy says of a repository's signatures.
type snapshotSignature struct {
	Count   int       `json:"count"`
	Trusted bool      `json:"trusted"`
	At      time.Time `json:"at,omitzero"` // when the trusted one was made
	Leaf    string    `json:"leaf,omitempty"`
	Reason  string    `json:"reason,omitempty"` // why none is trusted
}

func runSnapshotVerify(ctx context.Context, o snapshotVerifyOptions, cfg session.Config, dir string, s cli.Streams) error {
	if err := errors.Join(o.Common.Check(), o.RemoteOptions.Check()); err != nil {
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
	out := verifiedSnapshot{Version: 1, Kind: snapshotVerifyKind, Repositories: []verifiedSnapshotPart{}}
	failed, unseen := 0, 0
	var text strings.Builder
	for _, r := range results {
		part := partOf(r)
		if r.Err != nil {
			failed++
		}
		if r.PinnedBy == dct.PinnedTOFU {
			unseen++
		}
		part.text(&text)
		out.Repositories = append(out.Repositories, part)
	}
	output.WarnOfUnseen(unseen, o.Logger(s.Err))
	fmt.Fprintf(&text, "verified %d, not verified %d\n", len(results)-failed, failed)
	if o.Output == "json" {
		err = report.JSON(s.Out, out)
	} else {
		_, err = fmt.Fprint(s.Out, text.String())
	}
	switch {
	case err != nil:
		return err
	case len(results) == 0:
		return errors.New("nothing was verified: the snapshot has no repository\nhint: take it again, and see which repositories are found")
	case failed > 0:
		return cli.Exit(cli.ExitDisagree)
	}
	return nil
}

func partOf(r snapshot.Result) verifiedSnapshotPart {
	part := verifiedSnapshotPart{
		GUN: r.GUN.String(), Manifest: r.Manifest.String(), Targets: r.Targets, PinnedBy: r.PinnedBy,
		Expired: r.Expired, Judged: r.Judged, Expiries: r.Expiries,
	}
	if r.Signatures > 0 {
		part.Signature = &snapshotSignature{r.Signatures, r.Signature.Trusted, r.Signature.At, r.Signature.Leaf, r.Signature.Reason}
	}
	if r.Err != nil {
		part.Error = r.Err.Error()
	}
	return part
}

func (p verifiedSnapshotPart) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s", safetext.Safe(p.GUN, 256), safetext.Count(p.Targets, "target"))
	if len(p.Expired) > 0 {
		fmt.Fprintf(b, ", expired, allowed by --allow-expired: %s", safetext.Safe(strings.Join(p.Expired, ", "), 200))
	}
	if p.Error != "" {
		fmt.Fprintf(b, "  not verified\n    %s", strings.ReplaceAll(safetext.Lines(p.Error, 2048), "\n", "\n    "))
	}
	switch sig := p.Signature; {
	case sig == nil:
		b.WriteString("\n    without a signature of snapshot --sign\n")
	case !sig.Trusted:
		fmt.Fprintf(b, "\n    signed, and not trusted: %s\n", safetext.Safe(sig.Reason, 400))
	default:
		fmt.Fprintf(b, "\n    signed at %s by %s\n", sig.At.UTC().Format(time.RFC3339), sig.Leaf)
	}
	if !p.Judged.IsZero() {
		fmt.Fprintf(b, "    expired, signed while it was valid: %s\n", safetext.Safe(p.Judged.String(), 300))
	}
}
