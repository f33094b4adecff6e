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
	// AcceptRoot maps repositories that were initialised anew to a key id of their new root. It
	// is accepted once in place of the root that is known, though that has not signed it: if it
	// is pinned to that key under the repository's own name, and no root that was trusted
	// before has had one of its keys. Versions are counted anew then.
	AcceptRoot map[GUN]string
	// AllowExpired names what may be past its date: roles, RootCert, Delegations. Every
	// target that rests on it says so. Nothing else is overridden by it.
	AllowExpired []string
	// AllowDegraded accepts a repository that declares targets/releases, does not publish
	// it, and has tags in targets. It may never have been published, or the server holds
	// it back so that older digests count: nothing in the data tells which.
	AllowDegraded bool
	// MaxBytes bounds the files of one repository together, in bytes; 0: [DefaultMaxBytes].
	MaxBytes int64
	// MaxTime bounds how long one repository is read; 0: as long as it takes.
	MaxTime time.Duration
	// Cache keeps verified files from one read to the next; nil: nothing is kept.
	Cache Cache
	// At is the time at which ages are judged; zero: now.
	At time.Time
	// Listing says what lists a repository; nil: nothing lists any. It is called from several
	// goroutines at once.
	Listing func(GUN) Listing
	// TimeAttestation may say that trust data past its date was seen before; nil: nobody does.
	TimeAttestation TimeAttestation
}

// Listing is the entry of one repository in a list of repositories that have trust data. If the
// source then says that it has no root, the error is [ErrIncomplete], never [ErrUnsigned].
type Listing struct {
	By      string // whose list it is, as in "the changefeed of https://notary.example.com"; empty: nobody lists it
	Deleted bool   // it says that the trust data was deleted: believed if the source has no root, either
}

// A Cache keeps files of repositories that were verified, so that the next read asks the
// source for those that have changed. What it gives is verified anew: damage or malice in it
// cost requests and nothing else. It is called from several goroutines at once, for
// different repositories.
type Cache interface {
	// Load gives what was kept of a repository last, the root first; none if there is none.
	Load(gun GUN) [][]byte
	// Keep replaces what is kept of a repository.
	Keep(gun GUN, files [][]byte)
}

// Read returns the verified trust data of a repository as the source has it now, or an
// [*Error]. What is known from the read before makes it refuse older versions, other
// roots and roles that have vanished; the zero Known knows nothing.
//
// With a Cache an unchanged repository costs one request: the timestamp always comes from
// the source, and a root that was kept counts as long as the newest snapshot lists its
// SHA-256. Without one, the root is asked for first, as TUF has it.
//
// A repository that is being published while it is read can look torn; so one mismatch
// between its files is read again before it counts.
func (r *Reader) Read(ctx context.Context, gun GUN, known Known) (*Repository, error) {
	limited, cancel := within(ctx, r.MaxTime)
	defer cancel()
	repository, err := r.readAgain(limited, gun, known)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, &Error{GUN: gun.String(), Kind: ErrUnavailable, Err: tooSlow(r.MaxTime), Hint: hintSlow}
	}
	return repository, err
}

// within bounds a context by a time, if there is one.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

func tooSlow(limit time.Duration) error { return fmt.Errorf("it takes longer than %s", limit) }

const hintSlow = "if the server is in order and only slow, give it longer with --notary-timeout"

// readAgain is Read without its limit of time.
func (r *Reader) readAgain(ctx context.Context, gun GUN, known Known) (*Repository, error) {
	var kept [][]byte
	if r.Cache != nil && r.AcceptRoot[gun] == "" { // else all is to come from the source
		kept = r.Cache.Load(gun)
	}
	if len(kept) > 0 {
		// Whatever goes wrong on this way, the other one has the last word: there may be
		// a newer root.
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

// tornError marks a mismatch between two files that a publication in between explains.
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
	// The notary library panics on several malformed files. Whatever made it do so is
	// not to be trusted.
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

// keep caches the verified files except the timestamp, unless all of them are cached already.
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
