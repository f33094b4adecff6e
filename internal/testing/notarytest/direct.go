package notarytest

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf/data"
)

// A direct is the server as notary's client sees it, without HTTP: how repositories publish.
// It is a storage.RemoteStore.
type direct struct {
	server *Server
	gun    string
}

// GetSized returns a file by the name that a URL would have; storage.ErrMetaNotFound if there
// is none. The size is not enforced: the bytes come from this process.
func (d direct) GetSized(name string, _ int64) ([]byte, error) {
	raw, ok := d.server.shelf.lookUp(d.gun, name)
	if !ok {
		return nil, storage.ErrMetaNotFound{Resource: name}
	}
	return bytes.Clone(raw), nil
}

// Set publishes one file.
func (d direct) Set(name string, raw []byte) error {
	return d.SetMulti(map[string][]byte{name: raw})
}

// SetMulti publishes files, all or none.
func (d direct) SetMulti(files map[string][]byte) error {
	return d.server.publish(d.gun, files)
}

// Remove always fails: no server takes single files away.
func (d direct) Remove(string) error { return errors.New("single files cannot be removed") }

// RemoveAll forgets the GUN.
func (d direct) RemoveAll() error {
	d.server.shelf.remove(d.gun)
	return nil
}

// Location names the server in errors.
func (d direct) Location() string { return d.server.host }

// GetKey returns the server's public key for a role.
func (d direct) GetKey(role data.RoleName) ([]byte, error) {
	key, err := d.server.serverKey(d.gun, role)
	if err != nil {
		return nil, err
	}
	return json.Marshal(key)
}

// RotateKey makes a new one.
func (d direct) RotateKey(role data.RoleName) ([]byte, error) {
	key, err := d.server.freshKey(d.gun, role)
	if err != nil {
		return nil, err
	}
	return json.Marshal(key)
}
