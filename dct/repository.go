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
	unpublished bool           // targets/releases is declared but not published
	expired     []string       // roles, and RootCert, that are expired and were allowed to be
	judged      Judged         // what is expired now, but was not when it was seen
	versions    map[string]int // by role
}

// Target is one tag of a repository with the digest that docker would trust. The zero Target vouches for nothing; all
// others come from [Reader.Read].
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
	// FlagLegacyTargets: the tag is only in the targets role, although delegations exist. docker trust revoke leaves
	// such entries behind, so an old digest may come back.
	FlagLegacyTargets = "legacy-targets"
	// FlagDegraded: it counts only because targets/releases is declared but not published.
	FlagDegraded = "releases-unpublished"
	// FlagRolesDisagree: another role names another digest for this tag.
	FlagRolesDisagree = "roles-disagree"
)

// Classes of findings: the tag is in the trust data, but docker would not run it.
const (
	// SignerOnly: only a signer's own role names the tag; docker says no trust data.
	SignerOnly = "signer-only"
	// Shadowed: a role below targets/releases names the tag and hides the entry in
	// targets; docker says no trust data.
	Shadowed = "shadowed"
	// InvalidTarget: the tag or the digest is not valid, or the length is not positive.
	InvalidTarget = "invalid-target"
	// UnreachableTarget: the role's paths do not allow it to name the tag.
	UnreachableTarget = "unreachable-target"
)

// Finding is an entry of the trust data that is not a trusted target, with the reason. Tag may be any string.
type Finding struct {
	Tag, Role, Class, Detail string
	// Digest is what docker runs under the tag although we do not trust it, such as one with length zero. It is empty
	// if docker does not run it either.
	Digest digest.Digest
}

// Why a root is trusted: see [Repository.PinnedBy].
const (
	PinnedConfig      = "config"
	PinnedEarlier     = "earlier-run"
	PinnedDockerTrust = "docker-trust"
	PinnedTOFU        = "tofu"
)

// Expiry says when a role, or the root's certificate (role "root-cert"), expires.
type Expiry struct {
	Role string    `json:"role"`
	At   time.Time `json:"at"`
}

// Known is what must be remembered of a repository between reads. With it, the next read refuses rollback, replaced
// roots and withheld delegations.
type Known struct {
	Root   []byte           // raw bytes of the last trusted root
	Floors map[string]Floor // by role
	// RootKeys are the ids of all keys of trusted roots, and of their public keys, sorted. A root with one of them is
	// never one that [Reader.AcceptRoot] accepts.
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

// GUN returns the repository's name in Notary.
func (r *Repository) GUN() GUN { return r.proof.gun }

// Targets returns the trusted targets, one for each tag, sorted by tag.
func (r *Repository) Targets() []Target { return slices.Clone(r.targets) }

// Findings returns the entries that are not trusted targets, sorted by tag and role.
func (r *Repository) Findings() []Finding { return slices.Clone(r.findings) }

// Expiries returns each role's expiry date, sorted by role.
func (r *Repository) Expiries() []Expiry { return slices.Clone(r.expiries) }

// Known returns what to keep for the next read.
func (r *Repository) Known() Known { return r.known }

// Expired names what is expired and was allowed to be, sorted.
func (r *Repository) Expired() []string { return slices.Clone(r.proof.expired) }

// PinnedBy returns why the root is trusted, as one of the Pinned constants.
func (r *Repository) PinnedBy() string { return r.pinnedBy }

// Replaced returns the root trusted before, if [Reader.AcceptRoot] accepted another in this read, else nil.
func (r *Repository) Replaced() *ReplacedRoot { return r.replaced }

// RootKeyIDs returns the key ids of the root role, in the form of trust_pinning.certs.
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

// Version returns the version of a role, or 0 if the repository does not publish it.
func (r *Repository) Version(role string) int { return r.proof.versions[role] }

// GUN returns the target's repository.
func (t Target) GUN() GUN {
	if t.proof == nil {
		return GUN{}
	}
	return t.proof.gun
}

// Tag returns the tag, which is valid for an image.
func (t Target) Tag() string { return t.tag }

// Digest returns the digest that DCT vouched for. It never comes from a registry.
func (t Target) Digest() digest.Digest { return t.digest }

// Size returns the length that was signed with the digest, in bytes. It may differ from the manifest's if someone
// signed with notary addhash.
func (t Target) Size() int64 { return t.size }

// Role returns targets/releases or targets.
func (t Target) Role() string { return t.role }

// Version returns the version of the metadata that names the target.
func (t Target) Version() int {
	if t.proof == nil {
		return 0
	}
	return t.proof.versions[t.role]
}

// Signers returns the roles other than targets and targets/releases that name the same digest for the tag, sorted;
// docker trust inspect shows them as the signers.
func (t Target) Signers() []string { return slices.Clone(t.signers) }

// Others returns the roles that name another or no valid digest for the tag, sorted.
func (t Target) Others() []Named { return slices.Clone(t.others) }

// Expired names the expired roles, and RootCert, on which the target rests. It is empty unless [Reader.AllowExpired]
// allowed that.
func (t Target) Expired() []string {
	if t.proof == nil {
		return nil
	}
	return slices.Clone(t.proof.expired)
}

// Flags returns the Flag constants that apply.
func (t Target) Flags() []string { return slices.Clone(t.flags) }

// Check returns an error unless the target comes from verified trust data that is still valid at the given time. Call
// it right before using a key, since metadata may expire during a run.
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
