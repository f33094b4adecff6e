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
	Pushed    Stage = "pushed"    // the registry took it; whether it lists it has not been seen
	Confirmed Stage = "confirmed" // the registry shows it
	Skipped   Stage = "skipped"   // not to be signed, for a reason
	Failed    Stage = "failed"    // tried, not done; planned again by the next run
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

// String is for messages and logs, quoted where a name needs it.
func (k Key) String() string {
	return fmt.Sprintf("%s@%s (key %s)", plain(k.Repository), plain(k.Digest), plain(k.KeyName))
}

// A Tag is evidence: DCT gave the item this name.
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
	Indexes   []string          // of an item that DCT does not name: the digests that it names, of the indexes that list it
	Bound     map[string]string // the role by tag that the signature binds, as far as is known; nil: not known
	Notes     []string          // what the evidence rests on besides, such as metadata that was allowed to be expired
	Class     string            // of the reason: why skipped, what kind of failure
	Reason    string            // at most MaxReason bytes
	Signature string            // digest of the signature's manifest; of a planned item, of the last one
	SignedBy  SignedBy          // of that signature; zero: not known
	Attempts  int               // failures so far
	Updated   time.Time
}

// SignedBy says by what a signature was made and until when it verifies, as its envelope and its
// certificates say. It is progress: it spares a look at the registry and proves nothing.
type SignedBy struct {
	Identity    string    `json:"identity"`              // whose it counts as, in the form of package notation/signature
	Leaf        string    `json:"leaf"`                  // SHA-256 of the signing certificate, in hex
	Expires     time.Time `json:"expires,omitzero"`      // of the envelope; zero: it has no expiry of its own
	ChainEnds   time.Time `json:"chain_ends"`            // the first end of the chain's certificates
	Timestamped bool      `json:"timestamped,omitempty"` // countersigned by a time-stamping authority
	Format      string    `json:"format"`                // media type of the envelope
	Expiry      int64     `json:"expiry,omitempty"`      // seconds from signing to Expires; 0: none
	Authority   string    `json:"authority,omitempty"`   // URL of the time-stamping authority, where this ledger's run asked it
}

// Known reports whether anything is recorded of who signed.
func (s SignedBy) Known() bool { return s.Identity != "" }

// Verifies reports whether nothing that is recorded says that the signature does not verify at
// that time: the envelope's expiry has not come, and without a timestamp every certificate of the
// chain is valid still. That the identity is accepted is another question.
func (s SignedBy) Verifies(at time.Time) bool {
	switch {
	case !s.Known():
		return false
	case !s.Expires.IsZero() && !at.Before(s.Expires): // as in notation-go: not at that moment any more
		return false
	}
	return s.Timestamped || !at.After(s.ChainEnds) // RFC 5280: notAfter is included
}

// VerifiesUntil returns until when the signature verifies: its own expiry, or the first end of its
// chain unless it is timestamped. Zero: no date ends it, or nothing is recorded.
func (s SignedBy) VerifiesUntil() time.Time {
	if s.Timestamped || !s.Expires.IsZero() && s.Expires.Before(s.ChainEnds) {
		return s.Expires
	}
	return s.ChainEnds
}

// Equal reports whether both say the same.
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

// check refuses keys that could be mistaken for others in the file: the parts
// are separated by NUL, and JSON would silently replace invalid UTF-8.
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

// bytes is the key in the file. Parts sort by repository first.
func (k Key) bytes() []byte {
	return []byte(k.Repository + "\x00" + k.Digest + "\x00" + k.KeyName)
}

// sameEvidence reports whether planning other over i would change nothing.
func (i Item) sameEvidence(other Item) bool {
	return i.GUN == other.GUN && i.MediaType == other.MediaType && i.Size == other.Size &&
		slices.Equal(i.Tags, other.Tags) && slices.Equal(i.Indexes, other.Indexes) && slices.Equal(i.Notes, other.Notes)
}

// bounded cuts text to limit bytes without cutting a character in two.
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

// plain shows text as it is when it is harmless, and quoted otherwise.
func plain(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
