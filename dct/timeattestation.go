package dct

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
)

// A TimeAttestation says when a trusted signer had seen exactly the files that the
// source gives of a repository, verified. What was valid then is not refused for its age
// now. It is asked once for each read, and only where something is past its date. An error
// is as good as none.
type TimeAttestation func(ctx context.Context, gun GUN) (ValidAt, error)

// ValidAt is what a [TimeAttestation] says. The zero ValidAt saw nothing.
type ValidAt struct {
	At  time.Time // when the files were seen; zero: never
	By  string    // who saw them: the SHA-256 of a certificate in hex
	Why string    // why there is none, for people; may be empty
}

// Judged tells what is past its date and was not when a [TimeAttestation] saw it. The zero Judged
// says that all ages were judged when the trust data was read.
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

// Judged tells what is past its date, and was seen before.
func (r *Repository) Judged() Judged { return r.proof.judged.clone() }

// Judged tells which of what the target rests on is past its date, and was seen before.
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

// attestationOf makes of the reader's time attestation a function that asks it once.
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

// wasSeen reports whether what expires at that time, and is past it, was seen while it was
// valid; then it is remembered. A time in the future is later than the date as well.
func (l *loader) wasSeen(role string, expires time.Time) bool {
	s := l.validAt()
	if s.At.IsZero() || !s.At.Before(expires) {
		return false
	}
	l.judged = append(l.judged, role)
	return true
}

// newestMayBeAged reports whether certificates of the newest root may be past their date,
// because they were seen when all were valid, or because that is allowed. It is
// remembered, and everything else about the root is still to be checked.
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

// firstCertExpiry is when the first of the root's certificates expires.
func firstCertExpiry(root *data.SignedRoot) (first time.Time, ok bool) {
	for _, cert := range rootCerts(root) {
		if !ok || cert.NotAfter.Before(first) {
			first, ok = cert.NotAfter, true
		}
	}
	return first, ok
}

// judgement is what the targets will say of the roles that were seen before.
func (l *loader) judgement() Judged {
	if len(l.judged) == 0 {
		return Judged{}
	}
	slices.Sort(l.judged)
	s := l.validAt()
	return Judged{Roles: l.judged, At: s.At, By: s.By}
}

// unseen adds to a hint on what is past its date why no time attestation helps.
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
