package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var (
	// ErrLocked is returned by Open when another process holds the ledger. The
	// error is a *LockedError.
	ErrLocked = errors.New("ledger in use")

	// ErrStale is returned by a move when the item is not in a stage that
	// allows it: another worker or an earlier run was there first. Nothing was
	// changed. The error is a *StaleError.
	ErrStale = errors.New("item has moved")

	// ErrDamaged is returned when the file is not a ledger, or its content does
	// not match its checksums.
	ErrDamaged = errors.New("ledger damaged")

	// ErrNewerSchema is returned by Open when a newer version of the tool has
	// written the file. It has not been changed.
	ErrNewerSchema = errors.New("ledger written by a newer version")

	// ErrFingerprint is returned by Bind when the run is configured differently from the run that made the ledger.
	// The error is a *FingerprintError.
	ErrFingerprint = errors.New("ledger belongs to another configuration")

	// ErrNetworkFS is returned by Open when the ledger would be on a network file system, where locks and flushes are
	// unreliable.
	ErrNetworkFS = errors.New("ledger on a network file system")

	// ErrReplaced is returned when the file was moved, removed or replaced while it was open. Earlier acknowledged
	// changes are in the original file.
	ErrReplaced = errors.New("ledger file moved or replaced while in use")

	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("ledger closed")
)

const rebuildHint = "hint: move the file away and run again; the ledger is rebuilt from trust data and what the registry shows"

// damage returns an error for content that the ledger cannot have written.
func damage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// A Holder is the process that has the ledger open.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Start   time.Time `json:"start"`
	Command string    `json:"command"`
}

// A LockedError says who holds the ledger. Holder is zero when unknown.
type LockedError struct {
	Path   string
	Holder Holder
}

// Error names the holder and says what to do.
func (e *LockedError) Error() string {
	who := "another process"
	if e.Holder.PID != 0 {
		who = fmt.Sprintf("process %d on %s (%s, since %s)", e.Holder.PID, plain(e.Holder.Host),
			plain(e.Holder.Command), e.Holder.Start.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("opening ledger %s: in use by %s\nhint: wait until it ends; after a crash the ledger is free at once", e.Path, who)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// A StaleError says in which stage the item is, instead of one that the move starts from. Found is "" if the ledger
// does not know the item.
type StaleError struct {
	Move     string
	Key      Key
	Expected []Stage
	Found    Stage
}

// Error says what was expected and what was found.
func (e *StaleError) Error() string {
	var expected []string
	for _, s := range e.Expected {
		expected = append(expected, string(s))
	}
	found := string(e.Found)
	if found == "" {
		found = "no record"
	}
	return fmt.Sprintf("recording %s for %s: expected %s, found %s", e.Move, e.Key, strings.Join(expected, " or "), found)
}

// Is makes errors.Is(err, ErrStale) true.
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// A FingerprintError names the fields of the configuration that differ.
type FingerprintError struct {
	Fields []string // sorted
}

// Error names the fields and says what to do.
func (e *FingerprintError) Error() string {
	hint := "use another --state for another configuration, or --accept-changes if the change is intended"
	if slices.ContainsFunc(e.Fields, func(f string) bool { return strings.HasPrefix(f, fieldPin) || strings.HasPrefix(f, fieldRootKeys) }) {
		hint = "if the pin is mistyped, correct it; if a repository was initialised anew, accept its new root with --accept-root; otherwise " + hint
	}
	return fmt.Sprintf("%v: %s\nhint: %s", ErrFingerprint, strings.Join(e.Fields, ", "), hint)
}

// Is makes errors.Is(err, ErrFingerprint) true.
func (e *FingerprintError) Is(target error) bool { return target == ErrFingerprint }
