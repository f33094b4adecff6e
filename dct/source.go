package dct

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A Source returns raw metadata files of repositories, unverified. It must be safe for concurrent use by different
// repositories.
type Source interface {
	// File returns the file with a name of TUF's consistent snapshots: root, 3.root, timestamp, snapshot.<sha256>,
	// targets/releases.<sha256>. More than limit bytes is an error. The error is an [*Error], or holds a
	// [*lookup.AbsentError] if the source itself says that it does not have the file. The Reader decides what that
	// means, depending on the file.
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

// DefaultMaxBytes bounds the total size of one repository's files, in bytes: they are in memory during a read, and a
// repository may have a thousand roles. 128 MiB hold 350,000 targets in targets/releases and in three signers' roles.
const DefaultMaxBytes = 128 << 20

// absentFile returns the error by which a source itself says that it does not have a file.
func absentFile(by lookup.Authority, name string) error {
	return &lookup.AbsentError{By: by, What: "file " + safetext.Safe(name, 128) + " of it"}
}

// sumOf returns the SHA-256 of a file in hex, as in file names and [Floor].
func sumOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
