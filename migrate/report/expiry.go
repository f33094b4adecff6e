package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Expiring is a date at which trust data or a certificate expires.
type Expiring struct {
	What       string    `json:"what"` // a role, root-cert, or the certificate of a signature
	Repository string    `json:"repository,omitempty"`
	At         time.Time `json:"at"`
	Key        string    `json:"-"` // the signing key, if the result names it
}

// certificate is Expiring's name for the certificate of a Notation signature.
const certificate = "signing certificate"

// maxExpiries limits how many dates are kept: the soonest.
const maxExpiries = 1000

// expiries returns the soonest dates of a result, each once.
func (s *Saved) expiries() ([]Expiring, error) {
	var d dates
	err := s.Each(func(one Section) error { d.section(&one); return nil }, func(r Row) error { d.row(&r); return nil })
	return soonest(d.all), err
}

// dates collects what expires.
type dates struct {
	all   []Expiring
	certs map[time.Time]bool // dates of certificates that were seen recently
}

// signedByOwner reports whether people sign a role: the notary itself renews timestamps and snapshots.
func signedByOwner(role string) bool { return role != "timestamp" && role != "snapshot" }

// section records the dates of a repository's trust data.
func (d *dates) section(s *Section) {
	for _, e := range s.Expiries {
		if signedByOwner(e.Role) {
			d.add(Expiring{What: e.Role, Repository: s.Repository, At: e.At})
		}
	}
}

func (d *dates) row(r *Row) {
	if r.Expires.IsZero() || d.certs[r.Expires] {
		return
	}
	if d.certs == nil || len(d.certs) >= maxExpiries {
		d.certs = map[time.Time]bool{}
	}
	d.certs[r.Expires] = true
	d.add(Expiring{What: certificate, Repository: r.Repository, At: r.Expires, Key: r.Key})
}

func (d *dates) add(e Expiring) {
	if d.all = append(d.all, e); len(d.all) > 4*maxExpiries {
		d.all = soonest(d.all)
	}
}

// soonest sorts the dates and keeps the soonest; each date of certificates once.
func soonest(all []Expiring) []Expiring {
	slices.SortStableFunc(all, func(a, b Expiring) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.What, b.What))
	})
	var last time.Time
	all = slices.DeleteFunc(all, func(e Expiring) bool {
		if e.What != certificate {
			return false
		}
		again := e.At.Equal(last)
		last = e.At
		return again
	})
	return all[:min(len(all), maxExpiries)]
}

// expiresNext returns a line with the first of a repository's dates: of its trust data, and of the certificates of
// its signatures.
func expiresNext(r verify.Repository, now time.Time) string {
	first := map[string]Expiring{}
	note := func(kind, what string, at time.Time) {
		if known, ok := first[kind]; !at.IsZero() && (!ok || at.Before(known.At)) {
			first[kind] = Expiring{What: what, At: at}
		}
	}
	for _, e := range r.Expiries {
		if signedByOwner(e.Role) {
			note("trust data", e.Role, e.At)
		}
	}
	for _, t := range r.Tags {
		note(certificate, certificate, t.CertificateExpires)
	}
	var all []string
	for _, kind := range []string{"trust data", certificate} {
		if e, ok := first[kind]; ok {
			all = append(all, fmt.Sprintf("%s %s (%s)", safetext.Safe(e.What, 128), e.At.UTC().Format(time.DateOnly), timeLeft(e.At, now)))
		}
	}
	return strings.Join(all, ", ")
}

// timeLeft returns in how many days a date is, or how many days ago it was.
func timeLeft(at, now time.Time) string {
	switch left := daysLeft(at, now); {
	case left >= 0:
		return safetext.Count(left, "day") + " left"
	case now.Sub(at) < 24*time.Hour:
		return "ended less than a day ago"
	}
	return "ended " + safetext.Count(int(now.Sub(at)/(24*time.Hour)), "day") + " ago"
}

// daysLeft returns whole days, negative if the date has passed.
func daysLeft(at, now time.Time) int {
	d := at.Sub(now)
	if d < 0 {
		return -int((-d + 24*time.Hour - 1) / (24 * time.Hour))
	}
	return int(d / (24 * time.Hour))
}
