package session

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// KeyRule is one entry of keys in the configuration: a key, as the flags describe one, and what it signs for.
type KeyRule struct {
	KeyOptions
	Roles        []string
	repositories []string
	globs        glob.List

	given map[string]bool // the flags that the entry itself sets
}

// parseKeyRules reads keys of the configuration: a list of maps with the names of the
// key's flags, roles and repositories.
func parseKeyRules(v any) ([]KeyRule, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("it takes a list of keys")
	}
	var rules []KeyRule
	for i, e := range list {
		entry, ok := e.(map[string]any)
		if !ok {
			return nil, &entryError{i + 1, errors.New("it takes a map")}
		}
		rule, err := parseKeyRule(entry)
		if err != nil {
			return nil, &entryError{i + 1, err}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func parseKeyRule(entry map[string]any) (KeyRule, error) {
	rule := KeyRule{given: map[string]bool{}}
	flags := pflag.NewFlagSet("keys", pflag.ContinueOnError)
	rule.Bind(flags)
	cli.RefuseTwice(flags)
	for _, name := range slices.Sorted(maps.Keys(entry)) {
		values, err := stringList(entry[name])
		if err != nil {
			return rule, fmt.Errorf("%s: %w", name, err)
		}
		switch {
		case name == "roles":
			rule.Roles = values
		case name == "repositories":
			rule.repositories = values
		case flags.Lookup(name) == nil:
			return rule, fmt.Errorf("%s: %w", safetext.Safe(name, 64), unknownKey(name, KeysOfKey()))
		}
		for _, value := range values {
			if f := flags.Lookup(name); f != nil {
				if err := flags.Set(name, value); err != nil {
					return rule, fmt.Errorf("%s: %w", name, cli.FlagError(err))
				}
				rule.given[name] = true
			}
		}
	}
	return rule, rule.complete()
}

// complete checks the entry, except for what it takes from the command line.
func (r *KeyRule) complete() (err error) {
	if r.Key == "" && r.Plugin == "" {
		return errors.New("no key: give key, or plugin and id")
	}
	for _, role := range r.Roles {
		if !dct.IsTargetsRole(role) {
			return fmt.Errorf("roles: %s is not a role: use targets, targets/releases, or a signer's, such as targets/alice", safetext.Safe(role, 64))
		}
	}
	if r.globs, err = glob.ParseAll(r.repositories); err != nil {
		return fmt.Errorf("repositories: %w", err)
	}
	return r.Check()
}

// with fills in from the command line what the entry does not set itself.
func (r KeyRule) with(o KeyOptions) KeyRule {
	for name, take := range map[string]func(){
		"plugin-timeout":      func() { r.timeout = o.timeout },
		"key-rate":            func() { r.keyRate = o.keyRate },
		"expiry":              func() { r.expiry = o.expiry },
		"plugin-env":          func() { r.pluginEnv = o.pluginEnv },
		"signature-format":    func() { r.format = o.format },
		"user-metadata":       func() { r.Metadata = o.Metadata },
		"timestamp-url":       func() { r.TSAURL = o.TSAURL },
		"timestamp-root-cert": func() { r.TSARoot = o.TSARoot },
		"timestamp-rate":      func() { r.tsaRate = o.tsaRate },
		"accept-certificate":  func() { r.Accepted = o.Accepted },
	} {
		if !r.given[name] {
			take()
		}
	}
	return r
}

// KeyRules returns the keys that the configuration alone names, in keys or by the flags of one key.
func (c Config) KeyRules() ([]KeyRule, error) {
	if len(c.Keys) > 0 {
		return c.Keys, nil
	}
	var rule KeyRule
	flags := pflag.NewFlagSet("key", pflag.ContinueOnError)
	rule.Bind(flags)
	for name, values := range c.Flags {
		for _, value := range values {
			if f := flags.Lookup(name); f != nil {
				if err := flags.Set(name, value); err != nil {
					return nil, cli.Usage(fmt.Errorf("%s: %w", name, cli.FlagError(err)))
				}
			}
		}
	}
	return []KeyRule{rule}, rule.Check()
}

// EngineKey returns the key in the form that the engine uses.
func (r KeyRule) EngineKey(s migrate.Signer) migrate.Key {
	k := migrate.Key{Signer: s, Roles: r.Roles, Repositories: r.repositories, Metadata: r.Metadata}
	if len(r.globs) > 0 {
		k.In = func(gun dct.GUN) bool { return r.globs.Match(gun.String()) }
	}
	return k
}

// Rules returns the keys of the configuration, or the one that the flags name.
func (o *KeyOptions) Rules(cfg Config) ([]KeyRule, error) {
	if len(cfg.Keys) == 0 {
		return []KeyRule{{KeyOptions: *o}}, nil
	}
	if o.Key != "" || o.Plugin != "" {
		return nil, cli.Usage(errors.New("--key, --plugin and --id cannot be used with keys in the configuration, which say which key signs what"))
	}
	var rules []KeyRule
	for _, r := range cfg.Keys {
		rules = append(rules, r.with(*o))
	}
	return rules, nil
}
