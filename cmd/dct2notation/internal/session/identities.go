package session

import (
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// Whose signatures count as a key's: its identity, those that the configuration accepts beside it,
// and, for items that the ledger has as done, those that were accepted before.

// identityOf reads a certificate that somebody names: its thumbprint, or a PEM file, of which it
// takes the first certificate.
func identityOf(value string) (notation.Identity, error) {
	if _, meant, _ := notation.ParseThumbprint(value); meant {
		return notation.IdentityOfThumbprint(value)
	}
	chain, err := ReadCertificates(value)
	if err != nil {
		return notation.Identity{}, err
	}
	if chain[0].IsCA {
		return notation.Identity{}, fmt.Errorf("%s begins with an authority's certificate (%s), not the key's\nhint: leaf first, or give sha256:<thumbprint>",
			safetext.Safe(value, 300), safetext.Safe(chain[0].Subject.String(), 200))
	}
	return notation.IdentityOf(chain[0]), nil
}

// IdentitiesOf reads certificates that somebody names, each once.
func IdentitiesOf(values []string) ([]notation.Identity, error) {
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

// earlierOf are the identities that the ledger says were accepted for a key of that name, but for
// the present one.
func earlierOf(f *state.Fingerprint, name string, present notation.Identity) []string {
	var all []string
	add := func(text string) {
		if i, err := notation.ParseIdentity(text); err == nil && !i.Equal(present) && !slices.Contains(all, text) {
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

// identify gives the engine's key what its signatures are known by.
func (k OpenedKey) identify(to *migrate.Key, known *state.Fingerprint) {
	to.Identity = k.Identity().String()
	for _, i := range k.Accepted() {
		to.Accepted = append(to.Accepted, i.String())
	}
	to.Earlier = earlierOf(known, k.Name(), k.Identity())
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
