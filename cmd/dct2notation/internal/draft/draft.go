// Package draft writes the first configuration of a migration: the repositories, their Notary servers, the key, and
// as pins the roots that a user or docker already trusts. What only a server says about a root becomes a comment,
// which trusts nothing.
package draft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
)

// A Draft is a configuration to write.
type Draft struct {
	Key, Plugin, ID string // all empty: notation's default key
	Flags           string // keys of flags that later commands need as well

	hosts   []string          // the registries, in order
	servers map[string]string // Notary's URL, by registry
	pins    dct.Pins          // those of --trust-pinning
	roots   []aRoot
	unread  int // how many of these could not be read
}

// Counts returns how many repositories the configuration has, how many of their roots are pinned, how many are
// comments, and how many could not be read.
func (d *Draft) Counts() (repositories, pins, comments, unread int) {
	for _, r := range d.roots {
		switch {
		case r.pinned():
			pins++
		case r.unverified():
			comments++
		}
	}
	return len(d.roots), pins, comments, d.unread
}

// Write writes the configuration. It does not overwrite an existing file.
func (d *Draft) Write(name string, now time.Time) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cli.Usage(fmt.Errorf("writing the configuration: %w", err))
	}
	_, err = file.WriteString(d.text(now))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// aRoot is what is known about the root of one repository.
type aRoot struct {
	gun    dct.GUN
	given  bool          // a pin of --trust-pinning covers it
	docker []dct.RootKey // of the root that docker trusts here; empty: none
	server []dct.RootKey // of the root that the server has now; empty: unknown
}

// pinned reports whether there is a pin, by --trust-pinning or docker's root.
func (r aRoot) pinned() bool { return r.given || r.dockers() }

// dockers reports whether docker's root becomes a pin. If the server has another root by now, only the chain from
// docker's root can show that it follows, and a pin of the old root would not allow that.
func (r aRoot) dockers() bool {
	return !r.given && len(r.docker) > 0 && (len(r.server) == 0 || slices.Equal(ids(r.docker), ids(r.server)))
}

// unverified reports whether only the server's word is known about the root.
func (r aRoot) unverified() bool { return !r.given && len(r.docker) == 0 && len(r.server) > 0 }

func ids(keys []dct.RootKey) (all []string) {
	for _, k := range keys {
		all = append(all, k.ID)
	}
	return all
}

// Read reads the roots that docker trusts and those that the source has, and calls tell for each that cannot be read.
// It returns an error if the source gave none.
func (d *Draft) Read(ctx context.Context, f *session.Session, tell func(dct.GUN, error)) error {
	tries, reader, docker := dct.NewHosts(), f.Reader(), f.DockerTrust()
	d.hosts, d.servers, d.pins = session.RegistryHosts(f.GUNs), map[string]string{}, reader.Pins
	for _, host := range d.hosts {
		d.servers[host] = f.NotaryURL(host)
	}
	for _, gun := range f.GUNs {
		root := aRoot{gun: gun, given: reader.Pins.Covers(gun)}
		if docker != nil {
			_, root.docker, _ = docker.ListRoot(ctx, gun) // if it cannot be read, it is no pin
		}
		err := tries.Try(ctx, gun, func() (err error) {
			_, root.server, err = reader.ListRoot(ctx, gun)
			return err
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			d.unread++
			tell(gun, err)
		}
		d.roots = append(d.roots, root)
	}
	if d.unread == len(d.roots) {
		return errors.Join(fmt.Errorf("%w, so nothing is written", dct.ErrNothingRead), tries.Suspects())
	}
	return nil
}

// text returns the configuration.
func (d *Draft) text(now time.Time) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What is migrated, from where, and with which key. Written by dct2notation init on %s: read it, and change what is", now.UTC().Format(time.DateOnly))
	line("# not right. Each flag has a key of its name.")
	line("version: 1\n\n# Notary servers, by registry.\nnotary:")
	for _, host := range d.hosts {
		line("  %s: %s", quoted(host), quoted(d.servers[host]))
	}
	line("\n# Arguments on the command line are globs over these.\nrepositories:")
	host := ""
	for _, r := range d.roots {
		if r.gun.Registry() != host {
			host = r.gun.Registry()
			line("  # %s", safetext.Safe(host, 256))
		}
		line("  - %s", quoted(r.gun.String()))
	}
	d.trusted(line)
	line("\n# The key that signs.")
	key, ends := d.Key, time.Time{}
	if d.Plugin == "" {
		if k, err := notation.NotationKey(key); err == nil {
			key, ends = k.Name, endOf(k)
		}
	}
	switch {
	case d.Plugin != "":
		line("plugin: %s\nid: %s", quoted(d.Plugin), quoted(d.ID))
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
	if d.Flags != "" {
		line("\n# As given to init.\n%s", strings.TrimSuffix(d.Flags, "\n"))
	}
	return b.String()
}

// shortValidity is the required validity for a certificate that ends too soon for run's default, such as that of a
// test key.
const shortValidity = time.Hour

// endOf returns when the first certificate of a key with files ends; zero: only a plugin could say.
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

// trusted writes given pins and docker's as pins, and what only the server says as comments. Removing the # from a
// comment makes it a pin.
func (d *Draft) trusted(line func(string, ...any)) {
	line("\n# Root keys that are trusted, by the ids of their certificates: those that were given, and those that docker trusts on\n" +
		"# this machine. What is unverified is a comment: compare each with what its owner says before you take the # before it away.")
	line("trust-pinning:\n  certs:")
	lists := func(pinned map[string][]string) {
		for _, name := range slices.Sorted(maps.Keys(pinned)) {
			line("    %s: %s", quoted(name), quoted(pinned[name]))
		}
	}
	lists(d.pins.Certs)
	for _, r := range d.roots {
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
		line("    %s%s: %s", comment, quoted(r.gun.String()), quoted(ids(keys)))
	}
	if len(d.pins.RootKeys) > 0 {
		line("  root-keys:")
		lists(d.pins.RootKeys)
	}
	if len(d.pins.CA) > 0 {
		line("  ca:")
	}
	for _, prefix := range slices.Sorted(maps.Keys(d.pins.CA)) {
		line("    %s: %s", quoted(prefix), quoted(d.pins.CA[prefix]))
	}
	if d.pins.NoTOFU {
		line("  disable_tofu: true")
	}
}

// quoted returns a string, or a list of strings, as YAML, whatever it contains.
func quoted[T string | []string](s T) string {
	raw, _ := json.Marshal(s) // strings always encode
	return string(raw)
}
