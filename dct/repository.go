package dct

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Repository is the verified trust data of one repository at one moment. It does not
// change and is safe for concurrent use.
type Repository struct {
	proof    *proof
	targets  []Target
	findings []Finding
	expiries []Expiry
	known    Known
	pinnedBy string
	rootKeys []string
	roles    []Role
	replaced *ReplacedRoot
}

// proof is what all targets of a Repository rest on.
type proof struct {
	gun         GUN
	validUntil  time.Time      // the earliest expiry of all roles that are not expired; zero if all are
	unpublished bool           // targets/releases is declared and not published
	expired     []string       // roles, and RootCert, that are past their date and were allowed to be
	judged      Judged         // what is past its date, and was not when it was seen
	versions    map[string]int // by role
}

// Target is one tag of a repository with the digest that docker would have trusted.
// The zero Target vouches for nothing; all others come from [Reader.Read].
type Target struct {
	proof   *proof
	tag     string
	digest  digest.Digest
	size    int64
	role    string
	signers []string
	others  []Named
	flags   []string
}

// Flags mark targets that may be signed but that a person should know about.
const (
	// FlagLegacyTargets: the tag is in the targets role only, while delegations exist.
	// docker trust revoke leaves such entries behind, so an old digest may come back.
	FlagLegacyTargets = "legacy-targets"
	// FlagDegraded: it counts only because targets/releases is declared and not published.
	FlagDegraded = "releases-unpublished"
	// FlagRolesDisagree: another role names another digest for this tag.
	FlagRolesDisagree = "roles-disagree"
)

// Classes of findings: the tag is in the trust data, and docker would not run it.
const (
	// SignerOnly: only a signer's own role names the tag; docker says no trust data.
	SignerOnly = "signer-only"
	// Shadowed: a role below targets/releases names the tag and hides the entry in
	// targets; docker says no trust data.
	Shadowed = "shadowed"
	// InvalidTarget: the tag or the digest is not valid, or the length is not positive.
	InvalidTarget = "invalid-target"
	// UnreachableTarget: the role that names the tag may not, by its paths.
	UnreachableTarget = "unreachable-target"
)

// Finding is an entry of the trust data that is no trusted target, and why. Tag may be
// any string at all.
type Finding struct {
	Tag, Role, Class, Detail string
	// Digest is what docker runs under the tag although it is not trusted here, such as one
	// whose length is zero; empty: docker does not run it either.
	Digest digest.Digest
}

// How a root came to be trusted: see [Repository.PinnedBy].
const (
	PinnedConfig      = "config"
	PinnedEarlier     = "earlier-run"
	PinnedDockerTrust = "docker-trust"
	PinnedTOFU        = "tofu"
)

// Expiry says until when a role, or the certificate of the root (role "root-cert"),
// is valid.
type Expiry struct {
	Role string    `json:"role"`
	At   time.Time `json:"at"`
}

// Known is what must be remembered of a repository from one read to the next: with it,
// the next read refuses rollback, replaced roots and withheld delegations.
type Known struct {
	Root   []byte           // raw bytes of the root that was trusted last
	Floors map[string]Floor // by role: what was seen last
	// RootKeys are the ids of all keys of roots that were trusted, and of their public keys,
	// sorted. None of them is ever the key of a root that [Reader.AcceptRoot] accepts.
	RootKeys []string
	By       string // who remembers it, as in "the ledger"; empty: an earlier run
}

// ReplacedRoot is a root that was trusted before [Reader.AcceptRoot] accepted another.
type ReplacedRoot struct {
	Version int
	KeyIDs  []string
	SHA256  string // of its bytes, in hex
}

// Floor is the newest version of a role that was accepted, and its bytes' SHA-256 in hex.
type Floor struct {
	Version int
	SHA256  string
}

// GUN is the repository's name in Notary.
func (r *Repository) GUN() GUN { return r.proof.gun }

// Targets are the trusted targets, one for each tag, sorted by tag.
func (r *Repository) Targets() []Target { return slices.Clone(r.targets) }

