package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/draft"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

type initOptions struct {
	session.ReadOptions
	draft.Draft
	file string
}

// notOfInit are flags that init would ignore: it writes the configuration that others read, reads only the roots of
// trust data, and trusts none of them.
var notOfInit = []string{"config", "output", "tofu", "allow-expired", "allow-degraded", "rescue", "cache-dir", "snapshot-trust-policy",
	"verification-plugin", "verification-plugin-sha256", "verification-plugin-config", "verification-plugin-env", "verification-plugin-timeout",
	"include-tags", "exclude-tags"}

// written are flags of init that have a place of their own in what it writes, or apply to a single call.
var written = []string{"key", "plugin", "id", "output-file", "notary-server", "trust-pinning", "discover", "repositories-from",
	"username", "password-stdin", "log-format", "debug", "quiet", "color", "no-tty"}

func newInit(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init [flags] [REPOSITORY...]",
		Short: "Write a configuration from docker, notation and the Notary server",
		Long: `Init writes a commented migration.yaml with the repositories that are named or found (else those
in docker's trust directory on this machine), their Notary servers, the key, and as pins those of
--trust-pinning and the roots that docker trusts. Other roots are only written as comments: check
them before you pin them.

It asks no questions, and does not overwrite files.`,
		Example: `  dct2notation init
  dct2notation init --notary-server https://notary.example.com --key release registry.example.com/team/app`,
	}
	cli.Without(c.Flags(), o.ReadOptions.Bind, notOfInit...)
	cli.HideFlags(c.Flags(), "registry-concurrency", "registry-rate", "max-pages", "list-timeout", "body-timeout", "max-trust-data", "notary-timeout", "max-changefeed-records", "notary-concurrency")
	c.Flags().StringVarP(&o.Key, "key", "k", "", "name of a key in notation's signingkeys.json (default: notation's default key)")
	c.Flags().StringVar(&o.Plugin, "plugin", "", "notation plugin that holds the key; needs --id")
	c.Flags().StringVar(&o.ID, "id", "", "key id to pass to the plugin")
	c.Flags().StringVarP(&o.file, "output-file", "O", "migration.yaml", "file that is written")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c) // empty, except for --repositories-from
		if err != nil {
			return err
		}
		o.Flags = givenKeys(c.Flags())
		if len(args)+len(cfg.Repositories) == 0 && !c.Flags().Changed("discover") {
			o.Discover = session.DiscoverDockerTrust
			if !session.Exists(filepath.Join(cli.DockerDir(), "trust")) {
				return cli.Usage(errors.New("docker has no trust data on this machine\nhint: name repositories, or a file of them with --repositories-from; or have them found with --discover changefeed 'HOST/**'"))
			}
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runInit(ctx, o, cfg, args, s)
	}
	return c
}

func runInit(ctx context.Context, o initOptions, cfg session.Config, args []string, s cli.Streams) error {
	if err := o.ReadOptions.Check(); err != nil {
		return err
	}
	if (o.Plugin == "") != (o.ID == "") || o.Plugin != "" && o.Key != "" {
		return cli.Usage(errors.New("--plugin and --id must be used together, and exclude --key"))
	}
	if _, err := os.Lstat(o.file); !errors.Is(err, fs.ErrNotExist) {
		return cli.Usage(fmt.Errorf("%s is there already\nhint: -O names another file; nothing is replaced", safetext.Safe(o.file, 300)))
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	found, err := o.Connect(ctx, cfg, args, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	guns := found.GUNs
	incomplete := found.Unlisted != nil
	if err := found.Close(); err != nil {
		return err
	}
	// Connect again with all of them named: docker's variable counts only for a single registry.
	var names []string
	for _, gun := range guns {
		names = append(names, gun.String())
	}
	f, err := session.Connect(ctx, o.RemoteOptions, session.SelectOptions{Discover: session.DiscoverList}, session.Config{Notary: cfg.Notary}, names, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	unread := output.NewNotRead(&o.Common, s, log, "its root could not be read")
	if err := errors.Join(o.Read(ctx, f, unread.Add), unread.Show()); err != nil {
		return err
	}
	if err := o.Write(o.file, time.Now()); err != nil {
		return err
	}
	name, todo := safetext.Safe(o.file, 300), "read it"
	repositories, pins, comments, lacking := o.Counts()
	if comments > 0 {
		todo += ", and pin the roots that are comments there"
	}
	fmt.Fprintf(s.Out, "%s: %s, %s\n%s; then: dct2notation doctor --config %s\n",
		name, safetext.Count(repositories, "repository"), safetext.Count(pins, "pin"), todo, quote(name))
	if lacking > 0 || incomplete {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// givenKeys returns the configuration keys for those flags that later commands need as well.
func givenKeys(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.Visit(func(one *pflag.Flag) {
		if slices.Contains(written, one.Name) {
			return
		}
		var value any = one.Value.String()
		if list, ok := one.Value.(pflag.SliceValue); ok {
			value = list.GetSlice()
		}
		raw, _ := json.Marshal(value) // strings always encode
		fmt.Fprintf(&b, "%s: %s\n", one.Name, raw)
	})
	return b.String()
}
