package notarytest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
)

// Tamper edits the signed part of a role's latest file, as decoded JSON: numbers are float64,
// and integers of any kind may be put in. With resign (needs the role's keys) the file
// has the next version number before the edit, which may set another, and is signed again.
// Without, the old signatures stay and are wrong if the edit changed anything (needs the server's
// keys only). Snapshot and timestamp follow either way.
func (r *Repository) Tamper(role string, edit func(signed map[string]any), resign bool) error {
	return r.tamper("tampering with", role, resign, func(d *document) error {
		edit(d.signed)
		return nil
	})
}

// Expire signs a role again with an expiry of yesterday. It needs the role's keys; with time
// passing nobody needs any.
func (r *Repository) Expire(role string) error {
	return r.tamper("expiring", role, true, func(d *document) error {
		d.signed["expires"] = time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
		return nil
	})
}

// BadSignature makes a role's signatures wrong and leaves the rest of the file. It needs the
// server's keys.
func (r *Repository) BadSignature(role string) error {
	return r.tamper("spoiling", role, false, func(d *document) error {
		if len(d.signatures) == 0 {
			return errors.New("there are no signatures")
		}
		d.spoil()
		return nil
	})
}

// Threshold asks for n signatures on a role, in the file that speaks about it: root, or the
// parent of a delegation. It needs the keys of that file. The role itself stays as it
// is, with one signature per key that it has.
func (r *Repository) Threshold(role string, n int) error {
	parent := "root"
	if data.IsDelegation(data.RoleName(role)) {
		parent = data.RoleName(role).Parent().String()
	}
	return r.tamper("setting threshold of "+role+" in", parent, true, func(d *document) error {
		entry, ok := d.roleEntry(role)
		if !ok {
			return fmt.Errorf("it does not know %s", role)
		}
		entry["threshold"] = n
		return nil
	})
}

// roleEntry finds what a root or a targets file says about a role.
func (d *document) roleEntry(role string) (map[string]any, bool) {
	if roles, ok := d.signed["roles"].(map[string]any); ok {
		entry, ok := roles[role].(map[string]any)
		return entry, ok
	}
	delegations, _ := d.signed["delegations"].(map[string]any)
	roles, _ := delegations["roles"].([]any)
	for _, candidate := range roles {
		if entry, ok := candidate.(map[string]any); ok && entry["name"] == role {
			return entry, true
		}
	}
	return nil, false
}

// Replace puts any bytes in the place of a role's file, and lets snapshot and timestamp vouch
// for them: what a malicious server can do, who holds those two keys. Bytes that claim
// no version get the one after the latest.
func (r *Repository) Replace(role string, raw []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := file{role: role, raw: bytes.Clone(raw)}
	if d, err := parseDocument(raw); err == nil {
		f.version = d.version()
	}
	if latest, ok := r.server.shelf.latest(r.gun, role); ok && f.version == 0 {
		f.version = latest.Number + 1
	}
	if err := r.settle(f); err != nil {
		return fmt.Errorf("replacing %s of %s: %w", role, r.gun, err)
	}
	return nil
}

// DropFromSnapshot withholds a role: the snapshot does not list it any more, though its
// parent still declares it and the file can still be fetched by its name.
func (r *Repository) DropFromSnapshot(role string) error {
	return r.tamper("dropping "+role+" from", "snapshot", true, func(d *document) error {
		meta, _ := d.signed["meta"].(map[string]any)
		if _, ok := meta[role]; !ok {
			return fmt.Errorf("%s is not listed", role)
		}
		delete(meta, role)
		return nil
	})
}