// Findings are the entries that are not trusted targets, sorted by tag and role.
func (r *Repository) Findings() []Finding { return slices.Clone(r.findings) }

// Expiries lists each role's expiry date, sorted by role.
func (r *Repository) Expiries() []Expiry { return slices.Clone(r.expiries) }

// Known is to be kept for the next read.
func (r *Repository) Known() Known { return r.known }

// Expired names what is past its date and was allowed to be, sorted.
func (r *Repository) Expired() []string { return slices.Clone(r.proof.expired) }

// PinnedBy returns why the root is trusted, as one of the Pinned constants.
func (r *Repository) PinnedBy() string { return r.pinnedBy }

// Replaced returns the root that was trusted before, where [Reader.AcceptRoot] has accepted
// another in this read; nil: it has not.
func (r *Repository) Replaced() *ReplacedRoot { return r.replaced }

// RootKeyIDs are the key ids of the root role, as trust_pinning.certs takes them.
func (r *Repository) RootKeyIDs() []string { return slices.Clone(r.rootKeys) }

// RootPublicKey returns the public key of the root in PEM, or nil if the root has several.
func (r *Repository) RootPublicKey() []byte {
	var root struct {
		Signed struct {
			Keys map[string]struct {
				Type  string `json:"keytype"`
				Value struct {
					Public []byte `json:"public"`
				} `json:"keyval"`
			} `json:"keys"`
			Roles map[string]struct {
				KeyIDs []string `json:"keyids"`
			} `json:"roles"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(r.known.Root, &root); err != nil || len(root.Signed.Roles["root"].KeyIDs) != 1 {
		return nil
	}
	key := root.Signed.Keys[root.Signed.Roles["root"].KeyIDs[0]]
	block, _ := pem.Decode(key.Value.Public)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: c.RawSubjectPublicKeyInfo})
}

// Version is the version of a role, or 0 where the repository does not publish it.
func (r *Repository) Version(role string) int { return r.proof.versions[role] }

// GUN is the repository that the target belongs to.
func (t Target) GUN() GUN {
	if t.proof == nil {
		return GUN{}
	}
	return t.proof.gun
}

// Tag is a valid tag of an image.
func (t Target) Tag() string { return t.tag }

// Digest is the digest that DCT vouched for. It never comes from a registry.
func (t Target) Digest() digest.Digest { return t.digest }

// Size is the length that was signed beside the digest, in bytes. It may differ from
// the manifest's where people signed with notary addhash.
func (t Target) Size() int64 { return t.size }

// Role is targets/releases or targets.
func (t Target) Role() string { return t.role }

// Version is the version of the role's metadata that names the target.
func (t Target) Version() int {
	if t.proof == nil {
		return 0
	}
	return t.proof.versions[t.role]
}

// Signers are the roles other than targets and targets/releases that name the same
// digest for the tag, sorted; docker trust inspect shows them as the signers.
func (t Target) Signers() []string { return slices.Clone(t.signers) }

// Others are the roles that name another digest for the tag, or none that is valid, sorted.
func (t Target) Others() []Named { return slices.Clone(t.others) }

// Expired names what the target rests on and is past its date: roles, and RootCert. It is
// empty unless [Reader.AllowExpired] let that pass.
func (t Target) Expired() []string {
	if t.proof == nil {
		return nil
	}
	return slices.Clone(t.proof.expired)
}

// Flags returns the Flag constants that apply.
func (t Target) Flags() []string { return slices.Clone(t.flags) }

// Check returns an error unless the target comes from verified trust data that is still
// valid at the given time. It is to be asked right before a key is used, since a run may
// outlive the metadata it began with.
func (t Target) Check(now time.Time) error {
	if t.proof == nil {
		return errors.New("target does not come from verified trust data")
	}
	if !t.proof.validUntil.IsZero() && !now.Before(t.proof.validUntil) {
		return &Error{
			GUN: t.proof.gun.String(), Role: t.role, Kind: ErrExpired,
			Err:  fmt.Errorf("since %s", t.proof.validUntil.UTC().Format(time.RFC3339)),
			Hint: "run again: trust data is read anew at the start of a run",
		}
	}
	return nil
}
