package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation/signature"
)

// checkImages refuses what is of a comparison of repositories.
func (o *verifyOptions) checkImages() error {
	wrong := ""
	switch {
	case o.images == "":
		return nil
	case o.every != 0:
		wrong = "--watch"
	case o.sample > 0:
		wrong = "--sample"
	case o.ledger != "":
		wrong = "--ledger"
	case o.Shard.Count > 0:
		wrong = "--shard"
	case o.allTags:
		wrong = "--all-tags"
	case len(o.failOn) > 0:
		wrong = "--fail-on"
	case len(o.Reports) > 0:
		wrong = "--report"
	case o.SelectsTags():
		wrong = "--include-tags and --exclude-tags"
	case o.Output != "text" && o.Output != "json":
		return cli.Usage(fmt.Errorf("--output %s: with --images it must be text or json", o.Output))
	}
	if wrong != "" {
		return cli.Usage(fmt.Errorf("%s cannot be used with --images, which looks up images and no repositories", wrong))
	}
	return nil
}

// lookUp says which side trusts each image of a list of what runs.
func (o *verifyOptions) lookUp(ctx context.Context, cfg session.Config, args []string, s cli.Streams, log *slog.Logger) error {
	list, err := session.ReadRunning("--images", o.images, s.In)
	if err != nil {
		return err
	}
	f, err := session.ConnectHosts(ctx, o.RemoteOptions, o.SelectOptions, cfg, args, session.Access{ReadOnly: true, ForceTag: o.forceTag}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	verifier, err := o.OpenVerifier(o.trustPolicy, f.Transport)
	if err != nil {
		return err
	}
	warnOfStore(o.trustPolicy, log)
	v := &verify.Verification{
		Trust: f.Reader(), Registry: &session.ImageRegistry{Client: f.Registry}, Scope: f.Scope, Workers: o.workers, Readers: o.NotaryLimit,
		Judge: &session.Judge{Client: f.Registry, Of: signature.Judge{Verifier: verifier}},
	}
	out := report.NewImagesText(s.Out, o.Verbose)
	if o.Output == "json" {
		out = report.NewImagesJSON(s.Out, cli.Tool(), report.ImageList{Name: list.Name, SHA256: list.SHA256, At: list.At.UTC()})
	}
	totals, asked, unseen, scope := report.ImageTotals{}, false, map[string]bool{}, f.Running()
	err = v.Running(ctx, list.Images, scope, func(r verify.Running) error {
		asked = asked || scope.Asks(migrate.HostOf(r.Repository))
		if r.PinnedBy == dct.PinnedTOFU {
			unseen[r.Repository] = true
		}
		totals[r.TrustedBy]++
		return out.Image(r)
	})
	output.WarnOfUnseen(len(unseen), log)
	if err == nil && !asked {
		err = cli.Usage(errors.New("no image of the list is of a registry that the configuration or an argument names\nhint: name the registry, as in 'registry.example.com/**'"))
	}
	if endErr := out.End(totals, err); err != nil || endErr != nil {
		return errors.Join(err, endErr)
	}
	switch {
	case totals.Disagree():
		return cli.Exit(cli.ExitDisagree)
	case totals[verify.ByUnknown] > 0:
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}
