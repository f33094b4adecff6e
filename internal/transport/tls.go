package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dct2notation/dct2notation/internal/certfile"
)

// readRoots returns the system's roots plus the file's certificates. Without a file it returns nil, for which
// crypto/tls uses the system's roots.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	return addRoots(systemRoots(), file)
}

// systemRoots returns a copy of the system's roots, or an empty pool if there are none: a container without a bundle
// still works with explicit certificates.
func systemRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool()
	}
	return pool
}

// addRoots returns the pool with the file's certificates added. An unreadable certificate is an error: otherwise its
// server would be called untrusted, and nobody would know why.
func addRoots(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	pool, err := certfile.Pool(pool, file)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificates: %w", err)
	}
	return pool, nil
}

// tlsConfig returns the configuration for one host: the roots plus the content of the host's folder in dir.
func tlsConfig(roots *x509.CertPool, dir, host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	folder, entries, err := hostFolder(dir, host)
	if err != nil || folder == "" {
		return conf, err
	}
	for _, e := range entries {
		if err := addFile(conf, filepath.Join(folder, e.Name()), entries); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

// hostFolder returns the host's folder and its entries, or an empty name if there is none.
func hostFolder(dir, host string) (string, []fs.DirEntry, error) {
	// The host may come from a redirect: it must name a folder directly in dir.
	if dir == "" || !filepath.IsLocal(host) || strings.ContainsAny(host, `/\`) || host == "." {
		return "", nil, nil
	}
	// docker names the folder as the user wrote the host, perhaps with the default port.
	for _, name := range []string{host, host + ":443"} {
		folder := filepath.Join(dir, name)
		entries, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("reading certificates for %s: %w", host, err)
		}
		return folder, entries, nil
	}
	return "", nil, nil
}

// addFile adds one file of a host's folder to the configuration. It ignores other files.
func addFile(conf *tls.Config, file string, beside []fs.DirEntry) error {
	base := strings.TrimSuffix(file, filepath.Ext(file))
	switch filepath.Ext(file) {
	case ".crt":
		pool := conf.RootCAs
		if pool == nil {
			pool = systemRoots()
		}
		pool, err := addRoots(pool, file)
		if err != nil {
			return err
		}
		conf.RootCAs = pool
	case ".cert":
		if !contains(beside, base+".key") {
			return fmt.Errorf("reading client certificate: %s has no %s beside it", file, filepath.Base(base)+".key")
		}
		pair, err := tls.LoadX509KeyPair(file, base+".key")
		if err != nil {
			return fmt.Errorf("reading client certificate %s: %w", file, err)
		}
		conf.Certificates = append(conf.Certificates, pair)
	case ".key":
		if !contains(beside, base+".cert") {
			return fmt.Errorf("reading client certificate: %s has no %s beside it", file, filepath.Base(base)+".cert")
		}
	}
	return nil
}

func contains(entries []fs.DirEntry, path string) bool {
	for _, e := range entries {
		if e.Name() == filepath.Base(path) {
			return true
		}
	}
	return false
}
