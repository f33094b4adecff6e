package notarytest

import (
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

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

// AddKey keeps a key; it never fails.
func (k *keyring) AddKey(role data.RoleName, _ data.GUN, key data.PrivateKey) error {
	// The library computes the ID on first use and keeps it in the key: doing that here,
	// once, makes the key safe to share.
	id := key.ID()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[id] = ringKey{private: key, role: role}
	return nil
}

// GetKey returns the public half, nil if the key is not here.
func (k *keyring) GetKey(id string) data.PublicKey {
	private, _, err := k.GetPrivateKey(id)
	if err != nil {
		return nil
	}
	return data.PublicKeyFromPrivate(private)
}

// GetPrivateKey returns a key and its role; trustmanager.ErrKeyNotFound if it is not here,
// which the library takes for "somebody else signs that".
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
