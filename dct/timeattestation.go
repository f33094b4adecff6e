package dct

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
)

// A TimeAttestation says when a trusted signer saw and verified exactly the files that the source has for a
// repository. What was valid then is not refused as expired now. It is called at most once per read, and only if
// something is expired. An error counts as no attestation.
type TimeAttestation func(ctx context.Context, gun GUN) (ValidAt, error)

// ValidAt is the result of a [TimeAttestation]. The zero ValidAt saw nothing.
type ValidAt struct {
	At  time.Time // when the files were seen; zero: never
	By  string    // who saw them: the SHA-256 of a certificate in hex
	Why string    // why there is no attestation, for people; may be empty
}

// Judged says what is expired now but was not when a [TimeAttestation] saw it. The zero Judged says that expiry was
// judged at the time of reading.
type Judged struct {
	Roles []string  `json:"roles"` // and RootCert; sorted
	At    time.Time `json:"at"`
	By    string    `json:"by"` // the SHA-256 of the certificate that attests it
}

// IsZero reports whether nothing was judged at an earlier time.
func (j Judged) IsZero() bool { return len(j.Roles) == 0 }

// String is for people.
func (j Judged) String() string {
	return strings.Join(j.Roles, ", ") + " at " + j.At.UTC().Format(time.RFC3339) + " by " + j.By
}

// Judged returns what is expired but was seen while valid.
func (r *Repository) Judged() Judged { return r.proof.judged.clone() }

// Judged returns what of the target's roles is expired but was seen while valid.
func (t Target) Judged() Judged {
	if t.proof == nil {
		return Judged{}
	}
	return t.proof.judged.clone()
}

func (j Judged) clone() Judged {
	j.Roles = slices.Clone(j.Roles)
	return j
}

// attestationOf returns a function that calls the reader's time attestation only once.
func (r *Reader) attestationOf(ctx context.Context, gun GUN) func() ValidAt {
	var said *ValidAt
	return func() ValidAt {
		if said == nil {
			said = &ValidAt{}
			if r.TimeAttestation != nil {
				s, err := r.TimeAttestation(ctx, gun)
				if err != nil {
					s = ValidAt{Why: err.Error()}
				}
				said = &s
			}
		}
		return *said
	}
}

// wasSeen reports whether something that expired at the given time was seen while it was valid, and if so records
// that. An attestation from the future does not count.
func (l *loader) wasSeen(role string, expires time.Time) bool {
	s := l.validAt()
	if s.At.IsZero() || !s.At.Before(expires) {
		return false
	}
	l.judged = append(l.judged, role)
	return true
}

// newestMayBeAged reports whether certificates of the newest root may be expired, because they were seen when all
// were valid or because that is allowed. It records that. Everything else about the root is still checked.
func (l *loader) newestMayBeAged(raw []byte) bool {
	root, err := decodeRoot(raw)
	if err != nil {
		return false
	}
	if first, ok := firstCertExpiry(root); ok && !l.at.Before(first) && l.wasSeen(RootCert, first) {
		return true
	}
	if !l.mayExpire(RootCert) {
		last, ok := rootCertExpiry(root)
		if kind, _ := diagnoseRoot(root, l.gun); !errors.Is(kind, ErrExpired) || !ok {
			return false
		}
		l.late(RootCert, last)
		return true
	}
	l.expired = append(l.expired, RootCert)
	return true
}

// firstCertExpiry returns when the first of the root's certificates expires.
func firstCertExpiry(root *data.SignedRoot) (first time.Time, ok bool) {
	for _, cert := range rootCerts(root) {
		if !ok || cert.NotAfter.Before(first) {
			first, ok = cert.NotAfter, true
		}
	}
	return first, ok
}

// judgement returns what the targets say about the roles that were seen before.
func (l *loader) judgement() Judged {
	if len(l.judged) == 0 {
		return Judged{}
	}
	slices.Sort(l.judged)
	s := l.validAt()
	return Judged{Roles: l.judged, At: s.At, By: s.By}
}

// unseen adds to a hint about expired data why no time attestation helps.
func (l *loader) unseen(hint string) string {
	s := l.validAt()
	switch {
	case s.Why != "":
		return hint + "; it is checked against today's date, since " + s.Why
	case !s.At.IsZero():
		return hint + "; it had already expired when it was signed, at " + s.At.UTC().Format(time.RFC3339)
	}
	return hint
}
