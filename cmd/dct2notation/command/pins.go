package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
)

type pinsOptions struct {
	session.ReadOptions
	rootKeys bool
	folds    []string
}

func newPins(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o pinsOptions
	c := &cobra.Command{
		Use:   "pins [flags] [REPOSITORY...]",
		Short: "List the root keys of repositories, to be compared and pinned",
		Long: `Pins lists the root keys that repositories have now: key ids, certificate and its end. It is to
Notary what ssh-keyscan is to SSH: nothing is trusted by being listed. Compare the ids with those that
the owners of the repositories give you. What the configuration or docker's trust directory pins already
is marked, and so is what differs from that. On a terminal, repositories that share their keys are one line.

With -o json the result is a file for --trust-pinning: notary's trust_pinning, by the ids of certificates,
which differ for each repository. With --root-keys the ids are those of the keys, as notary key list shows
them, which many repositories may share: --fold 'registry.example.com/team/*' makes one pin of theirs.`,
		Example: `  dct2notation pins registry.example.com/team/app
  dct2notation pins --discover changefeed --root-keys --fold 'registry.example.com/team/*' -o json 'registry.example.com/**' > pins.json`,
	}
	o.ReadOptions.Bind(c.Flags())
	o.BindVerbose(c.Flags(), "on a terminal too, list each repository, with certificates and fingerprints")
	cli.HideFlags(c.Flags(), "tofu", "trust-pinning", "docker-trust", "allow-expired", "allow-degraded", "cache-dir", "no-tty", "include-tags", "exclude-tags")
	c.Flags().BoolVar(&o.rootKeys, "root-keys", false, "list by the ids of the keys alone, as notary key list has them, instead of those of certificates")
	c.Flags().StringArrayVar(&o.folds, "fold", nil, "PREFIX* to make one pin of, if all repositories that it covers have the same keys; needs --root-keys; repeatable")
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runPins(ctx, o, cfg, args, s)
	})
	return c
}

func (o *pinsOptions) check() error {
	if err := o.ReadOptions.Check(); err != nil {
		return err
	}
	if len(o.folds) > 0 && !o.rootKeys {
		return cli.Usage(errors.New("--fold needs --root-keys: ids of certificates are one for each repository"))
	}
	for _, fold := range o.folds {
		if prefix, ok := strings.CutSuffix(fold, "*"); !ok || strings.Contains(prefix, "*") || !strings.Contains(prefix, "/") {
			return cli.Usage(fmt.Errorf("--fold %s: it is a prefix and *, such as registry.example.com/team/*", safetext.Safe(fold, 200)))
		}
	}
	return nil
}

// listedRoot is the root of one repository, or why it could not be read.
type listedRoot struct {
	gun dct.GUN
	report.Root
	err error
}

func runPins(ctx context.Context, o pinsOptions, cfg session.Config, args []string, s cli.Streams) error {
	if err := o.check(); err != nil {
		return err
	}
	log := o.Logger(s.Err)
	f, err := o.Connect(ctx, cfg, args, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	hosts, reader := dct.NewHosts(), f.Reader()
	var roots []listedRoot
	failed, unread := 0, output.NewNotRead(&o.Common, s, log, "not listed")
	for _, gun := range f.GUNs {
		root := listedRoot{gun: gun, Root: report.Root{Repository: gun.String()}}
		root.err = hosts.Try(ctx, gun, func() (err error) {
			root.Version, root.Keys, err = reader.ListRoot(ctx, gun)
			return err
		})
		root.State = report.RootState(root.Keys, f.Pinned(gun))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if root.err != nil {
			failed++
			unread.Add(gun, root.err)
		}
		roots = append(roots, root)
	}
	if err := unread.Show(); err != nil {
		return err
	}
	if failed == len(roots) {
		return errors.Join(dct.ErrNothingRead, hosts.Suspects())
	}
	if o.Output == "json" {
		pins, covered, err := o.pins(roots)
		if err != nil {
			return err
		}
		for _, fold := range o.folds {
			fmt.Fprintf(s.Err, "%s covers %s, and whatever else begins so and has these keys\n", safetext.Safe(fold, 200), strings.Join(covered[fold], ", "))
		}
		if err := report.JSON(s.Out, map[string]any{"trust_pinning": pins}); err != nil {
			return err
		}
	} else if err := o.write(s, roots); err != nil {
		return err
	}
	fmt.Fprintln(s.Err, "Nothing is trusted by being listed: compare the ids with those that the owners give you.")
	if failed > 0 || f.Unlisted != nil {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// pins returns the roots in the form of notary's trust_pinning, and which repositories each fold covers.
func (o *pinsOptions) pins(roots []listedRoot) (pins map[string]map[string][]string, covered map[string][]string, _ error) {
	name, all := "certs", map[string][]string{}
	if o.rootKeys {
		name = "root-keys"
	}
	covered = map[string][]string{}
	for _, root := range roots {
		if root.err != nil {
			continue
		}
		var ids []string
		for _, key := range root.Keys {
			switch {
			case !o.rootKeys:
				ids = append(ids, key.ID)
			case key.PublicID != "":
				ids = append(ids, key.PublicID)
			}
		}
		slices.Sort(ids)
		if len(ids) == 0 {
			return nil, nil, fmt.Errorf("%s: its root has no certificate that can be read\nhint: list it without --root-keys", root.gun)
		}
		as := root.gun.String()
		if i := slices.IndexFunc(o.folds, func(fold string) bool { return strings.HasPrefix(as, strings.TrimSuffix(fold, "*")) }); i >= 0 {
			as = o.folds[i]
			if before, ok := all[as]; ok && !slices.Equal(before, ids) {
				return nil, nil, fmt.Errorf("--fold %s: %s has other keys than %s\nhint: one pin for both would trust either's root in the other: leave it out of the prefix, or give no --fold for it",
					as, root.gun, strings.Join(covered[as], ", "))
			}
			covered[as] = append(covered[as], root.gun.String())
		}
		all[as] = ids
	}
	for _, fold := range o.folds {
		if len(covered[fold]) == 0 {
			return nil, nil, cli.Usage(fmt.Errorf("--fold %s covers none of the repositories", safetext.Safe(fold, 200)))
		}
	}
	return map[string]map[string][]string{name: all}, covered, nil
}

// write prints the roots for people, and what to do next.
func (o *pinsOptions) write(s cli.Streams, roots []listedRoot) error {
	if o.rootKeys {
		pins, covered, err := o.pins(roots)
		if err != nil {
			return err
		}
		return report.RootKeysText(s.Out, pins["root-keys"], covered)
	}
	var listed []report.Root
	count := map[string]int{}
	for _, root := range roots {
		if root.err == nil {
			listed = append(listed, root.Root)
			count[root.State]++
			if root.State == report.NotPinned {
				s.Then.NotRead(failure.Unpinned, root.gun.String())
			}
		}
	}
	switch {
	case count[report.DiffersFromPin] > 0:
		s.Then.Do("nothing") // whoever pins what is listed also pins what differs
	case count[report.NotPinned] == 0:
		s.Then.Do("plan")
	}
	if screen, ok := o.Screen(s.Out); ok {
		return screen.Roots(s.Out, listed)
	}
	return report.RootsText(s.Out, listed)
}
