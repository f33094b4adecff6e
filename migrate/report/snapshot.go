package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// SnapshotKind distinguishes the JSON from our other JSON.
const SnapshotKind = "dct2notation.snapshot"

// A Snapshot is the result of snapshot, as JSON.
type Snapshot struct {
	Version   int                 `json:"version"`
	Kind      string              `json:"kind"`
	Directory string              `json:"directory"`
	Shard     string              `json:"shard,omitempty"` // the part I/N of the repositories that was saved; empty: all
	Added     int                 `json:"added"`
	Changed   int                 `json:"changed"`
	Unchanged int                 `json:"unchanged"`
	Kept      int                 `json:"kept"`
	Failed    int                 `json:"failed"`
	Expired   int                 `json:"expired,omitempty"` // saved, but expired: reading it needs --allow-expired
	Signed    *SnapshotSigned     `json:"signed,omitempty"`  // with --sign
	Attention []SnapshotAttention `json:"attention,omitempty"`
}

// SnapshotSigned counts the signatures of verified repositories.
type SnapshotSigned struct {
	Leaf   string `json:"leaf,omitempty"` // SHA-256 of the certificate; empty: nothing is signed, and nothing was to be
	Made   int    `json:"made"`           // by this call
	Before int    `json:"before"`         // by an earlier one
	Failed int    `json:"failed"`
}

// SnapshotAttention is what a person should know about a repository.
type SnapshotAttention struct {
	GUN     string           `json:"gun"`
	Outcome snapshot.Outcome `json:"outcome"` // or unsigned, or expired
	Reason  string           `json:"reason"`
}

// NewSnapshot returns what was saved in a directory. found reports whether a repository was found rather than named:
// then it is no failure if it has no trust data.
func NewSnapshot(directory, shard string, sum snapshot.Summary, found func(dct.GUN) bool) *Snapshot {
	s := &Snapshot{
		Version: 1, Kind: SnapshotKind, Directory: directory, Shard: shard,
		Added: sum.Added, Changed: sum.Changed, Unchanged: sum.Unchanged, Kept: sum.Kept, Failed: sum.Failed, Expired: sum.Expired,
	}
	s.attend(sum, found)
	return s
}

// unsigned is the outcome in the report of a repository that was saved and not signed.
const unsigned snapshot.Outcome = "unsigned"

// pastDate is the outcome in the report of a repository that was saved and has expired.
const pastDate snapshot.Outcome = "expired"

// attend lists what a person should know.
func (r *Snapshot) attend(sum snapshot.Summary, found func(dct.GUN) bool) {
	for _, one := range sum.Attention {
		gun := one.GUN.String()
		lacks := errors.Is(one.Err, dct.ErrUnsigned) && found(one.GUN)
		switch {
		case lacks && one.Outcome == snapshot.Failed:
			r.Failed-- // nothing to save
		case lacks && errors.Is(one.Err, dct.ErrDeleted):
			r.Kept-- // the earlier data stays, and there will be no newer
			r.Unchanged++
			r.Attention = append(r.Attention, SnapshotAttention{gun, snapshot.Unchanged, one.Err.Error()})
		case one.Err != nil:
			r.Attention = append(r.Attention, SnapshotAttention{gun, one.Outcome, one.Err.Error()})
		case one.Warning != "":
			r.Attention = append(r.Attention, SnapshotAttention{gun, one.Outcome, one.Warning})
		}
		if one.Expired != nil {
			r.Attention = append(r.Attention, SnapshotAttention{gun, pastDate, one.Expired.Error()})
		}
		if one.Unsigned != nil {
			r.Attention = append(r.Attention, SnapshotAttention{gun, unsigned, one.Unsigned.Error()})
		}
	}
}

