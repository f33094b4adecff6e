package dct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
)

// Reader reads and verifies trust data of repositories. It is safe for concurrent use if
// its Source is.
type Reader struct {
	Source Source
	Pins   Pins
	// AcceptRoot maps repositories that were initialised again to a key id of their new root. That root is accepted
	// once in place of the known one, although that one has not signed it. It must be pinned to that key under the
	// repository's own name, and share no key with a root trusted before. Versions are then counted from the start.
	AcceptRoot map[GUN]string
	// AllowExpired names what may be expired: roles, RootCert, Delegations. Every target that rests on it says so. It
	// overrides nothing else.
	AllowExpired []string
	// AllowDegraded accepts a repository that declares targets/releases but does not publish it, and has tags in
	// targets. It may never have been published, or the server may withhold it so that older digests count: the data
	// does not show which.
	AllowDegraded bool
	// MaxBytes bounds the total size of one repository's files, in bytes; 0: [DefaultMaxBytes].
	MaxBytes int64
	// MaxTime bounds how long one repository is read; 0: no limit.
	MaxTime time.Duration
	// Cache keeps verified files between reads. May be nil.
	Cache Cache
	// At is the time at which expiry is judged; zero: now.
	At time.Time
	// Listing says what lists a repository; nil if nothing lists any. It must be safe for concurrent use.
	Listing func(GUN) Listing
	// TimeAttestation may say that expired trust data was seen earlier. May be nil.
	TimeAttestation TimeAttestation
}

// Listing is a repository's entry in a list of repositories that have trust data. If the source then says that it has
// no root, the error is [ErrIncomplete], never [ErrUnsigned].
type Listing struct {
	By      string // whose list it is, as in "the changefeed of https://notary.example.com"; empty if nobody lists it
	Deleted bool   // it says that the trust data was deleted; believed if the source also has no root
}

// A Cache keeps verified files of repositories, so that the next read requests only those that have changed. Its
// content is verified again: damage or malice in it only costs requests. It must be safe for concurrent use by
// different repositories.
type Cache interface {
	// Load returns the files kept last for a repository, the root first, or none.
	Load(gun GUN) [][]byte
	// Keep replaces the files kept for a repository.
	Keep(gun GUN, files [][]byte)
}

// Read returns the verified trust data of a repository as the source has it now, or an [*Error]. With what is known
// from the previous read it refuses older versions, other roots and vanished roles; the zero Known knows nothing.
//
// With a Cache an unchanged repository costs one request: the timestamp always comes from the source, and a cached
// root counts as long as the newest snapshot lists its SHA-256. Without a Cache, the root is requested first, as in
// TUF.
//
// A repository that is being published during the read can look inconsistent, so after a mismatch between its files
// it is read once more before the mismatch counts.
func (r *Reader) Read(ctx context.Context, gun GUN, known Known) (*Repository, error) {
	limited, cancel := within(ctx, r.MaxTime)
	defer cancel()
	repository, err := r.readAgain(limited, gun, known)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, &Error{GUN: gun.String(), Kind: ErrUnavailable, Err: tooSlow(r.MaxTime), Hint: hintSlow}
	}
	return repository, err
}

// within limits a context to a duration, if it is not zero.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

func tooSlow(limit time.Duration) error { return fmt.Errorf("it takes longer than %s", limit) }

const hintSlow = "if the server is in order and only slow, give it longer with --notary-timeout"

// readAgain is Read without its time limit.
func (r *Reader) readAgain(ctx context.Context, gun GUN, known Known) (*Repository, error) {
	var kept [][]byte
	if r.Cache != nil && r.AcceptRoot[gun] == "" { // otherwise everything must come from the source
		kept = r.Cache.Load(gun)
	}
	if len(kept) > 0 {
		// If this fails in any way, read without the cache decides: there may be a newer root.
		repository, err := r.read(ctx, gun, known, kept, kept[0])
		if err == nil || ctx.Err() != nil {
			return repository, err
		}
	}
	repository, err := r.read(ctx, gun, known, kept, nil)
	var torn *tornError
	if errors.As(err, &torn) {
		repository, err = r.read(ctx, gun, known, kept, nil)
	}
	return repository, err
}

// tornError marks a mismatch between two files that a publication during the read would explain.
type tornError struct{ err error }

func (e *tornError) Error() string { return e.err.Error() }
func (e *tornError) Unwrap() error { return e.err }

func (r *Reader) read(ctx context.Context, gun GUN, known Known, kept [][]byte, root []byte) (_ *Repository, err error) {
	l := &loader{
		source: r.Source, pins: r.Pins, gun: gun, known: known, seen: map[string]Floor{}, accepts: r.AcceptRoot[gun], trusted: map[string]bool{}, allow: r.AllowExpired, degraded: r.AllowDegraded, at: r.At,
		offered: root, kept: map[string][]byte{}, validAt: r.attestationOf(ctx, gun), left: cmp.Or(r.MaxBytes, DefaultMaxBytes), keeps: r.Cache != nil,
	}
	if r.Listing != nil {
		l.listing = r.Listing(gun)
	}
	for _, raw := range kept {
		l.kept[sumOf(raw)] = raw
	}
	for _, id := range known.RootKeys {
		l.trusted[id] = true
	}
	if l.at.IsZero() {
		l.at = time.Now()
	}
	// The notary library panics on several malformed files. Do not trust such a file.
	defer func() {
		if p := recover(); p != nil {
			err = l.refuse(l.role, fmt.Errorf("the notary library panicked: %v", p))
		}
	}()
	for _, step := range []func(context.Context) error{l.root, l.timestamp, l.snapshot, l.targets} {
		if err := step(ctx); err != nil {
			return nil, l.orTooOld(ctx, err)
		}
	}
	if err := l.tooOld(); err != nil {
		return nil, err
	}
	repo, _, err := l.builder.Finish()
	if err != nil {
		return nil, l.refuse("", err)
	}
	repository, err := l.repository(repo)
	if err == nil && r.Cache != nil {
		l.keep(r.Cache)
	}
	return repository, err
}

// keep caches the verified files, except the timestamp, unless all are cached already.
func (l *loader) keep(c Cache) {
	files := slices.DeleteFunc(slices.Clone(l.files), func(raw []byte) bool {
		return sumOf(raw) == l.seen[data.CanonicalTimestampRole.String()].SHA256
	})
	for _, raw := range files {
		if _, ok := l.kept[sumOf(raw)]; !ok || len(files) != len(l.kept) {
			c.Keep(l.gun, files)
			return
		}
	}
}
