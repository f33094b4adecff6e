package session

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// A NamedFile is a file or directory to read, and the option that names it.
type NamedFile struct {
	Option, Path string
	dir          bool
	read         func(path string) error // checks its content; may be nil
}

// missing returns an error unless the file or directory exists and is of the right type. A file may be a pipe, so it
// is not opened: a pipe can be read only once.
func (f NamedFile) missing() error {
	info, err := os.Stat(f.Path)
	switch {
	case err != nil:
		return err
	case f.dir && !info.IsDir():
		return fmt.Errorf("%s is not a directory", safetext.Safe(f.Path, 300))
	case !f.dir && info.IsDir():
		return fmt.Errorf("%s is a directory", safetext.Safe(f.Path, 300))
	}
	return nil
}

// Check returns an error unless the file exists and has the right content. It reads all of it.
func (f NamedFile) Check() error {
	if err := f.missing(); err != nil || f.read == nil {
		return err
	}
	return f.read(f.Path)
}

// checkThere returns a usage error for the first file that is missing. It checks all named files, used or not:
// whoever names one expects it to count.
func checkThere(files []NamedFile) error {
	for _, f := range files {
		err := f.missing()
		if errors.Is(err, fs.ErrNotExist) {
			return cli.Usage(fmt.Errorf("%s %s: it does not exist\nhint: check the path; it is relative to the current folder, also in the configuration", f.Option, safetext.Safe(f.Path, 300)))
		}
		if err != nil {
			return cli.Usage(fmt.Errorf("%s: %w", f.Option, err))
		}
	}
	return nil
}

// named leaves out the options that are not given.
func named(files ...NamedFile) []NamedFile {
	var given []NamedFile
	for _, f := range files {
		if f.Path != "" {
			given = append(given, f)
		}
	}
	return given
}

// NamedFiles returns the files that the options name.
func (o *RegistryOptions) NamedFiles() []NamedFile {
	return named(
		NamedFile{Option: "--registry-config", Path: o.registryConfig, read: func(path string) error {
			_, err := transport.Credentials(transport.CredentialOptions{ConfigPath: path})
			return err
		}},
		NamedFile{Option: "--ca-file", Path: o.caFile, read: func(path string) error {
			_, err := certfile.Read(path)
			return err
		}},
	)
}

// NamedFiles returns the files and directories that the options name.
func (o *RemoteOptions) NamedFiles() []NamedFile {
	files := append(o.RegistryOptions.NamedFiles(), named(
		NamedFile{Option: "--trust-pinning", Path: o.trustPinning, read: func(path string) error {
			_, err := dct.LoadPins(path)
			return err
		}},
		NamedFile{Option: "--snapshot-trust-policy", Path: o.SnapshotPolicy, read: func(path string) error {
			_, err := o.OpenVerifier(path, http.DefaultTransport) // it sends nothing before it judges
			return err
		}},
	)...)
	if o.DockerTrust != "none" {
		files = append(files, named(NamedFile{Option: "--docker-trust", Path: o.DockerTrust, dir: true, read: isDockerTrust})...)
	}
	if s, place := o.source(); s.check != nil {
		files = append(files, named(NamedFile{Option: "--source " + s.name, Path: place, dir: s.dir, read: s.check})...)
	}
	for _, one := range o.verifyPlugins {
		_, file, _ := strings.Cut(one, "=")
		files = append(files, named(NamedFile{Option: "--verification-plugin", Path: file})...)
	}
	return files
}

// NamedFiles returns the files that the options of a key name.
func (o *KeyOptions) NamedFiles() []NamedFile {
	files := named(NamedFile{Option: "--plugin-path", Path: o.pluginPath}, NamedFile{Option: "--timestamp-root-cert", Path: o.TSARoot, read: func(path string) error {
		_, err := certfile.Read(path)
		return err
	}})
	for _, value := range o.Accepted {
		if _, err := identitiesOf([]string{value}); errors.Is(err, fs.ErrNotExist) { // otherwise a thumbprint
			files = append(files, NamedFile{Option: "--accept-certificate", Path: value})
		}
	}
	return files
}

// isDockerTrust returns an error unless a directory is one in which docker keeps trust data. Any other has no pins
// and no repositories, which would look as if none were known.
func isDockerTrust(dir string) error {
	for _, folder := range []string{"tuf", "private"} {
		switch info, err := os.Stat(filepath.Join(dir, folder)); {
		case err == nil && info.IsDir():
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err // nobody knows what is in it
		}
	}
	return fmt.Errorf("%s is not a docker trust directory: it has neither tuf nor private\nhint: docker's own is ~/.docker/trust", safetext.Safe(dir, 300))
}

func isSnapshot(dir string) error {
	s, err := snapshot.Open(dir)
	if err != nil {
		return err
	}
	return s.Close()
}

func isDump(file string) error {
	d, err := dct.OpenDump(file)
	if err != nil {
		return err
	}
	return d.Close()
}
