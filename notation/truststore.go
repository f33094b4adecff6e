package notation

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/notaryproject/notation-go/verifier/truststore"
)

// trustStore reads each named store once: notation-go would read the files and check their certificates again for
// every signature. A store that cannot be read is read again for the next signature, and leaves the verdict open. It
// is safe for concurrent use.
type trustStore struct {
	store truststore.X509TrustStore

	mu   sync.Mutex
	read map[storeName][]*x509.Certificate // guarded by mu
}

type storeName struct {
	kind truststore.Type
	name string
}

// GetCertificates implements [truststore.X509TrustStore].
func (s *trustStore) GetCertificates(ctx context.Context, kind truststore.Type, name string) ([]*x509.Certificate, error) {
	key := storeName{kind, name}
	if e := evidenceOf(ctx); e != nil {
		return e.once(key, func() ([]*x509.Certificate, error) { return s.load(ctx, key) })
	}
	return s.load(ctx, key)
}

func (s *trustStore) load(ctx context.Context, key storeName) ([]*x509.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if certs, ok := s.read[key]; ok {
		return slices.Clone(certs), nil
	}
	certs, err := s.store.GetCertificates(ctx, key.kind, key.name)
	if err != nil {
		return nil, err
	}
	if s.read == nil {
		s.read = map[storeName][]*x509.Certificate{}
	}
	s.read[key] = certs
	return slices.Clone(certs), nil
}

// missing reports whether a trust store does not exist, and so trusts nobody.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
