package comparer

import (
	"context"
	"errors"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// lookUp reports which side trusts each image of a list of what runs.
func (c *Comparer) lookUp(ctx context.Context) error {
	list, err := session.ReadRunning("--images", c.Images, c.Streams.In)
	if err != nil {
		return err
	}
	f, err := session.ConnectHosts(ctx, c.RemoteOptions, c.SelectOptions, c.Config, c.Args, session.Access{ReadOnly: true, ForceTag: c.ForceTag}, c.Streams, c.Log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	v, err := c.verification(f, nil, nil)
	if err != nil {
		return err
	}
	session.WarnOfStore(c.TrustPolicy, c.Log)
	out := report.NewImagesText(c.Streams.Out, c.Verbose)
	if c.Output == "json" {
		out = report.NewImagesJSON(c.Streams.Out, cli.Tool(), report.ImageList{Name: list.Name, SHA256: list.SHA256, At: list.At.UTC()})
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
	output.WarnOfUnseen(len(unseen), c.Log)
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
