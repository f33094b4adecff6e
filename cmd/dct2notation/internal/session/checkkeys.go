package session

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// This file checks the keys' certificates before the first signature: whether their signatures could be trusted, and
// for how long.

// CheckKeys returns an error if what the keys would sign for the repositories is worth nothing: policy could not
// write a trust policy for it, or the certificate ends too soon. It warns of one that ends soon.
func (o *EngineOptions) CheckKeys(f *Session, keys []OpenedKey, now time.Time, log *slog.Logger) error {
	for _, k := range keys {
		if k.Signer.Identity().Renews() {
			continue // its certificates are replaced all the time
		}
		if err := o.Lasts(k.Name(), k.NotAfter(), k.TSAURL != "", now); err != nil {
			return err
		}
		if left := k.NotAfter().Sub(now); left < notation.Soon {
			log.Warn("certificate expires soon: signatures without a timestamp are rejected after that", "key", safetext.Safe(k.Name(), 128), "on", k.NotAfter().UTC().Format(time.RFC3339))
		}
	}
	return o.Nameable(f, keys)
}

// Lasts returns an error if the certificate chain of a key ends too soon. stamped says that its signatures are
// timestamped.
func (o *EngineOptions) Lasts(name string, ends time.Time, stamped bool, now time.Time) error {
	left := ends.Sub(now)
	name, at := safetext.Safe(name, 128), ends.UTC().Format(time.RFC3339)
	switch {
	case left <= 0:
		return fmt.Errorf("the certificate of key %s expired at %s\nhint: renew it, and begin again with --accept-changes", name, at)
	case left < o.MinValidity && !stamped:
		return fmt.Errorf("the certificate of key %s expires at %s, in less than %s, and so would its signatures\nhint: renew it first; or have signatures timestamped with --timestamp-url; or lower --min-validity, as for the one-day certificate of notation cert generate-test", name, at, o.MinValidity)
	}
	return nil
}

// Nameable returns an error if policy would refuse to write a trust policy for the keys. The keys of a repository are
// those that may sign in it.
func (o *EngineOptions) Nameable(f *Session, keys []OpenedKey) error {
	certificates, rules := map[string][]policy.Key{}, map[string]OpenedKey{}
	for _, k := range keys {
		key, err := k.forPolicy(slices.Contains(o.dedicated, k.Name()))
		if err != nil {
			return err
		}
		certificates[k.Name()] = []policy.Key{key}
		rules[k.Name()] = k
	}
	for _, name := range o.dedicated {
		if _, ok := rules[name]; !ok {
			return cli.Usage(fmt.Errorf("--dedicated-ca: no key is called %s; the keys are %s", safetext.Safe(name, 128), safetext.Names(slices.Sorted(maps.Keys(rules)))))
		}
	}
	if len(f.GUNs) == 0 { // doctor without a repository: check each key on its own
		for name := range rules {
			if err := o.canBeTrusted(map[string][]string{"registry.example.com/repository": {name}}, certificates); err != nil {
				return err
			}
		}
		return nil
	}
	signed := map[string][]string{}
	for _, gun := range f.GUNs {
		place := f.Scope.Place(gun)
		for name, k := range rules {
			if in := k.EngineKey(nil).In; in == nil || in(gun) {
				signed[place] = append(signed[place], name)
			}
		}
	}
	if len(signed) == 0 {
		return nil
	}
	return o.canBeTrusted(signed, certificates)
}

// forPolicy returns the key in the form that policies use.
func (k OpenedKey) forPolicy(dedicated bool) (policy.Key, error) {
	if !k.Signer.Identity().Renews() {
		return policy.Key{Name: k.Name(), Chain: k.Certificates(), Dedicated: dedicated}, nil
	}
	key, err := k.NotationKey()
	if err != nil {
		return policy.Key{}, err
	}
	c, err := k.ForPolicy(key)
	if err != nil {
		return policy.Key{}, err
	}
	tsa, err := c.ReadTSA(ReadCertificates)
	return c.Key(k.Name(), dedicated, tsa), err
}

// canBeTrusted returns an error if policy would refuse a trust policy for the repositories that the named keys sign.
func (o *EngineOptions) canBeTrusted(signed map[string][]string, certificates map[string][]policy.Key) error {
	if err := policy.Check(policy.Trust{Statements: policy.Group("dct2notation", signed, certificates)}); err != nil {
		return fmt.Errorf("nothing is signed, since no trust policy could name the signer: %w", err)
	}
	return nil
}
