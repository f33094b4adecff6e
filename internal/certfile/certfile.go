// Package certfile reads files of X.509 certificates, for every flag and configuration field that names one. A file
// is PEM or DER; a byte-order mark, CRLF line ends and text between the certificates, such as openssl's bag
// attributes, are ignored.
//
// No certificate is skipped silently: a PEM block that cannot be read or is not a certificate is an error that says
// where it is. encoding/pem alone skips such blocks, and a chain without its first certificate is a different chain.
package certfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// maxSize bounds a file. Operating systems' bundles have about a quarter of a MiB.
const maxSize = 4 << 20

// Read returns the certificates of a file in order, at least one. Errors name the file.
func Read(path string) ([]*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the file
	}
	defer func() { _ = f.Close() }() // only read from
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	certs, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", safetext.Safe(path, 512), err)
	}
	return certs, nil
}

// Pool returns a copy of pool with the certificates of a file added.
func Pool(pool *x509.CertPool, path string) (*x509.CertPool, error) {
	certs, err := Read(path)
	if err != nil {
		return nil, err
	}
	pool = pool.Clone()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	begin         = []byte("-----BEGIN ")
)

// Parse returns the certificates in a file's content in order, at least one.
func Parse(raw []byte) ([]*x509.Certificate, error) {
	if len(raw) > maxSize {
		return nil, fmt.Errorf("it is larger than %d MiB, which no file of certificates is", maxSize>>20)
	}
	text := bytes.TrimPrefix(raw, byteOrderMark)
	switch {
	case bytes.Contains(text, begin):
		return parsePEM(text)
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return nil, errors.New("it is UTF-16 text; save it as UTF-8 or ASCII")
	}
	certs, err := x509.ParseCertificates(raw)
	if err != nil || len(certs) == 0 {
		return nil, errors.New("it has no certificate, neither in PEM nor in DER")
	}
	return certs, nil
}

func parsePEM(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for at := bytes.Index(text, begin); at >= 0; {
		line := 1 + bytes.Count(text[:at], []byte("\n"))
		block, rest := pem.Decode(text[at:])
		end := len(text) - len(rest)
		if block == nil || at > 0 && text[at-1] != '\n' || bytes.Count(text[at:end], begin) != 1 {
			return nil, fmt.Errorf("line %d: the PEM block that begins here cannot be read: it is damaged, cut off, or not on lines of its own", line)
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("line %d: it holds a %s; it must hold certificates and nothing else", line, safetext.Safe(block.Type, 40))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("line %d: reading the certificate: %w", line, err)
		}
		all = append(all, c)
		next := bytes.Index(text[end:], begin)
		if next < 0 {
			break
		}
		at = end + next
	}
	return all, nil
}
