package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// dockerHub is the host that serves docker.io.
const dockerHub = "registry-1.docker.io"

// CredentialOptions say whose credentials are used where.
type CredentialOptions struct {
	// ConfigPath is a docker configuration file, its credential helpers included. Empty:
	// docker's own (DOCKER_CONFIG, else ~/.docker), which need not exist.
	ConfigPath string

	// Username and Password, if set, are used for Hosts and nowhere else; a password
	// without a username is an identity token, as in docker and notation. For these hosts
	// the configuration file is not asked.
	Username, Password string

	// Hosts are written as in image names: host[:port], docker.io for Docker Hub.
	Hosts []string
}

// Credentials returns the credentials by registry host. Nothing is ever written. The
// function is safe for concurrent use; an unknown host is anonymous. Its errors hold no part
// of a credential and therefore not the causes of the file or the helper, which may quote one.
func Credentials(o CredentialOptions) (auth.CredentialFunc, error) {
	store, err := openStore(o.ConfigPath)
	if err != nil {
		return nil, err
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
		ask := hostport // as written: the file's keys know upper case
		if serving(hostport) == dockerHub {
			ask = dockerHub // oras-go knows the file's key for it
		}
		found, err := fromFile(ctx, ask)
		if err != nil {
			if ctx.Err() != nil {
				return auth.EmptyCredential, ctx.Err()
			}
			return auth.EmptyCredential, fmt.Errorf("reading credentials for %s: the docker configuration's entry or its credential helper is not usable", hostport)
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

// explicit returns the credential given by name, or the empty one.
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

// openStore opens the docker configuration for reading.
func openStore(path string) (credentials.Store, error) {
	if path == "" {
		store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, errors.New("reading credentials: the docker configuration is not usable")
		}
		return store, nil
	}
	// A file that the user named must be there; only docker's own may be missing.
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	store, err := credentials.NewStore(path, credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %s is not a docker configuration", path)
	}
	return store, nil
}

// serving returns the host that requests for an image name's host go to, in lower case.
func serving(host string) string {
	switch host = strings.ToLower(host); host {
	case "docker.io", "index.docker.io":
		return dockerHub
	}
	return host
}
