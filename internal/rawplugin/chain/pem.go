package chain

import (
	"crypto/x509"

	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// ReadFile returns the certificates of a file in order, or none for an empty path.
func ReadFile(path string) ([]*x509.Certificate, error) {
	if path == "" {
		return nil, nil
	}
	certs, err := certfile.Read(path)
	if err != nil {
		return nil, fault.Invalid("ca_certs is the path of a file with certificates, in PEM or DER, and nothing else", "reading ca_certs: %w", err)
	}
	return certs, nil
}
