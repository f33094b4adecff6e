package state

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Stage says how far an item has come.
type Stage string

// The stages. An item that the ledger does not know has the stage "".
const (
	Planned   Stage = "planned"   // to be signed
	Signed    Stage = "signed"    // the envelope is in the outbox, perhaps in the registry
	Pushed    Stage = "pushed"    // the registry accepted it; not yet seen in its list
	Confirmed Stage = "confirmed" // the registry shows it
	Skipped   Stage = "skipped"   // not to be signed, for a reason
	Failed    Stage = "failed"    // tried without success; planned again by the next run
)

// Stages lists all stages in the order in which reports show them.
func Stages() []Stage {
	return []Stage{Planned, Signed, Pushed, Confirmed, Skipped, Failed}
}

// A Key names an item: one digest in one repository, signed with one key.
type Key struct {
	Repository string // as the registry names it, with its host
	Digest     string // "sha256:" and 64 lower-case hex digits, from DCT
	KeyName    string // the key's name in the configuration
}

// String is for messages and logs. It quotes a name if necessary.
func (k Key) String() string {
	return fmt.Sprintf("%s@%s (key %s)", plain(k.Repository), plain(k.Digest), plain(k.KeyName))
}

// A Tag is evidence that DCT gave the item this name.
type Tag struct {
	Name           string `json:"name"`
	Role           string `json:"role"`
	TargetsVersion int    `json:"targets_version"`
}

// An Item is what the ledger knows about a Key.
type Item struct {
	Key
	Stage     Stage
	GUN       string
	MediaType string
	Size      int64 // bytes, from DCT
	Tags      []Tag
	Indexes   []string          // for an item that DCT does not name: the digests of the indexes that list it, which DCT names
	Bound     map[string]string // the role that the signature binds, by tag; nil: unknown
	Notes     []string          // other facts the evidence depends on, such as metadata allowed to be expired
	Class     string            // why it was skipped, or the kind of failure
	Reason    string            // at most MaxReason bytes
	Signature string            // digest of the signature's manifest; for a planned item, of the last one
	SignedBy  SignedBy          // of that signature; zero: not known
	Attempts  int               // failures so far
	Updated   time.Time
}

// SignedBy says who made a signature and until when it verifies, according to its envelope and certificates. It
// records progress: it saves a request to the registry and proves nothing.
type SignedBy struct {
	Identity    string    `json:"identity"`              // the identity it counts for, in the form of package notation/signature
	Leaf        string    `json:"leaf"`                  // SHA-256 of the signing certificate, in hex
	Expires     time.Time `json:"expires,omitzero"`      // expiry of the envelope; zero: none
	ChainEnds   time.Time `json:"chain_ends"`            // when the first of the chain's certificates ends
	Timestamped bool      `json:"timestamped,omitempty"` // countersigned by a time-stamping authority
	Format      string    `json:"format"`                // media type of the envelope
	Expiry      int64     `json:"expiry,omitempty"`      // seconds from signing to Expires; 0: none
	Authority   string    `json:"authority,omitempty"`   // URL of the time-stamping authority, if a run of this ledger used it
}

// Known reports whether it is recorded who signed.
func (s SignedBy) Known() bool { return s.Identity != "" }

// Verifies reports whether, by what is recorded, the signature verifies at that time: the envelope has not expired,
// and without a timestamp every certificate of the chain is still valid. It does not say whether the identity is
// accepted.
func (s SignedBy) Verifies(at time.Time) bool {
	switch {
	case !s.Known():
		return false
	case !s.Expires.IsZero() && !at.Before(s.Expires): // as in notation-go, the moment itself is too late
		return false
	}
	return s.Timestamped || !at.After(s.ChainEnds) // RFC 5280: notAfter itself is valid
}

// VerifiesUntil returns until when the signature verifies: its own expiry, or the first end of its chain unless it is
// timestamped. Zero: it has no end, or nothing is recorded.
func (s SignedBy) VerifiesUntil() time.Time {
	if s.Timestamped || !s.Expires.IsZero() && s.Expires.Before(s.ChainEnds) {
		return s.Expires
	}
	return s.ChainEnds
}

// Equal reports whether both are the same.
func (s SignedBy) Equal(o SignedBy) bool {
	same := s.Expires.Equal(o.Expires) && s.ChainEnds.Equal(o.ChainEnds)
	s.Expires, s.ChainEnds = o.Expires, o.ChainEnds
	return same && s == o
}

const (
	// MaxReason bounds the reason kept with an item, in bytes; the rest is cut.
	MaxReason = 1024

	maxName = 4096 // bytes in each part of a Key; bbolt would take 32 KiB in all
)

// check refuses keys that could be confused in the file: their parts are separated by NUL, and JSON would silently
// replace invalid UTF-8.
func (k Key) check() error {
	for _, part := range []string{k.Repository, k.KeyName} {
		switch {
		case part == "" || len(part) > maxName:
			return fmt.Errorf("item %s: a name of %d bytes", k, len(part))
		case !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl):
			return fmt.Errorf("item %s: a name with control characters or invalid UTF-8", k)
		}
	}
	hex, ok := strings.CutPrefix(k.Digest, "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return fmt.Errorf("item %s: not a sha256 digest", k)
	}
	return nil
}

// bytes returns the key as in the file. Parts sort by repository first.
func (k Key) bytes() []byte {
	return []byte(k.Repository + "\x00" + k.Digest + "\x00" + k.KeyName)
}

// sameEvidence reports whether planning other over i changes nothing.
func (i Item) sameEvidence(other Item) bool {
	return i.GUN == other.GUN && i.MediaType == other.MediaType && i.Size == other.Size &&
		slices.Equal(i.Tags, other.Tags) && slices.Equal(i.Indexes, other.Indexes) && slices.Equal(i.Notes, other.Notes)
}

// bounded cuts text to limit bytes without splitting a character.
func bounded(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// plain shows text as it is if it is harmless, and quoted otherwise.
func plain(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
