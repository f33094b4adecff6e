package kmstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
)

// An Algorithm is a kind of signing key, by the name the plugin protocol calls a key spec.
type Algorithm string

// The kinds of key that Notation allows.
const (
	RSA2048 Algorithm = "RSA-2048"
	RSA3072 Algorithm = "RSA-3072"
	RSA4096 Algorithm = "RSA-4096"
	EC256   Algorithm = "EC-256"
	EC384   Algorithm = "EC-384"
	EC521   Algorithm = "EC-521"
)

// Algorithms is all of them.
var Algorithms = []Algorithm{RSA2048, RSA3072, RSA4096, EC256, EC384, EC521}

var (
	rsaBits = map[Algorithm]int{RSA2048: 2048, RSA3072: 3072, RSA4096: 4096}
	curves  = map[Algorithm]elliptic.Curve{EC256: elliptic.P256(), EC384: elliptic.P384(), EC521: elliptic.P521()}
	hashes  = map[Algorithm]crypto.Hash{
		RSA2048: crypto.SHA256, RSA3072: crypto.SHA384, RSA4096: crypto.SHA512,
		EC256: crypto.SHA256, EC384: crypto.SHA384, EC521: crypto.SHA512,
	}
)

// algorithmOf tells the algorithm of a public key.
func algorithmOf(public crypto.PublicKey) (Algorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		for a, bits := range rsaBits {
			if key.N.BitLen() == bits {
				return a, nil
			}
		}
	case *ecdsa.PublicKey:
		for a, curve := range curves {
			if key.Curve == curve {
				return a, nil
			}
		}
	}
	return "", fmt.Errorf("key of type %T is none that Notation allows", public)
}

// rsaKeys caches RSA keys by algorithm and common name for the life of the process, since making one
// takes up to seconds. The name is part of it so that two names never share a key.
var rsaKeys sync.Map // rsaName -> func() (*rsa.PrivateKey, error)

type rsaName struct {
	algorithm Algorithm
	cn        string
}

// newKey makes a key; RSA keys of the same name come from the cache.
func newKey(cn string, a Algorithm) (crypto.Signer, error) {
	if curve, ok := curves[a]; ok {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	bits, ok := rsaBits[a]
	if !ok {
		return nil, fmt.Errorf("unknown algorithm %q", a)
	}
	once, _ := rsaKeys.LoadOrStore(rsaName{a, cn}, sync.OnceValues(func() (*rsa.PrivateKey, error) {
		return rsa.GenerateKey(rand.Reader, bits)
	}))
	return once.(func() (*rsa.PrivateKey, error))()
}
