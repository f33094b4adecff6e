package chain

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/fault"
)

// maxFile bounds a certificate file. System-wide bundles are about 250 KiB.
const maxFile = 4 << 20

// ReadFile reads the certificates of a PEM file, in its order; no path gives
// none. Anything in the file but certificates is refused: a private key in
// there is a mistake that its owner wants to hear about.
func ReadFile(path string) ([]*x509.Certificate, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Invalid("ca_certs is the path of a PEM file", "opening ca_certs: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fault.Invalid("ca_certs is the path of a PEM file", "reading ca_certs: %w", err)
	}
	if len(text) > maxFile {
		return nil, fault.Invalid("", "reading ca_certs: %q is larger than %d bytes", path, maxFile)
	}
	certs, err := parsePEM(text)
	if err != nil {
		return nil, fault.Invalid("ca_certs holds certificates in PEM form and nothing else", "reading ca_certs %q: %w", path, err)
	}
	return certs, nil
}

func parsePEM(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %q", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs, text = append(certs, cert), rest
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("it holds no certificate")
	}
	return certs, nil
}
