package dct

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/theupdateframework/notary/tuf/utils"
)

// A RootKey is a key of a root, as the root itself describes it.
type RootKey struct {
	ID       string    // of its certificate, as pinned under notary's certs
	PublicID string    // of the key alone, as in notary key list; empty if its certificate cannot be read
	Subject  string    // of the certificate
	Expires  time.Time // of the certificate
	SHA256   string    // of the certificate in DER, in hex
	Pinned   bool      // pinned by the configuration or by docker's trust directory
}

// ListRoot fetches the newest root of a repository and returns its version and its keys, for comparison with what its
// owner says. It only checks that these keys signed the root: listing trusts nothing. Errors are an [*Error] or
// ctx's.
func (r *Reader) ListRoot(ctx context.Context, gun GUN) (version int, keys []RootKey, err error) {
	l := &loader{source: r.Source, gun: gun, left: cmp.Or(r.MaxBytes, DefaultMaxBytes)}
	if r.Listing != nil {
		l.listing = r.Listing(gun)
	}
	raw, err := l.fetch(ctx, "root", "root", maxRoot)
	if err != nil {
		return 0, nil, err
	}
	root, err := decodeRoot(raw)
	if err == nil {
		err = selfSigned(root, raw)
	}
	if err != nil {
		return 0, nil, l.refuse("root", err)
	}
	for _, key := range rootKeys(root) {
		one := RootKey{ID: key.ID(), Pinned: r.Pins.names(gun, root, key.ID())}
		if chain, err := utils.LoadCertBundleFromPEM(key.Public()); err == nil && len(chain) > 0 {
			sum := sha256.Sum256(chain[0].Raw)
			one.PublicID, one.Subject = publicKeyID(chain[0].PublicKey), chain[0].Subject.String()
			one.Expires, one.SHA256 = chain[0].NotAfter.UTC(), hex.EncodeToString(sum[:])
		}
		keys = append(keys, one)
	}
	return root.Signed.Version, keys, nil
}