// SnapshotText writes for a person what was saved.
func SnapshotText(w io.Writer, r *Snapshot) error {
	var b strings.Builder
	for _, a := range r.Attention {
		fmt.Fprintf(&b, "%-10s %s\n    %s\n", a.Outcome, safetext.Safe(a.GUN, 256), strings.ReplaceAll(safetext.Lines(a.Reason, 2048), "\n", "\n    "))
	}
	fmt.Fprintf(&b, "added %d, changed %d, unchanged %d, kept from before %d, failed %d\n", r.Added, r.Changed, r.Unchanged, r.Kept, r.Failed)
	if r.Expired > 0 {
		fmt.Fprintf(&b, "of these expired %d: saved, not signed, and readable only with --allow-expired\n", r.Expired)
	}
	if r.Signed != nil {
		fmt.Fprintf(&b, "signed %d, signed before %d, not signed %d, with certificate %s\n", r.Signed.Made, r.Signed.Before, r.Signed.Failed, cmp.Or(r.Signed.Leaf, "none"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// SnapshotVerifyKind distinguishes the JSON from our other JSON.
const SnapshotVerifyKind = "dct2notation.snapshot-verify"

// VerifiedSnapshot is the result of snapshot verify, as JSON.
type VerifiedSnapshot struct {
	Version      int                  `json:"version"`
	Kind         string               `json:"kind"`
	Repositories []VerifiedRepository `json:"repositories"`
}

// VerifiedRepository is the result for one repository.
type VerifiedRepository struct {
	GUN       string             `json:"gun"`
	Manifest  string             `json:"manifest"`
	Targets   int                `json:"targets"`
	PinnedBy  string             `json:"pinned_by,omitempty"`
	Expired   []string           `json:"expired,omitempty"` // expired roles that were allowed by --allow-expired
	Judged    dct.Judged         `json:"judged,omitzero"`   // expired, and valid when it was signed
	Expiries  []dct.Expiry       `json:"expiries,omitempty"`
	Signature *SnapshotSignature `json:"signature,omitempty"` // if it has any
	Error     string             `json:"error,omitempty"`
}

// SnapshotSignature is what the trust policy says about a repository's signatures.
type SnapshotSignature struct {
	Count   int       `json:"count"`
	Trusted bool      `json:"trusted"`
	At      time.Time `json:"at,omitzero"` // when the trusted one was made
	Leaf    string    `json:"leaf,omitempty"`
	Reason  string    `json:"reason,omitempty"` // why none is trusted
}

// NewVerifiedSnapshot returns the result for each repository of a snapshot.
func NewVerifiedSnapshot(results []snapshot.Result) *VerifiedSnapshot {
	v := &VerifiedSnapshot{Version: 1, Kind: SnapshotVerifyKind, Repositories: []VerifiedRepository{}}
	for _, r := range results {
		v.Repositories = append(v.Repositories, verifiedRepository(r))
	}
	return v
}

// Failed returns how many repositories were not verified.
func (v *VerifiedSnapshot) Failed() (n int) {
	for _, p := range v.Repositories {
		if p.Error != "" {
			n++
		}
	}
	return n
}

// SnapshotVerifyText writes the result for a person.
func SnapshotVerifyText(w io.Writer, v *VerifiedSnapshot) error {
	var b strings.Builder
	for _, p := range v.Repositories {
		p.text(&b)
	}
	fmt.Fprintf(&b, "verified %d, not verified %d\n", len(v.Repositories)-v.Failed(), v.Failed())
	_, err := io.WriteString(w, b.String())
	return err
}

func verifiedRepository(r snapshot.Result) VerifiedRepository {
	part := VerifiedRepository{
		GUN: r.GUN.String(), Manifest: r.Manifest.String(), Targets: r.Targets, PinnedBy: r.PinnedBy,
		Expired: r.Expired, Judged: r.Judged, Expiries: r.Expiries,
	}
	if r.Signatures > 0 {
		part.Signature = &SnapshotSignature{r.Signatures, r.Signature.Trusted, r.Signature.At, r.Signature.Leaf, r.Signature.Reason}
	}
	if r.Err != nil {
		part.Error = r.Err.Error()
	}
	return part
}

func (p VerifiedRepository) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s", safetext.Safe(p.GUN, 256), safetext.Count(p.Targets, "target"))
	if len(p.Expired) > 0 {
		fmt.Fprintf(b, ", expired, allowed by --allow-expired: %s", safetext.Safe(strings.Join(p.Expired, ", "), 200))
	}
	if p.Error != "" {
		fmt.Fprintf(b, "  not verified\n    %s", strings.ReplaceAll(safetext.Lines(p.Error, 2048), "\n", "\n    "))
	}
	switch sig := p.Signature; {
	case sig == nil:
		b.WriteString("\n    without a signature of snapshot --sign\n")
	case !sig.Trusted:
		fmt.Fprintf(b, "\n    signed, and not trusted: %s\n", safetext.Safe(sig.Reason, 400))
	default:
		fmt.Fprintf(b, "\n    signed at %s by %s\n", sig.At.UTC().Format(time.RFC3339), sig.Leaf)
	}
	if !p.Judged.IsZero() {
		fmt.Fprintf(b, "    expired, signed while it was valid: %s\n", safetext.Safe(p.Judged.String(), 300))
	}
}
