package session

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// This file decides whose signatures count as a key's: its identity's, those of identities that the configuration
// accepts, and, for items that the ledger has as done, those of identities accepted before.

// identityOf reads a certificate that a user names: its thumbprint, or a PEM file, of which it takes the first
// certificate.
func identityOf(value string) (notation.Identity, error) {
	if _, meant, _ := notation.ParseThumbprint(value); meant {
		return notation.IdentityOfThumbprint(value)
	}
	chain, err := ReadCertificates(value)
	if err != nil {
		return notation.Identity{}, err
	}
	if chain[0].IsCA {
		return notation.Identity{}, fmt.Errorf("%s begins with a CA certificate (%s), not the key's\nhint: leaf first, or give sha256:<thumbprint>",
			safetext.Safe(value, 300), safetext.Safe(chain[0].Subject.String(), 200))
	}
	return notation.IdentityOf(chain[0]), nil
}

// checkIdentity returns an error unless the options of the key's identity fit together.
func (o *KeyOptions) checkIdentity() error {
	switch o.identity {
	case "", "certificate":
		if o.root != "" || o.subject != "" || len(o.ekus) > 0 {
			return errors.New("--key-root, --key-subject and --key-eku need --identity subject or profile")
		}
	case "subject":
		switch {
		case o.root == "" || o.subject == "":
			return errors.New("--identity subject needs --key-root and --key-subject")
		case o.TSAURL == "":
			return errors.New("--identity subject needs --timestamp-url and --timestamp-root-cert: certificates that are renewed often end soon, and signatures without a timestamp with them")
		case len(o.ekus) == 0 && (strings.Contains(o.Plugin, "artifactsigning") || strings.Contains(o.Plugin, "trustedsigning")):
			return errors.New("--identity subject needs --key-eku with this plugin: its root certifies everybody who uses the service\nhint: the usage that is yours begins with 1.3.6.1.4.1.311.97. and stands in the certificate: openssl x509 -in FILE -noout -ext extendedKeyUsage")
		}
	case "profile":
		switch {
		case o.root == "" || o.ID == "":
			return errors.New("--identity profile needs --key-root, and --plugin and --id with the profile's ARN")
		case o.subject != "" || len(o.ekus) > 0:
			return errors.New("--key-subject and --key-eku are for --identity subject")
		}
	default:
		return fmt.Errorf("--identity %s: it is certificate, subject or profile", safetext.Safe(o.identity, 32))
	}
	return nil
}

// Renews reports whether the options give the key an identity that outlives its certificates.
func (o *KeyOptions) Renews() bool { return o.identity != "" && o.identity != "certificate" }

// Identity returns the identity that the options give the key, and its root; the zero Identity if it is that of its
// certificate.
func (o *KeyOptions) Identity() (notation.Identity, *x509.Certificate, error) {
	if !o.Renews() {
		return notation.Identity{}, nil, nil
	}
	certs, err := ReadCertificates(o.root)
	if err != nil {
		return notation.Identity{}, nil, err
	}
	if len(certs) != 1 {
		return notation.Identity{}, nil, cli.Usage(fmt.Errorf("--key-root %s has %d certificates, and is the root alone", safetext.Safe(o.root, 300), len(certs)))
	}
	var i notation.Identity
	if o.identity == "profile" {
		i, err = notation.ProfileIdentity(certs[0], o.ID)
	} else {
		i, err = notation.SubjectIdentity(certs[0], o.subject, o.ekus)
	}
	if err != nil {
		return notation.Identity{}, nil, cli.Usage(fmt.Errorf("--identity %s: %w", o.identity, err))
	}
	return i, certs[0], nil
}

// identitiesOf reads certificates that a user names, each once.
func identitiesOf(values []string) ([]notation.Identity, error) {
	var all []notation.Identity
	for _, value := range values {
		i, err := identityOf(value)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, i.Equal) {
			all = append(all, i)
		}
	}
	return all, nil
}

// earlierOf returns the identities that, by the ledger, were accepted for a key of that name, except the present one.
// If the present one outlives its certificates, certificates are left out: a service may sign for others with the
// same one, and what is in the registry counts by the configuration alone.
func earlierOf(f *state.Fingerprint, name string, present notation.Identity) []string {
	var all []string
	add := func(text string) {
		if i, err := notation.ParseIdentity(text); err == nil && !i.Equal(present) && (i.Renews() || !present.Renews()) && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	signers := f.Named(name)
	for _, s := range signers {
		for _, text := range s.Earlier {
			add(text)
		}
	}
	for _, s := range signers {
		add(s.Identity)
	}
	return all
}

// identify sets how the engine's key recognises its signatures.
func (k OpenedKey) identify(to *migrate.Key, known *state.Fingerprint) {
	to.Identity = k.Signer.Identity().String()
	for _, i := range k.Accepted() {
		to.Accepted = append(to.Accepted, i.String())
	}
	to.Renews = k.Signer.Identity().Renews()
	to.Earlier = earlierOf(known, k.Name(), k.Signer.Identity())
	to.Expiry, to.Timestamped = k.expiry, k.TSAURL != ""
}

// ReadCertificates reads a file that a flag or the configuration names.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	certs, err := certfile.Read(path)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("reading certificates: %w", err))
	}
	return certs, nil
}

// Named returns the identities whose signatures may be deleted: those of a flag, and those that the configuration has
// for its keys.
func (c Config) Named(certificates []string) ([]notation.Identity, error) {
	values := slices.Clone(certificates)
	for i, value := range values {
		// The configuration's key of that name also serves policy, which accepts KEY=VALUE.
		if _, after, ok := strings.Cut(value, "="); ok && !Exists(value) {
			values[i] = after
		}
	}
	rules, err := c.KeyRules()
	if err != nil {
		return nil, err
	}
	var all []notation.Identity
	for _, rule := range rules {
		values = append(values, rule.Accepted...)
		i, _, err := rule.Identity()
		switch {
		case err != nil:
			return nil, err
		case !i.IsZero():
			all = append(all, i)
			continue
		case rule.Key == "":
			continue // the certificate of a plugin's key is not known here
		}
		key, err := rule.NotationKey()
		if err != nil {
			return nil, err
		}
		if key.CertFile != "" {
			values = append(values, key.CertFile)
		}
	}
	named, err := identitiesOf(values)
	return append(all, named...), err
}

// HintOfIdentities lists the certificates that the ledger has, for its user to compare.
func HintOfIdentities(known *state.Fingerprint) string {
	var all []string
	if known == nil {
		known = &state.Fingerprint{} // no run has used it
	}
	for _, s := range known.Signers {
		for _, text := range append(s.Earlier, s.Identity) {
			if i, err := notation.ParseIdentity(text); err == nil && !i.Renews() && !slices.Contains(all, "sha256:"+i.Leaf()) {
				all = append(all, "sha256:"+i.Leaf())
			}
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "give --certificate FILE or --certificate sha256:<thumbprint>"
	}
	return "the ledger says " + strings.Join(all, ", ") + ". Compare that with what the key's owner says, and give --certificate sha256:<thumbprint>, or --certificate FILE"
}
