package notarytest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// A Repository publishes to one GUN, with all keys that docker's users would have. Only Sign and Remove wait for
// Publish; every other method takes effect at once. Its methods may be called from several goroutines; each waits for
// the others.
type Repository struct {
	server *Server
	gun    string

	mu          sync.Mutex
	staged      changelist.Changelist // what Publish will send; guarded by mu
	delegations []delegation          // the direct children of targets; guarded by mu
}

// NewRepository publishes an empty repository as docker does: with a root key with a certificate of 10 years and a
// targets key of its own; snapshot and timestamp keys are held by the server. It is an error if the GUN already has a
// root.
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
	if _, exists := s.store.latest(gun, "root"); exists {
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

// client makes a notary client for one operation. A longer-lived cache would hide forged files.
func (r *Repository) client(changes changelist.Changelist) (client.Repository, error) {
	return client.NewRepository(data.GUN(r.gun), r.server.url, direct{r.server, r.gun},
		storage.NewMemoryStore(nil), trustpinning.TrustPinConfig{}, r.server.signerKeys, changes)
}

// GUN returns the repository's name.
func (r *Repository) GUN() string { return r.gun }

// RootKeyIDs returns the IDs of the root keys as in root.json, which is what trust_pinning wants under certs. They
// are the IDs of certificates, so they change when one is renewed.
func (r *Repository) RootKeyIDs() []string {
	root, ok := r.server.store.latestRoot(r.gun)
	if !ok {
		return nil
	}
	return append([]string(nil), root.Signed.Roles[data.CanonicalRootRole].KeyIDs...)
}

// Sign stages a target: a tag with the SHA-256 of its manifest in hexadecimal and its size in bytes. Without roles it
// is signed where docker would sign it: in every direct delegation whose paths match the tag, or in targets if there
// are no delegations.
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

// Remove stages the removal of a tag. Without roles it is removed where docker would revoke it: from the direct
// delegations, and from targets only if there are none.
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

// Publish signs and sends what is staged. After an error it remains staged. Even with nothing staged, it makes the
// server sign a new snapshot and timestamp.
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

// RotateRoot replaces the root key. The old key signs the new root too, so that whoever knows the old one can follow.
// It publishes nothing that is staged.
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

// releases is the role that docker prefers.
const releases data.RoleName = "targets/releases"

// A delegation is a direct child of targets, where docker signs.
type delegation struct {
	name  data.RoleName
	paths []string
}

// AddSigner does what "docker trust signer add" does: a new key may sign targets/<name> and
// targets/releases, any tag. It is published at once; the two roles get
// files only when something is signed into them.
func (r *Repository) AddSigner(name string) error {
	role := data.RoleName("targets/" + name)
	err := r.delegate([]string{""}, role, releases)
	if err != nil {
		return fmt.Errorf("adding signer %s to %s: %w", name, r.gun, err)
	}
	return nil
}

// AddDelegation adds a role with a key of its own, at any depth below targets, for tags that
// begin with one of the paths ("" is any). If the role exists, it gains the key and
// the paths. It is published at once.
func (r *Repository) AddDelegation(role string, paths []string) error {
	if err := r.delegate(paths, data.RoleName(role)); err != nil {
		return fmt.Errorf("adding delegation %s to %s: %w", role, r.gun, err)
	}
	return nil
}

// delegate gives roles one new key and publishes only that.
func (r *Repository) delegate(paths []string, roles ...data.RoleName) error {
	if len(paths) == 0 {
		return errors.New("a delegation without paths could sign nothing")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key, err := r.server.signerKeys.Create(roles[0], data.GUN(r.gun), data.ECDSAKey)
	if err != nil {
		return err
	}
	c, err := r.client(changelist.NewMemChangelist())
	if err != nil {
		return err
	}
	for _, role := range roles {
		if err := c.AddDelegation(role, []data.PublicKey{key}, paths); err != nil {
			return err
		}
	}
	if err := c.Publish(); err != nil {
		return err
	}
	for _, role := range roles {
		r.remember(role, paths)
	}
	return nil
}

// remember keeps a direct delegation for rolesFor; the caller holds mu.
func (r *Repository) remember(role data.RoleName, paths []string) {
	if role.Parent() != data.CanonicalTargetsRole {
		return
	}
	at := slices.IndexFunc(r.delegations, func(d delegation) bool { return d.name == role })
	if at < 0 {
		r.delegations = append(r.delegations, delegation{role, slices.Clone(paths)})
		return
	}
	r.delegations[at].paths = append(r.delegations[at].paths, paths...)
}

// rolesFor returns the named roles, or else docker's choice; the caller holds mu.
func (r *Repository) rolesFor(tag string, named []string) ([]data.RoleName, error) {
	if len(named) > 0 {
		return data.NewRoleList(named), nil
	}
	if len(r.delegations) == 0 {
		return []data.RoleName{data.CanonicalTargetsRole}, nil
	}
	var roles []data.RoleName
	for _, d := range r.delegations {
		if (data.Role{Name: d.name, Paths: d.paths}).CheckPaths(tag) {
			roles = append(roles, d.name)
		}
	}
	if len(roles) == 0 {
		// Not targets: docker never signs there once there are delegations.
		return nil, errors.New("no delegation admits this tag")
	}
	return roles, nil
}

// A keyring keeps private keys in memory, unencrypted: notary's own key store derives a
// passphrase key for every new key, which would make a thousand repositories slow. It is a
// signed.CryptoService and may be used from several goroutines at once.
type keyring struct {
	mu   sync.RWMutex
	keys map[string]ringKey // by canonical key ID; guarded by mu
}

type ringKey struct {
	private data.PrivateKey
	role    data.RoleName
}

func newKeyring() *keyring { return &keyring{keys: make(map[string]ringKey)} }

// Create makes a key. ECDSA is what docker's client and a server with a signer use.
func (k *keyring) Create(role data.RoleName, gun data.GUN, algorithm string) (data.PublicKey, error) {
	var private data.PrivateKey
	var err error
	switch algorithm {
	case data.ECDSAKey:
		private, err = utils.GenerateECDSAKey(rand.Reader)
	case data.ED25519Key:
		private, err = utils.GenerateED25519Key(rand.Reader)
	default:
		return nil, fmt.Errorf("making %s key of %s: algorithm %q is not supported", role, gun, algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("making %s key of %s: %w", role, gun, err)
	}
	if err := k.AddKey(role, gun, private); err != nil {
		return nil, err
	}
	return data.PublicKeyFromPrivate(private), nil
}

// AddKey adds a key; it never fails.
func (k *keyring) AddKey(role data.RoleName, _ data.GUN, key data.PrivateKey) error {
	// The library computes the ID on first use and stores it in the key: doing that here, once, makes the key safe to
	// share.
	id := key.ID()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[id] = ringKey{private: key, role: role}
	return nil
}

// GetKey returns the public half; nil if the key is not here.
func (k *keyring) GetKey(id string) data.PublicKey {
	private, _, err := k.GetPrivateKey(id)
	if err != nil {
		return nil
	}
	return data.PublicKeyFromPrivate(private)
}

// GetPrivateKey returns a key and its role; trustmanager.ErrKeyNotFound if it is not here, which the library takes to
// mean "somebody else signs that".
func (k *keyring) GetPrivateKey(id string) (data.PrivateKey, data.RoleName, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[id]
	if !ok {
		return nil, "", trustmanager.ErrKeyNotFound{KeyID: id}
	}
	return key.private, key.role, nil
}

// RemoveKey forgets nothing. The library calls it when a key leaves the root metadata, but the
// tampering methods still sign with keys of earlier roots.
func (k *keyring) RemoveKey(string) error { return nil }

// ListKeys returns the IDs of a role's keys, of all GUNs.
func (k *keyring) ListKeys(role data.RoleName) []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var ids []string
	for id, key := range k.keys {
		if key.role == role {
			ids = append(ids, id)
		}
	}
	return ids
}

// ListAllKeys returns the role of each key.
func (k *keyring) ListAllKeys() map[string]data.RoleName {
	k.mu.RLock()
	defer k.mu.RUnlock()
	roles := make(map[string]data.RoleName, len(k.keys))
	for id, key := range k.keys {
		roles[id] = key.role
	}
	return roles
}
