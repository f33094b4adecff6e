package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// Config is the configuration file. Every flag has a key of the same name, except those for a single call; the flag
// overrides the key. The fields below have no flags.
type Config struct {
	// Notary maps a registry host to the URL of its Notary server.
	Notary map[string]string
	// Repositories are those to migrate if the command line names none; Exclude are globs.
	Repositories []string
	Exclude      []string
	// Map says where images are now that have moved since they were signed: FROM -> TO.
	Map []string
	// PlainHTTPHosts are the only registries that are reached without TLS.
	PlainHTTPHosts []string
	// Keys say which key signs what; empty: the flags name the key.
	Keys []KeyRule
	// TrustPinning is notary's trust_pinning, instead of a file.
	TrustPinning *dct.Pins
	Flags        map[string][]string

	listed bool // Repositories come from --repositories-from
}

// callFlags apply to a single call and have no keys.
var callFlags = []string{"config", "help", "password-stdin", "dry-run", "plan", "accept-changes", "accept-root", "recheck", "rebind", "resign", "verbose", "no-sign", "yes", "since", "only", "last", "schema", "watch", "force", "all", "max-operations", "images", "running", "merge", "no-ledger"}

// Action runs a verb that changes nothing, with its configuration. Such a verb has nothing to finish, so its context
// also ends when stop is closed.
func Action(stop <-chan struct{}, do func(ctx context.Context, cfg Config, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		cfg, err := LoadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return do(ctx, cfg, args)
	}
}

// LoadConfig reads the file that --config names, and sets from it the command's flags that the command line has not
// set. Without --config it is empty.
//
// A list from --repositories-from replaces the file's repositories.
func LoadConfig(c *cobra.Command) (Config, error) {
	cfg, err := loadConfig(c)
	if f := c.Flags().Lookup(repositoriesFrom); err == nil && f != nil && f.Value.String() != "" {
		cfg.Repositories, err = readRepositories(f.Value.String(), c.InOrStdin())
		cfg.listed = true
	}
	return cfg, err
}

const repositoriesFrom = "repositories-from"

// BindRepositoriesFrom adds the flag that names a list of repositories. LoadConfig reads it.
func BindRepositoriesFrom(f *pflag.FlagSet) {
	f.String(repositoriesFrom, "", "file with the repositories, one per line, or - for stdin; replaces those of the configuration")
}

// maxRepositoriesFile limits the size of a list: a million names of 128 bytes.
const maxRepositoriesFile = 128 << 20

// readRepositories reads a list of repositories; # begins a comment.
func readRepositories(path string, stdin io.Reader) ([]string, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("--repositories-from: %w", err))
		}
		defer func() { _ = file.Close() }() // only read from
		stdin = file
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxRepositoriesFile+1))
	switch {
	case err != nil:
		return nil, cli.Usage(fmt.Errorf("--repositories-from: %w", err))
	case len(raw) > maxRepositoriesFile:
		return nil, cli.Usage(fmt.Errorf("--repositories-from %s: it is larger than %d MiB", safetext.Safe(path, 300), maxRepositoriesFile>>20))
	}
	var names []string
	for line := range strings.Lines(strings.TrimPrefix(string(raw), "\ufeff")) {
		name, _, _ := strings.Cut(line, "#")
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, cli.Usage(fmt.Errorf("--repositories-from %s: it names no repository", safetext.Safe(path, 300)))
	}
	return names, nil
}

func loadConfig(c *cobra.Command) (Config, error) {
	f := c.Flags().Lookup("config")
	if f == nil || f.Value.String() == "" {
		return Config{}, nil
	}
	path := f.Value.String()
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, cli.Usage(fmt.Errorf("reading the configuration: %w", err))
	}
	e := environment{}
	cfg, err := parseConfig(raw, knownFlags(c.Root()), e)
	if err == nil {
		err = cfg.setFlags(c.Flags())
	}
	if err != nil {
		return Config{}, cli.Usage(fmt.Errorf("configuration %s: %s", path, e.hide(err.Error())))
	}
	return cfg, nil
}

// knownFlags returns the flags of all verbs: one file serves them all.
func knownFlags(root *cobra.Command) map[string]bool {
	known := map[string]bool{}
	for _, verb := range root.Commands() {
		verb.Flags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(callFlags, f.Name) {
				known[f.Name] = true
			}
		})
	}
	return known
}

func parseConfig(raw []byte, flags map[string]bool, env environment) (Config, error) {
	var all map[string]any
	if err := yaml.UnmarshalStrict(raw, &all, exactly); err != nil {
		return Config{}, strictjson.Plain(err)
	}
	expanded, err := env.expand(all)
	if err != nil {
		return Config{}, err
	}
	all, _ = expanded.(map[string]any)
	if v, ok := all["version"]; !ok || fmt.Sprint(v) != "1" {
		return Config{}, errors.New("version: 1 is missing")
	}
	delete(all, "version")
	cfg := Config{Flags: map[string][]string{}}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := cfg.take(key, all[key], flags); err != nil {
			entry := 0
			var in *entryError
			if errors.As(err, &in) {
				entry = in.entry
			}
			return Config{}, fmt.Errorf("%s%s: %w", lineOf(raw, key, entry), key, err)
		}
	}
	return cfg, nil
}

