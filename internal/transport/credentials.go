package transport

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/credentials/trace"
)

// dockerHub is the host that serves docker.io.
const dockerHub = "registry-1.docker.io"

// CredentialOptions say which credentials are used where.
type CredentialOptions struct {
	// ConfigPath is a docker configuration file; its credential helpers are used too. Empty: docker's own
	// (DOCKER_CONFIG, else ~/.docker), which need not exist.
	ConfigPath string

	// Username and Password, if set, are used only for Hosts. A password without a username is an identity token, as
	// in docker and notation. The configuration file is not used for these hosts.
	Username, Password string

	// Hosts are written as in image names: host[:port], docker.io for Docker Hub.
	Hosts []string
}

// Credentials returns a function that looks up credentials by registry host. It never writes anything. The function
// is safe for concurrent use; an unknown host is anonymous. Its errors name the file, the helper and what went wrong,
// but contain no part of a credential.
func Credentials(o CredentialOptions) (auth.CredentialFunc, error) {
	path, err := configPath(o.ConfigPath)
	if err != nil {
		return nil, err
	}
	if err := checkConfig(path); err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	store, err := credentials.NewStore(path, credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %s is not a docker configuration", path)
	}
	given, err := o.explicit()
	if err != nil {
		return nil, err
	}
	hosts := make(map[string]bool, len(o.Hosts))
	for _, h := range o.Hosts {
		hosts[serving(h)] = true
	}
	fromFile := credentials.Credential(store)
	find := func(ctx context.Context, hostport string) (auth.Credential, error) {
		if given != auth.EmptyCredential && hosts[serving(hostport)] {
			return given, nil
		}
		ask := hostport // as written: the file's keys are case-sensitive
		if serving(hostport) == dockerHub {
			ask = dockerHub // oras-go knows the file's key for it
		}
		var helper string
		var failed error
		found, err := fromFile(trace.WithExecutableTrace(ctx, &trace.ExecutableTrace{
			ExecuteDone: func(name, _ string, err error) { helper, failed = name, err },
		}), ask)
		if err != nil {
			if ctx.Err() != nil {
				return auth.EmptyCredential, ctx.Err()
			}
			return auth.EmptyCredential, fmt.Errorf("reading credentials for %s of %s: %w", hostport, path, unusable(helper, failed))
		}
		return found, nil
	}
	return func(ctx context.Context, hostport string) (auth.Credential, error) {
		c, err := find(ctx, hostport)
		used.basic(c.Username, c.Password)
		used.note(c.RefreshToken)
		used.note(c.AccessToken)
		return c, err
	}, nil
}

// explicit returns the credential given in the options, or the empty one.
func (o CredentialOptions) explicit() (auth.Credential, error) {
	switch {
	case o.Username == "" && o.Password == "":
		return auth.EmptyCredential, nil
	case o.Password == "":
		return auth.EmptyCredential, errors.New("reading credentials: a username needs a password")
	case len(o.Hosts) == 0:
		return auth.EmptyCredential, errors.New("reading credentials: a username or password needs the registry hosts it is for")
	case o.Username == "":
		return auth.Credential{RefreshToken: o.Password}, nil
	}
	return auth.Credential{Username: o.Username, Password: o.Password}, nil
}

// configPath returns the docker configuration to read: the named one, which must exist, or docker's own.
func configPath(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("reading credentials: %w", err)
		}
		return named, nil
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("reading credentials: %w", err)
		}
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json"), nil
}

// checkConfig says what is wrong with a docker configuration, without quoting it. A missing file is fine.
func checkConfig(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(raw, []byte("\xff\xfe")) {
		return fmt.Errorf("%s begins with a byte-order mark, which docker cannot read either\nhint: save it as UTF-8 without one", path)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	var config struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredsStore  string                     `json:"credsStore"`
		CredHelpers map[string]string          `json:"credHelpers"`
	}
	err = json.Unmarshal(raw, &config)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("%s: %s is %s, which docker does not have there", path, cmp.Or(kind.Field, "it"), strings.SplitN(kind.Value, " ", 2)[0])
	case errors.As(err, &syntax):
		return fmt.Errorf("%s is no JSON: see line %d", path, 1+bytes.Count(raw[:min(int(syntax.Offset), len(raw))], []byte("\n")))
	case err != nil:
		return fmt.Errorf("%s is not a docker configuration", path)
	}
	return nil
}

// unusable says why there is no credential: it names the helper that was run, if any, or the file's entry. It does
// not repeat a helper's output, which may be the secret.
func unusable(helper string, failed error) error {
	var exit *exec.ExitError
	switch {
	case helper == "":
		return errors.New("the entry cannot be read: its auth is no base64 of user:password")
	case errors.Is(failed, exec.ErrNotFound):
		return fmt.Errorf("its credential helper %s is not installed: there is none in PATH", helper)
	case errors.As(failed, &exit):
		return fmt.Errorf("its credential helper %s ended with exit code %d\nhint: to see what it says, run it by hand, as in: echo HOST | %s get", helper, exit.ExitCode(), helper)
	case failed != nil:
		return fmt.Errorf("its credential helper %s cannot be started", helper)
	}
	return fmt.Errorf("the answer of its credential helper %s is no JSON", helper)
}

// serving returns the host that receives requests for an image name's host, in lower case.
func serving(host string) string {
	switch host = strings.ToLower(host); host {
	case "docker.io", "index.docker.io":
		return dockerHub
	}
	return host
}
