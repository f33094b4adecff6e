package state

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Floor is the newest metadata of a role seen so far. An older version is a rollback; package dct decides whether
// to refuse it.
type Floor struct {
	Version int    `json:"version"`
	SHA256  string `json:"sha256"` // lower-case hex, of the metadata's bytes
}

// Why a repository's root is trusted.
const (
	PinConfig      = "config"       // named in the configuration
	PinTOFU        = "tofu"         // accepted on first use, because the user allowed it
	PinDockerTrust = "docker-trust" // taken from the user's docker trust directory
)

// A Repository is what an earlier run learned about a GUN's trust data.
type Repository struct {
	GUN        string
	Roles      map[string]Floor
	Root       []byte // the trusted root.json, unchanged
	Pin        string // PinConfig, PinTOFU or PinDockerTrust
	RootKeyIDs []string
	RootKeys   []string // ids of all keys, and of their public keys, of all roots ever trusted
	VerifiedAt time.Time
}

const maxRoot = 8 << 20 // bytes; notary itself stops at 1 MiB

func (r Repository) check() error {
	switch {
	case r.GUN == "" || len(r.GUN) > maxName || !utf8.ValidString(r.GUN):
		return fmt.Errorf("repository %s: not a usable name", plain(r.GUN))
	case len(r.Root) > maxRoot:
		return fmt.Errorf("repository %s: a root of %d bytes, more than %d", plain(r.GUN), len(r.Root), maxRoot)
	}
	return nil
}

// Repository returns what is recorded about gun, or false if nothing is.
func (l *Ledger) Repository(gun string) (Repository, bool, error) {
	var r Repository
	var found bool
	err := l.view(func(t *table) (err error) {
		r, found, err = t.repository(gun)
		return err
	})
	return r, found, err
}

// SetRepository replaces what is recorded about r's GUN. A root that is trusted on first use, or has new keys, is
// recorded as an event.
func (l *Ledger) SetRepository(r Repository) error { return l.setRepository(r, "") }

// ReplaceRoot is SetRepository for a root that replaces the trusted one because the user accepted it. Its event has
// the reason, which names both.
func (l *Ledger) ReplaceRoot(r Repository, reason string) error { return l.setRepository(r, reason) }

func (l *Ledger) setRepository(r Repository, replaced string) error {
	if err := r.check(); err != nil {
		return err
	}
	return l.do(func(b *batch) error {
		before, known, err := b.repository(r.GUN)
		if err != nil {
			return err
		}
		if err := b.putRepository(r); err != nil {
			return err
		}
		if replaced != "" {
			return b.log(Event{Kind: EventRootReplaced, GUN: r.GUN, Reason: bounded(replaced, MaxReason)})
		}
		if r.Pin != PinTOFU || known && before.Pin == PinTOFU && slices.Equal(before.RootKeyIDs, r.RootKeyIDs) {
			return nil
		}
		reason := bounded("root keys "+strings.Join(r.RootKeyIDs, ", "), MaxReason)
		return b.log(Event{Kind: EventTOFU, GUN: r.GUN, Reason: reason})
	})
}
