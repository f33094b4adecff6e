package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
)

type initOptions struct {
	cli.Common
	session.RemoteOptions
	session.SelectOptions
	key, plugin, id string
	file            string
}

func newInit(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init [flags] [REPOSITORY...]",
		Short: "Write a configuration from docker, notation and the Notary server",
		Long: `Init writes a commented migration.yaml with the repositories that are named or found (else those
in docker's trust directory on this machine), their Notary servers, the key, and as pins the roots
that docker trusts. Other roots are only written as comments: check them before you pin them.

It asks no questions, and does not overwrite files.`,
		Example: `  dct2notation init
  dct2notation init --notary-server https://notary.example.com --key release registry.example.com/team/app`,
	}
	o.Common.Bind(c.Flags())
	o.RemoteOptions.Bind(c.Flags())
	o.SelectOptions.Bind(c.Flags())
	cli.HideFlags(c.Flags(), "config", "output", "tofu", "trust-pinning", "allow-expired", "allow-degraded", "cache-dir", "no-tty", "include-tags", "exclude-tags", "snapshot-trust-policy")
	c.Flags().StringVarP(&o.key, "key", "k", "", "name of a key in notation's signingkeys.json (default: notation's default key)")
	c.Flags().StringVar(&o.plugin, "plugin", "", "notation plugin that holds the key; needs --id")
	c.Flags().StringVar(&o.id, "id", "", "key id to pass to the plugin")
	c.Flags().StringVarP(&o.file, "output-file", "O", "migration.yaml", "file that is written")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
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
	for _, check := range []func() error{o.Common.Check, o.RemoteOptions.Check, o.SelectOptions.Check} {
		if err := check(); err != nil {
			return err
		}
	}
	if (o.plugin == "") != (o.id == "") || o.plugin != "" && o.key != "" {
		return cli.Usage(errors.New("--plugin and --id must be used together, and exclude --key"))
	}
	if _, err := os.Lstat(o.file); !errors.Is(err, fs.ErrNotExist) {
		return cli.Usage(fmt.Errorf("%s is there already\nhint: -O names another file; nothing is replaced", safetext.Safe(o.file, 300)))
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	found, err := session.Connect(ctx, o.RemoteOptions, o.SelectOptions, cfg, args, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	guns := found.GUNs
	incomplete := found.Unlisted != nil
	if err := found.Close(); err != nil {
		return err
	}
	// Once more with all of them named: docker's variable counts where one registry is.
	var names []string
	for _, gun := range guns {
		names = append(names, gun.String())
	}
	f, err := session.Connect(ctx, o.RemoteOptions, session.SelectOptions{Discover: session.DiscoverList}, session.Config{Notary: cfg.Notary}, names, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	roots, unread := o.roots(ctx, f, log)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := o.document(f, roots, time.Now())
	file, err := os.OpenFile(o.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cli.Usage(fmt.Errorf("writing the configuration: %w", err))
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	name := safetext.Safe(o.file, 300)
	fmt.Fprintf(s.Out, "%s: %s, %s\nread it, and pin the roots that are comments there; then: dct2notation doctor --config %s\n",
		name, safetext.Count(len(roots), "repository"), safetext.Count(trusted(roots), "pin"), quote(name))
	if unread || incomplete {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// aRoot is what is known of the root of one repository.
type aRoot struct {
	gun    dct.GUN
	docker []dct.RootKey // of the root that docker trusts here; none: it knows none
	server []dct.RootKey // of the root that the server has now; none: not known
}

// pinned reports whether docker's root is a pin: where the server has another by now, only the chain from docker's
// root tells whether that follows, which a pin of the old one would not allow.
func (r aRoot) pinned() bool {
	return len(r.docker) > 0 && (len(r.server) == 0 || slices.Equal(ids(r.docker), ids(r.server)))
}

func trusted(roots []aRoot) (n int) {
	for _, r := range roots {
		if r.pinned() {
			n++
		}
	}
	return n
}

func ids(keys []dct.RootKey) (all []string) {
	for _, k := range keys {
		all = append(all, k.ID)
	}
	return all
}

// roots lists the roots that docker trusts and those that the source has, and reports whether one could not be read.
func (o *initOptions) roots(ctx context.Context, f *session.Session, log *slog.Logger) (all []aRoot, unread bool) {
	hosts, reader, docker := dct.NewHosts(), f.Reader(), f.DockerTrust()
	for _, gun := range f.GUNs {
		root := aRoot{gun: gun}
		if docker != nil {
			_, root.docker, _ = docker.ListRoot(ctx, gun) // one that cannot be read is no pin
		}
		err := hosts.Try(ctx, gun, func() (err error) {
			_, root.server, err = reader.ListRoot(ctx, gun)
			return err
		})
		if err != nil && ctx.Err() == nil {
			unread = true
			log.Error("its root could not be read", "repository", gun.String(), "reason", report.Why(err))
		}
		all = append(all, root)
	}
	return all, unread
}

// document is the configuration.
func (o *initOptions) document(f *session.Session, roots []aRoot, now time.Time) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What is migrated, from where, and with which key. Written by dct2notation init on %s: read it, and change what is", now.UTC().Format(time.DateOnly))
	line("# not right. Each flag has a key of its name.")
	line("version: 1\n\n# Notary servers, by registry.\nnotary:")
	for _, host := range session.RegistryHosts(f.GUNs) {
		line("  %s: %s", quoted(host), quoted(f.NotaryURL(host)))
	}
	line("\n# Arguments on the command line are globs over these.\nrepositories:")
	host := ""
	for _, r := range roots {
		if r.gun.Registry() != host {
			host = r.gun.Registry()
			line("  # %s", safetext.Safe(host, 256))
		}
		line("  - %s", quoted(r.gun.String()))
	}
	line("\n# Root keys that are trusted, by the ids of their certificates: those that docker trusts on this machine. The others are")
	line("# comments, as nobody has verified them: compare each with what its owner says before you take the # away.")
	comment := ""
	if trusted(roots) == 0 {
		comment = "# "
	}
	line("%strust-pinning:\n%s  certs:", comment, comment)
	for _, r := range roots {
		keys, active := r.server, r.pinned()
		switch {
		case active:
			keys = r.docker
		case len(r.docker) > 0:
			line("    # docker trusts another root of %s here than the server has now. Without a pin, docker's counts, and what follows from it.", safetext.Safe(r.gun.String(), 256))
			continue
		case len(keys) == 0:
			line("    # %s: its root could not be read", safetext.Safe(r.gun.String(), 256))
			continue
		}
		for _, k := range keys {
			line("    # %s, until %s", safetext.Safe(k.Subject, 200), k.Expires.Format(time.DateOnly))
		}
		raw, _ := json.Marshal(ids(keys)) // strings always encode
		pin := fmt.Sprintf("%s: %s", quoted(r.gun.String()), raw)
		if !active {
			pin = "# unverified: " + pin
		}
		line("    %s", pin)
	}
	line("\n# The key that signs.")
	key := o.key
	if key == "" && o.plugin == "" {
		if k, err := notation.NotationKey(""); err == nil {
			key = k.Name
		}
	}
	switch {
	case o.plugin != "":
		line("plugin: %s\nid: %s", quoted(o.plugin), quoted(o.id))
	case key != "":
		line("key: %s", quoted(key))
	default:
		line("# notation has no default key on this machine: name one of notation key list, or a plugin and the key's id.\n# key: NAME\n# plugin: azure-kv\n# id: https://vault.example.net/keys/release/1")
	}
	line("\n# Signatures that outlive the certificate.\n# timestamp-url: http://timestamp.example.com\n# timestamp-root-cert: timestamp-root.pem")
	line("\n# The ledger, which keeps what is done.\n# state: /var/lib/dct2notation/ledger.db")
	return b.String()
}

// quoted is a string as YAML takes it, whatever is in it.
func quoted(s string) string {
	raw, _ := json.Marshal(s) // strings always encode
	return string(raw)
}
