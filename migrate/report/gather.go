package report

import (
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Sink receives a result piece by piece, so that memory does not grow with it.
type Sink interface {
	Section(Section) error
	Row(Row) error
	End(End) error
}

// Verified passes on what verify found for one repository.
func Verified(to Sink, r verify.Repository) error {
	s := Section{
		Repository: r.GUN, Place: r.Place, Class: string(r.Class), Reason: r.Reason, Unknown: r.Class == "" && r.Reason != "",
		Deleted: r.Deleted, PinnedBy: r.PinnedBy, Expiries: r.Expiries, Expired: r.Expired, Judged: r.Judged, LeftOut: r.LeftOut,
	}
	if err := to.Section(s); err != nil {
		return err
	}
	for _, t := range r.Tags {
		row := Row{
			Repository: r.GUN, Tags: []string{t.Tag}, Digest: t.DCT.String(), Registry: t.Registry.String(), Class: string(t.Class),
			Standing: standing(OfVerify, string(t.Class), ""), Reason: t.Reason, Role: t.Role, Bound: &t.Bound, Expires: t.CertificateExpires, Notes: t.Flags,
		}
		if len(t.Classes) > 1 {
			for _, c := range t.Classes {
				row.Classes = append(row.Classes, string(c))
			}
		}
		if err := to.Row(row); err != nil {
			return err
		}
	}
	return nil
}

// verified restores what Verified was given.
func verified(s Section, rows []Row) verify.Repository {
	r := verify.Repository{
		GUN: s.Repository, Place: s.Place, Class: verify.Class(s.Class), Reason: s.Reason,
		Deleted: s.Deleted, PinnedBy: s.PinnedBy, Expiries: s.Expiries, Expired: s.Expired, Judged: s.Judged, LeftOut: s.LeftOut,
	}
	if s.Class != "" {
		return r
	}
	r.Totals = map[verify.Class]int{}
	if s.Unknown {
		r.Totals[verify.Unknown]++
	}
	for _, row := range rows {
		t := verify.Row{
			Class: verify.Class(row.Class), Reason: row.Reason, DCT: digest.Digest(row.Digest), Role: row.Role,
			Registry: digest.Digest(row.Registry), Flags: row.Notes, Bound: row.Bound != nil && *row.Bound, CertificateExpires: row.Expires,
		}
		for _, c := range row.Classes {
			t.Classes = append(t.Classes, verify.Class(c))
		}
		if t.Classes == nil {
			t.Classes = []verify.Class{t.Class}
		}
		if len(row.Tags) > 0 {
			t.Tag = row.Tags[0]
		}
		r.Tags = append(r.Tags, t)
		r.Totals[t.Class]++
	}
	return r
}

// Read passes on what a run found in one repository's trust data, or that it could not be
// read.
func Read(to Sink, n *migrate.TrustNews) error {
	s := Section{Repository: n.GUN, Place: n.Place, PinnedBy: n.PinnedBy, Expiries: n.Expiries, Class: string(n.Class)}
	if n.Err != nil {
		s.Reason = n.Err.Error()
	}
	s.LeftOut = n.LeftOut
	for _, f := range n.Findings {
		if s.Findings == nil {
			s.Findings = map[string]int{}
		}
		s.Findings[f.Class]++
	}
	return to.Section(s)
}

// Settled passes on how an item of a run ended.
func Settled(to Sink, o *migrate.Outcome) error {
	return to.Row(Row{
		Repository: o.Repository, GUN: o.GUN, Tags: o.Tags, Digest: o.Digest, Class: string(o.Result), Cause: string(o.Class),
		Standing: standing(OfRun, string(o.Result), string(o.Class)), Reason: o.Reason, Key: o.Key, Index: o.Index, Platform: o.Platform, Notes: o.Notes,
		Certificate: o.Leaf, Expires: o.Expires, Wasted: o.Wasted,
	})
}

// again rebuilds the run's report from what Read and Settled passed on.
func (r *Run) again(s *Section, row *Row) {
	switch {
	case row != nil:
		r.Add(&migrate.Outcome{
			Repository: row.Repository, GUN: row.GUN, Digest: row.Digest, Key: row.Key, Tags: row.Tags, Index: row.Index, Platform: row.Platform,
			Result: migrate.Result(row.Class), Class: failure.Class(row.Cause), Reason: row.Reason, Notes: row.Notes,
			Leaf: row.Certificate, Expires: row.Expires, Wasted: row.Wasted,
		})
	case s.Class != "":
		r.AddUnread(&migrate.TrustNews{GUN: s.Repository, Class: failure.Class(s.Class), Err: errors.New(s.Reason)})
	default:
		r.Repositories++
		r.count(s.Repository, nil)
		r.LeftOut += s.LeftOut
		for class, n := range s.Findings {
			if r.Findings == nil {
				r.Findings = map[string]int{}
			}
			r.Findings[class] += n
		}
	}
}
