package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
)

type initOptions struct {
	session.ReadOptions
	key, plugin, id string
	file            string
	given           string // keys of the flags that later commands need as well
}

// notOfInit are flags that it would ignore: it writes what others do, reads no more of trust data than roots, and
// trusts none of them.
var notOfInit = []string{"config", "output", "tofu", "allow-expired", "allow-degraded", "rescue", "cache-dir", "snapshot-trust-policy",
	"verification-plugin", "verification-plugin-sha256", "verification-plugin-config", "verification-plugin-env", "verification-plugin-timeout",
	"include-tags", "exclude-tags"}

// written are flags of init that have a place of their own in what it writes, or are of one call.
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
	c.Flags().StringVarP(&o.key, "key", "k", "", "name of a key in notation's signingkeys.json (default: notation's default key)")
	c.Flags().StringVar(&o.plugin, "plugin", "", "notation plugin that holds the key; needs --id")
	c.Flags().StringVar(&o.id, "id", "", "key id to pass to the plugin")
	c.Flags().StringVarP(&o.file, "output-file", "O", "migration.yaml", "file that is written")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c) // there is none, but for --repositories-from
		if err != nil {
			return err
		}
		o.given = givenKeys(c.Flags())
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
	if (o.plugin == "") != (o.id == "") || o.plugin != "" && o.key != "" {
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
	roots, unread, err := o.roots(ctx, f, log)
	if err != nil {
		return err
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
	name, todo := safetext.Safe(o.file, 300), "read it"
	pins, comments := 0, 0
	for _, r := range roots {
		switch {
		case r.pinned():
			pins++
		case r.unverified():
			comments++
		}
	}
	if comments > 0 {
		todo += ", and pin the roots that are comments there"
	}
	fmt.Fprintf(s.Out, "%s: %s, %s\n%s; then: dct2notation doctor --config %s\n",
		name, safetext.Count(len(roots), "repository"), safetext.Count(pins, "pin"), todo, quote(name))
	if unread > 0 || incomplete {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// aRoot is what is known of the root of one repository.
type aRoot struct {
	gun    dct.GUN
	given  bool          // a pin of --trust-pinning covers it
	docker []dct.RootKey // of the root that docker trusts here; none: it knows none
	server []dct.RootKey // of the root that the server has now; none: not known
}

// pinned reports whether there is a pin, of --trust-pinning or docker's root.
func (r aRoot) pinned() bool { return r.given || r.dockers() }

// dockers reports whether docker's root is a pin: where the server has another by now, only the chain from docker's
// root tells whether that follows, which a pin of the old one would not allow.
func (r aRoot) dockers() bool {
	return !r.given && len(r.docker) > 0 && (len(r.server) == 0 || slices.Equal(ids(r.docker), ids(r.server)))
}

// unverified reports whether nothing but the server tells of the root.
func (r aRoot) unverified() bool { return !r.given && len(r.docker) == 0 && len(r.server) > 0 }

func ids(keys []dct.RootKey) (all []string) {
	for _, k := range keys {
		all = append(all, k.ID)
	}
	return all
}

// roots lists the roots that docker trusts and those that the source has, and counts those that could not be read.
// It is an error if the source gave none.
func (o *initOptions) roots(ctx context.Context, f *session.Session, log *slog.Logger) (all []aRoot, unread int, _ error) {
	hosts, reader, docker := dct.NewHosts(), f.Reader(), f.DockerTrust()
	for _, gun := range f.GUNs {
		root := aRoot{gun: gun, given: reader.Pins.Covers(gun)}
		if docker != nil {
			_, root.docker, _ = docker.ListRoot(ctx, gun) // one that cannot be read is no pin
		}
		err := hosts.Try(ctx, gun, func() (err error) {
			_, root.server, err = reader.ListRoot(ctx, gun)
			return err
		})
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if err != nil {
			unread++
			log.Error("its root could not be read", append([]any{"repository", gun.String()}, cli.Reasoned(report.Why(err))...)...)
		}
		all = append(all, root)
	}
	if unread == len(all) {
		return nil, unread, errors.Join(fmt.Errorf("%w, so nothing is written", dct.ErrNothingRead), hosts.Suspects())
	}
	return all, unread, nil
}

// givenKeys are the keys of the flags that later commands need as well.
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
	o.pins(line, f.Reader().Pins, roots)
	line("\n# The key that signs.")
	key, ends := o.key, time.Time{}
	if o.plugin == "" {
		if k, err := notation.NotationKey(key); err == nil {
			key, ends = k.Name, endOf(k)
		}
	}
	switch {
	case o.plugin != "":
		line("plugin: %s\nid: %s", quoted(o.plugin), quoted(o.id))
	case key != "":
		line("key: %s", quoted(key))
		if left := ends.Sub(now); left > shortValidity && left < 25*time.Hour {
			line("# Its certificate ends at %s. By itself, run asks for 24h more.\nmin-validity: 1h", ends.UTC().Format(time.RFC3339))
		}
	default:
		line("# notation has no default key on this machine: name one of notation key list, or a plugin and the key's id.\n# key: NAME\n# plugin: azure-kv\n# id: https://vault.example.net/keys/release/1")
	}
	line("\n# Signatures that outlive the certificate.\n# timestamp-url: http://timestamp.example.com\n# timestamp-root-cert: timestamp-root.pem")
	line("\n# The ledger, which keeps what is done.\n# state: /var/lib/dct2notation/ledger.db")
	if o.given != "" {
		line("\n# As given to init.\n%s", strings.TrimSuffix(o.given, "\n"))
	}
	return b.String()
}

// shortValidity is what is asked of a certificate that ends too soon for what run asks by itself, as that of a test
// key does.
const shortValidity = time.Hour

// endOf returns when the first certificate of a key with files ends; zero: nobody knows without asking a plugin.
func endOf(k notation.Key) (first time.Time) {
	if k.CertFile == "" {
		return first
	}
	chain, err := certfile.Read(k.CertFile)
	if err != nil {
		return first // doctor says what is wrong with it
	}
	for _, c := range chain {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// pins writes those that were given and docker's, and as comments what only the server says. To take the # before
// one away makes it a pin.
func (o *initOptions) pins(line func(string, ...any), given dct.Pins, roots []aRoot) {
	line("\n# Root keys that are trusted, by the ids of their certificates: those that were given, and those that docker trusts on\n" +
		"# this machine. What is unverified is a comment: compare each with what its owner says before you take the # before it away.")
	line("trust-pinning:\n  certs:")
	lists := func(pinned map[string][]string) {
		for _, name := range slices.Sorted(maps.Keys(pinned)) {
			line("    %s: %s", quoted(name), list(pinned[name]))
		}
	}
	lists(given.Certs)
	for _, r := range roots {
		keys, as, comment := r.server, "", ""
		switch {
		case r.given:
			continue
		case r.dockers():
			keys = r.docker
		case len(r.docker) > 0:
			line("    # docker trusts another root of %s here than the server has now. Without a pin, docker's counts, and what follows from it.", safetext.Safe(r.gun.String(), 256))
			continue
		case !r.unverified():
			line("    # %s: its root could not be read", safetext.Safe(r.gun.String(), 256))
			continue
		default:
			as, comment = "unverified: ", "# "
		}
		for _, k := range keys {
			line("    # %s%s, until %s", as, safetext.Safe(k.Subject, 200), k.Expires.Format(time.DateOnly))
		}
		line("    %s%s: %s", comment, quoted(r.gun.String()), list(ids(keys)))
	}
	if len(given.RootKeys) > 0 {
		line("  root-keys:")
		lists(given.RootKeys)
	}
	if len(given.CA) > 0 {
		line("  ca:")
	}
	for _, prefix := range slices.Sorted(maps.Keys(given.CA)) {
		line("    %s: %s", quoted(prefix), quoted(given.CA[prefix]))
	}
	if given.NoTOFU {
		line("  disable_tofu: true")
	}
}

// list is a list of strings as YAML takes it.
func list(all []string) string {
	raw, _ := json.Marshal(all) // strings always encode
	return string(raw)
}

// quoted is a string as YAML takes it, whatever is in it.
func quoted(s string) string {
	raw, _ := json.Marshal(s) // strings always encode
	return string(raw)
}
