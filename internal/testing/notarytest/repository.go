package notarytest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
)

// A Repository publishes to one GUN, with all keys that docker's users would have. Only Sign
// and Remove wait for Publish; every other method takes effect at once. Its
// methods may be called from several goroutines, one waits for the other.
type Repository struct {
	server *Server
	gun    string

	mu          sync.Mutex
	staged      changelist.Changelist // what Publish will send; guarded by mu
	delegations []delegation          // the direct children of targets; guarded by mu
}

// NewRepository publishes an empty repository: a root key with a certificate of 10 years and a
// targets key of its own, snapshot and timestamp with the server, as docker does it. It is an
// error if the GUN has a root already.
func (s *Server) NewRepository(gun string) (*Repository, error) {
	r, err := s.newRepository(gun)
	if err != nil {
		return nil, fmt.Errorf("initializing repository %s: %w", gun, err)
	}
	return r, nil
}

func (s *Server) newRepository(gun string) (*Repository, error) {
	if !validGUN(gun) {
		return nil, errors.New("no valid GUN")
	}
	if _, exists := s.shelf.latest(gun, "root"); exists {
		return nil, errors.New("it is published already")
	}
	key, err := s.signerKeys.Create(data.CanonicalRootRole, data.GUN(gun), data.ECDSAKey)
	if err != nil {
		return nil, err
	}
	r := &Repository{server: s, gun: gun, staged: changelist.NewMemChangelist()}
	c, err := r.client(r.staged)
	if err != nil {
		return nil, err
	}
	if err := c.Initialize([]string{key.ID()}, data.CanonicalSnapshotRole); err != nil {
		return nil, err
	}
	if err := c.Publish(); err != nil {
		return nil, err
	}
	return r, nil
}

// client makes a notary client for one operation. A cache kept longer would hide forged files.
func (r *Repository) client(changes changelist.Changelist) (client.Repository, error) {
	return client.NewRepository(data.GUN(r.gun), r.server.url, direct{r.server, r.gun},
		storage.NewMemoryStore(nil), trustpinning.TrustPinConfig{}, r.server.signerKeys, changes)
}

// GUN is the repository's name.
func (r *Repository) GUN() string { return r.gun }

// RootKeyIDs are the IDs of the root keys as root.json has them, which is what trust_pinning
// wants under certs. They are those of certificates, so they change when one is renewed.
func (r *Repository) RootKeyIDs() []string {
	root, ok := r.server.shelf.latestRoot(r.gun)
	if !ok {
		return nil
	}
	return append([]string(nil), root.Signed.Roles[data.CanonicalRootRole].KeyIDs...)
}

// Sign stages a target: a tag with the SHA-256 of its manifest in hexadecimal and its size in
// bytes. Without roles it goes where docker would sign: into every direct delegation whose
// paths admit the tag, or, if there are no delegations at all, into targets.
func (r *Repository) Sign(tag string, sha256hex string, size int64, roles ...string) error {
	sum, err := hex.DecodeString(sha256hex)
	if err != nil || len(sum) != 32 {
		return fmt.Errorf("signing %s:%s: %q is no SHA-256", r.gun, tag, sha256hex)
	}
	target := &client.Target{Name: tag, Hashes: data.Hashes{"sha256": sum}, Length: size}
	return r.stage("signing", tag, roles, func(c client.Repository, in []data.RoleName) error {
		return c.AddTarget(target, in...)
	})
}

// Remove stages the removal of a tag. Without roles it is removed where docker would revoke it:
// from the direct delegations, and from targets only if there are none.
func (r *Repository) Remove(tag string, roles ...string) error {
	return r.stage("removing", tag, roles, func(c client.Repository, in []data.RoleName) error {
		return c.RemoveTarget(tag, in...)
	})
}

// stage adds a change of one tag to what Publish will send.
func (r *Repository) stage(doing, tag string, roles []string, change func(client.Repository, []data.RoleName) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, err := r.rolesFor(tag, roles)
	if err == nil {
		var c client.Repository
		if c, err = r.client(r.staged); err == nil {
			err = change(c, in)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s:%s: %w", doing, r.gun, tag, err)
	}
	return nil
}

// Publish signs and sends what is staged. After an error it is still staged. Without anything
// staged it still makes the server sign a new snapshot and timestamp.
func (r *Repository) Publish() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.client(r.staged)
	if err == nil {
		err = c.Publish()
	}
	if err != nil {
		return fmt.Errorf("publishing %s: %w", r.gun, err)
	}
	return nil
}

// RotateRoot replaces the root key. The new root is signed by the old key too, so that whoever
// knows the old one can follow. Nothing staged is published.
func (r *Repository) RotateRoot() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.client(changelist.NewMemChangelist())
	if err == nil {
		err = c.RotateKey(data.CanonicalRootRole, false, nil)
	}
	if err != nil {
		return fmt.Errorf("rotating root key of %s: %w", r.gun, err)
	}
	return nil
}
