package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// keyID is the signing key's name in the plugin, and keyDelay how long each use of it takes, as with a key service in
// the same region.
const (
	keyID    = "release"
	keyDelay = 40 * time.Millisecond
)

// user is who logs in at one registry.
type user struct{ name, password string }

// scene is everything that a migration needs around it: servers, images, key, and a folder with the files that a user
// would have.
type scene struct {
	dir string

	notary *notarytest.Server
	modern *registrytest.Registry // with the referrers API
	old    *registrytest.Registry // without: signatures are found by the tag schema
	users  map[*registrytest.Registry]user

	authority *pki.Identity
	plugin    *kmstest.Plugin

	repositories []*repository
}

// setScene starts and publishes everything. After an error nothing is left behind.
func setScene(ctx context.Context, show *screen) (*scene, error) {
	dir, err := os.MkdirTemp("", "dct2notation-demo-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	s := &scene{dir: dir}
	for _, part := range []struct {
		saying string
		do     func() error
	}{
		{"a Notary v1 server and two registries on 127.0.0.1, with TLS and tokens", s.startServers},
		{"a signing key behind a Notation plugin that takes 40 ms, as a key service does", s.installKey},
		{"images and their Docker Content Trust signatures:", s.publish},
		{"", s.writeFiles},
	} {
		if part.saying != "" {
			show.say(part.saying)
		}
		if err = ctx.Err(); err == nil {
			err = part.do()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("setting the scene: %w", err), s.clear())
		}
	}
	s.introduce(show)
	return s, nil
}

func (s *scene) startServers() (err error) {
	ann, bob := user{"ann", rand.Text()}, user{"bob", rand.Text()}
	if s.modern, err = startRegistry(ann, true); err != nil {
		return err
	}
	if s.old, err = startRegistry(bob, false); err != nil {
		return err
	}
	s.users = map[*registrytest.Registry]user{s.modern: ann, s.old: bob}
	// Whoever may use a registry may read its trust data: docker sends the registry's credentials to the Notary
	// server too.
	s.notary, err = notarytest.Start(notarytest.Options{
		TLS: true, Token: true, Users: map[string]string{ann.name: ann.password, bob.name: bob.password},
	})
	return err
}

func startRegistry(u user, referrers bool) (*registrytest.Registry, error) {
	return registrytest.Start(registrytest.Options{
		Referrers: referrers, TLS: true, Token: true, Users: map[string]string{u.name: u.password},
	})
}

func (s *scene) installKey() (err error) {
	if s.authority, err = pki.NewAuthority("demo root"); err != nil {
		return err
	}
	id, err := s.authority.Issue("demo release key", nil)
	if err != nil {
		return err
	}
	secret := filepath.Join(s.dir, "kms")
	if err := os.Mkdir(secret, 0o700); err != nil {
		return err
	}
	key, err := id.Save(secret, keyID)
	if err != nil {
		return err
	}
	s.plugin, err = kmstest.Install(s.path("libexec"), kmstest.Behaviour{
		Keys:  map[string]pki.Files{keyID: key},
		Delay: map[string]int{"describe-key": int(keyDelay.Milliseconds()), signing: int(keyDelay.Milliseconds())},
	})
	return err
}

// signing is the plugin command that spends a key operation.
const signing = "generate-signature"

// keyOperations counts the key operations begun so far.
func (s *scene) keyOperations() (int, error) {
	calls, err := s.plugin.Calls(signing)
	return len(calls), err
}

// path returns the path of a file of the scene.
func (s *scene) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// clear stops the servers and removes the folder. It skips what was not started.
func (s *scene) clear() error {
	if s.notary != nil {
		s.notary.Close()
	}
	for _, r := range []*registrytest.Registry{s.modern, s.old} {
		if r != nil {
			r.Close()
		}
	}
	// A plugin that outlives its killed caller may still write its log for a moment.
	var err error
	for range 20 {
		if err = os.RemoveAll(s.dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("clearing the scene: %w", err)
}
