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

// readRoots returns the system's roots with the file's certificates added, or nil, which
// crypto/tls takes for the system's roots, if no file is given.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	return addRoots(systemRoots(), file)
}

// systemRoots returns a copy of the system's roots, empty where there are none: a container
// without a bundle still works with certificates given explicitly.
func systemRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool()
	}
	return pool
}

// addRoots returns the pool with the file's certificates added. A certificate that cannot be
// read is an error: the server that needs it would be called untrusted, and nobody know why.
func addRoots(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	pool, err := certfile.Pool(pool, file)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificates: %w", err)
	}
	return pool, nil
}

// tlsConfig returns the configuration for one host: the roots, and what the host's folder
// in dir adds to them.
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

// hostFolder lists the host's folder; its name is empty if there is none.
func hostFolder(dir, host string) (string, []fs.DirEntry, error) {
	// The host may come from a redirect: it names a folder in dir or nothing.
	if dir == "" || !filepath.IsLocal(host) || strings.ContainsAny(host, `/\`) || host == "." {
		return "", nil, nil
	}
	// docker names the folder as the user wrote the host, the default port perhaps included.
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

// addFile puts one file of a host's folder to its use. Other files are left alone.
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