// lineOf returns a prefix for an error: the line of a top-level key, or of the entry with that number in its list;
// empty if it cannot be found. The entries of a list on one line have that line.
func lineOf(raw []byte, key string, entry int) string {
	n, at, indent := 0, 0, -1
	for line := range strings.Lines(string(raw)) {
		n++
		name, _, found := strings.Cut(line, ":")
		text := strings.TrimLeft(line, " ")
		switch {
		case at == 0:
			if found && strings.Trim(strings.TrimRight(name, " "), `"'`) == key {
				at = n
			}
		case strings.HasPrefix(text, "- ") && (indent < 0 || indent == len(line)-len(text)):
			indent = len(line) - len(text)
			if entry--; entry == 0 {
				return fmt.Sprintf("line %d: ", n)
			}
		case text == line && strings.TrimSpace(line) != "" && text[0] != '#':
			return fmt.Sprintf("line %d: ", at) // the next key
		}
	}
	if at == 0 {
		return ""
	}
	return fmt.Sprintf("line %d: ", at)
}

// entryError is the error of one entry of a list; the first entry is 1.
type entryError struct {
	entry int
	err   error
}

func (e *entryError) Error() string { return fmt.Sprintf("entry %d: %s", e.entry, e.err) }
func (e *entryError) Unwrap() error { return e.err }

// unknownKey returns the error for a key that does not exist; it suggests the most similar one that does.
func unknownKey(key string, known []string) error {
	if like := cli.Nearest(key, known); like != "" {
		return fmt.Errorf("unknown key\nhint: did you mean %s?", like)
	}
	return errors.New("unknown key\nhint: the keys are the names of the flags, without the dashes before them; docs/reference/configuration.md has the others")
}

// fields are the keys without a flag.
var fields = []string{"version", "notary", "repositories", "exclude", "map", "plain-http-hosts", "keys", "trust-pinning"}

// Keys returns the keys that a configuration accepts, sorted.
func Keys(root *cobra.Command) []string {
	known := knownFlags(root)
	delete(known, "ledger") // take refuses it
	all := slices.AppendSeq(slices.Clone(fields), maps.Keys(known))
	slices.Sort(all)
	return slices.Compact(all)
}

// KeysOfKey returns the keys that an entry of keys accepts, sorted.
func KeysOfKey() []string {
	all, flags := []string{"roles", "repositories"}, pflag.NewFlagSet("keys", pflag.ContinueOnError)
	(&KeyOptions{}).Bind(flags)
	flags.VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
	slices.Sort(all)
	return all
}

// take stores the value of one top-level key.
func (c *Config) take(key string, v any, flags map[string]bool) (err error) {
	switch key {
	case "ledger":
		return errors.New("give it on the command line, with --ledger\nhint: a configuration serves all verbs; state is the ledger that runs write")
	case "notary":
		c.Notary, err = stringMap(v)
	case "repositories":
		c.Repositories, err = stringList(v)
	case "exclude":
		c.Exclude, err = stringList(v)
	case "map":
		c.Map, err = stringList(v)
	case "plain-http-hosts":
		c.PlainHTTPHosts, err = hostList(v)
	case "keys":
		c.Keys, err = parseKeyRules(v)
	case "trust-pinning":
		if pins, isMap := v.(map[string]any); isMap {
			return c.takePins(pins)
		}
		c.Flags[key], err = stringList(v)
	default:
		if slices.Contains(callFlags, key) {
			return fmt.Errorf("give it on the command line; it is not for a configuration\nhint: give --%s on the command line", key)
		}
		if !flags[key] {
			return unknownKey(key, append(slices.Collect(maps.Keys(flags)), fields...))
		}
		c.Flags[key], err = stringList(v)
	}
	return err
}

// takePins stores the pins. A heading whose pins are all comments, as init writes it, pins nothing.
func (c *Config) takePins(pins map[string]any) error {
	maps.DeleteFunc(pins, func(heading string, under any) bool {
		return under == nil && slices.Contains([]string{"certs", "root-keys", "ca"}, heading)
	})
	if len(pins) == 0 {
		return nil
	}
	raw, err := yaml.Marshal(pins)
	if err == nil {
		raw, err = yaml.YAMLToJSON(raw)
	}
	if err != nil {
		return err
	}
	parsed, err := dct.ParsePins(raw, ".")
	c.TrustPinning = &parsed
	return err
}

// setFlags sets the verb's flags that the command line has not set.
func (c *Config) setFlags(flags *pflag.FlagSet) error {
	for name, values := range c.Flags {
		f := flags.Lookup(name)
		if f == nil || f.Changed {
			continue
		}
		for _, v := range values {
			if err := flags.Set(name, v); err != nil {
				return fmt.Errorf("%s: %w", name, cli.FlagError(err))
			}
		}
	}
	return nil
}

// stringList accepts a scalar, a list of scalars, or a map of them as k=v.
func stringList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		var list []string
		for _, e := range v {
			s, err := scalar(e)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		}
		return list, nil
	case map[string]any:
		m, err := stringMap(v)
		var list []string
		for k, s := range m {
			list = append(list, k+"="+s)
		}
		slices.Sort(list)
		return list, err
	}
	s, err := scalar(v)
	return []string{s}, err
}

// hostList accepts registries as they appear in image names: host[:port].
func hostList(v any) ([]string, error) {
	list, err := stringList(v)
	for _, h := range list {
		if strings.ContainsAny(h, "/@= ") || h == "" {
			return nil, fmt.Errorf("%s: must be a registry host as in image names, such as registry.example.com:5000", safetext.Safe(h, 256))
		}
	}
	return list, err
}

func stringMap(v any) (map[string]string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it takes a map")
	}
	out := make(map[string]string, len(m))
	for k, e := range m {
		s, err := scalar(e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		out[k] = s
	}
	return out, nil
}

// exactly keeps numbers as they are written: as a float64, 12345678 would become 1.2345678e+07 in signed metadata.
func exactly(d *json.Decoder) *json.Decoder {
	d.UseNumber()
	return d
}

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("it takes a single value")
}
