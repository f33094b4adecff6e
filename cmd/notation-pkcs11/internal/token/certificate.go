//go:build cgo && unix

package token

import (
	"crypto/x509"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Certificates returns the certificates that the token keeps under the key's id or its label; a certificate under
// both appears twice. The caller checks whether one of them is the key's.
func (k *Key) Certificates() ([]*x509.Certificate, error) {
	var found []pkcs11.ObjectHandle
	for _, name := range k.names() {
		some, err := k.session.find(class(pkcs11.CKO_CERTIFICATE), name)
		if err != nil {
			return nil, fmt.Errorf("looking for the key's certificate: %w", err)
		}
		found = append(found, some...)
	}
	return k.session.certificates(found)
}

// AllCertificates returns every certificate on the token, as possible issuers.
func (s *Session) AllCertificates() ([]*x509.Certificate, error) {
	found, err := s.find(class(pkcs11.CKO_CERTIFICATE))
	if err != nil {
		return nil, fmt.Errorf("looking for certificates: %w", err)
	}
	return s.certificates(found)
}

// certificates skips objects that are not X.509 certificates: tokens also keep attribute certificates, URLs and empty
// containers in this class.
func (s *Session) certificates(objects []pkcs11.ObjectHandle) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for _, object := range objects {
		der, err := s.attribute(object, pkcs11.CKA_VALUE)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		if cert, err := x509.ParseCertificate(der); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs, nil
}
