package dct

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// A Source hands out raw metadata files of repositories, unverified. Its methods are
// called from several goroutines at once, for different repositories.
type Source interface {
	// File returns the file of that name as TUF's consistent snapshots call it: root,
	// 3.root, timestamp, snapshot.<sha256>, targets/releases.<sha256>. More than limit
	// bytes is an error. The error is an [*Error], or wraps ErrNotFound where the source
	// is sure not to have the file.
	File(ctx context.Context, gun GUN, name string, limit int64) ([]byte, error)
}

// Size limits of the files, in bytes. Notary's own limit for all but the timestamp is
// 100 MiB; 32 MiB hold some 350,000 targets.
const (
	maxRoot      = 4 << 20
	maxTimestamp = 1 << 20
	maxSnapshot  = 16 << 20
	maxTargets   = 32 << 20
)

// sumOf is the SHA-256 of a file in hex, as names of files and [Floor] have it.
func sumOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
