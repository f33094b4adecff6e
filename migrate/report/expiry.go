package report

import (
	"cmp"
	"slices"
	"time"
)

// Expiring is a date that trust data or a certificate ends at.
type Expiring struct {
	What       string    `json:"what"` // a role, root-cert, or the certificate of a signature
	Repository string    `json:"repository,omitempty"`
	At         time.Time `json:"at"`
}

// certificate is what Expiring calls the certificate of a Notation signature.
const certificate = "signing certificate"

// maxExpiries bounds how many dates are kept: the soonest.
const maxExpiries = 1000

// expiries are the soonest dates of a result, each once. The notary signs timestamps and
// snapshots anew by itself, so theirs are left out.
func (s *Saved) expiries() ([]Expiring, error) {
	var all []Expiring
	certs := map[time.Time]bool{}
	err := s.Each(func(one Section) error {
		for _, e := range one.Expiries {
			if e.Role != "timestamp" && e.Role != "snapshot" {
				all = append(all, Expiring{e.Role, one.Repository, e.At})
			}
		}
		if len(all) > 4*maxExpiries {
			all = soonest(all)
		}
		return nil
	}, func(r Row) error {
		if !r.Expires.IsZero() && !certs[r.Expires] && len(certs) < maxExpiries {
			certs[r.Expires] = true
			all = append(all, Expiring{certificate, r.Repository, r.Expires})
		}
		return nil
	})
	return soonest(all), err
}

func soonest(all []Expiring) []Expiring {
	slices.SortStableFunc(all, func(a, b Expiring) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.What, b.What))
	})
	return all[:min(len(all), maxExpiries)]
}

// daysLeft are whole days, negative where the date has passed.
func daysLeft(at, now time.Time) int {
	d := at.Sub(now)
	if d < 0 {
		return -int((-d + 24*time.Hour - 1) / (24 * time.Hour))
	}
	return int(d / (24 * time.Hour))
}
