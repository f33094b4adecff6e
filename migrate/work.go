package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Work is one item: a digest in a repository, to be signed with one key, and the targets that vouch for it. The
// targets have that digest; those of a child have the digest of an index that lists it, and then none of their tags
// is the child's own.
type Work struct {
	Key     state.Key
	Targets []dct.Target
	// Platform is what the index says of a child, such as linux/arm64.
	Platform string
	// Changed says what differs from the plan that the run is bound to.
	Changed []string

	key          *Key // the key to sign with
	rootKeys     []string
	chains       []indexPath         // for a child: from each index that lists it
	listed       *ocispec.Descriptor // for a child: as all indexes list it
	trouble      error               // why it cannot be done now; nil: no reason is known
	absent       bool                // the registry did not have it when its platforms were listed
	attestations int                 // for an index: entries that are not images, and are left out
	aside        bool                // the filter leaves it out
	outsideAs    failure.Class       // instead of NotPlanned
	outside      string              // why the plan that binds the run leaves it out; empty: it is in the plan
}

// Scope selects a part of the trust data, and says where its images are. The zero Scope is all of it, where it was
// signed.
type Scope struct {
	// Place returns the repository, with its host, where a GUN's images are now; nil: the GUN itself. What is signed
	// is still the digest that DCT vouches for under the GUN.
	Place func(dct.GUN) string
	// Wanted reports whether a tag is chosen; nil: all are.
	Wanted func(tag string) bool
	// Discovered reports whether a repository was found rather than named: then it is no failure if it has no trust
	// data. nil: all were named. It is called from several goroutines at once.
	Discovered func(dct.GUN) bool
}

// MayLack reports whether an error of reading a repository is not a failure: the source itself says that there is no
// trust data, and nobody named the repository.
func (s Scope) MayLack(gun dct.GUN, err error) bool {
	return err != nil && failure.Of(err) == failure.Unsigned && s.Discovered != nil && s.Discovered(gun)
}

// PlaceOf returns the repository where the images of a GUN are now.
func (s Scope) PlaceOf(gun dct.GUN) string {
	if s.Place == nil {
		return gun.String()
	}
	return s.Place(gun)
}

// Wants reports whether a tag is chosen.
func (s Scope) Wants(tag string) bool { return s.Wanted == nil || s.Wanted(tag) }

// leftOut counts the tags that were not chosen, of digests that no chosen tag has.
func (s Scope) leftOut(r *dct.Repository) (n int) {
	if s.Wanted == nil {
		return 0
	}
	chosen := map[digest.Digest]bool{}
	for _, t := range r.Targets() {
		chosen[t.Digest()] = chosen[t.Digest()] || s.Wants(t.Tag())
	}
	for _, t := range r.Targets() {
		if !chosen[t.Digest()] {
			n++
		}
	}
	return n
}

// gather makes one Work of all chosen tags with the same digest, for each key that signs for them, sorted by digest
// and then in the order of the keys.
func gather(s Scope, keys []Key, r *dct.Repository) ([]Work, error) {
	wanted := slices.DeleteFunc(r.Targets(), func(t dct.Target) bool { return !s.Wants(t.Tag()) })
	if err := covered(keys, wanted); err != nil {
		return nil, err
	}
	// The work of two repositories is in memory at once, however large they are: it shares what it can.
	slices.SortFunc(wanted, func(a, b dct.Target) int {
		return cmp.Or(strings.Compare(a.Digest().String(), b.Digest().String()), strings.Compare(a.Tag(), b.Tag()))
	})
	digests := 0
	for i, t := range wanted {
		if i == 0 || t.Digest() != wanted[i-1].Digest() {
			digests++
		}
	}
	place, rootKeys := s.PlaceOf(r.GUN()), r.RootKeyIDs()
	work := make([]Work, 0, digests)
	for len(wanted) > 0 {
		d, n := wanted[0].Digest(), 1
		for n < len(wanted) && wanted[n].Digest() == d {
			n++
		}
		for i := range keys {
			if targets := keys[i].among(wanted[:n:n]); len(targets) > 0 {
				work = append(work, Work{
					Key:     state.Key{Repository: place, Digest: d.String(), KeyName: keys[i].Signer.Name()},
					Targets: targets, key: &keys[i], rootKeys: rootKeys,
				})
			}
		}
		wanted = wanted[n:]
	}
	return work, nil
}

// item returns what the ledger keeps of the work.
func (w Work) item() state.Item {
	it := state.Item{Key: w.Key, GUN: w.Targets[0].GUN().String(), Size: w.Targets[0].Size()}
	if w.isChild() {
		it.MediaType, it.Size, it.Indexes = w.listed.MediaType, w.listed.Size, w.indexes()
	}
	for _, t := range w.named() {
		it.Tags = append(it.Tags, state.Tag{Name: t.Tag(), Role: t.Role(), TargetsVersion: t.Version()})
	}
	it.Notes = w.agedNotes()
	return it
}

// agedNotes reports what the targets rest on that has expired.
func (w Work) agedNotes() []string {
	var notes []string
	for _, role := range w.expired() {
		notes = append(notes, "allowed-expired: "+role)
	}
	for _, j := range w.judged() {
		notes = append(notes, "judged-earlier: "+j.String())
	}
	return notes
}

// expired returns the roles that any of the targets rests on and that have expired and were allowed to.
func (w Work) expired() []string {
	var roles []string
	for _, t := range w.Targets {
		roles = append(roles, t.Expired()...)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// judged returns what any of the targets rests on that has expired and was seen before, each once.
func (w Work) judged() []dct.Judged {
	var all []dct.Judged
	for _, t := range w.Targets {
		j := t.Judged()
		if !j.IsZero() && !slices.ContainsFunc(all, func(o dct.Judged) bool { return o.String() == j.String() }) {
			all = append(all, j)
		}
	}
	return all
}

// named returns the targets that name the digest itself.
func (w Work) named() []dct.Target {
	if w.isChild() {
		return nil
	}
	return w.Targets
}

// digest returns the digest to sign. It never comes from a registry.
func (w Work) digest() digest.Digest {
	if w.isChild() {
		return w.listed.Digest
	}
	return w.Targets[0].Digest()
}

// tags returns the names of the targets that name the digest.
func (w Work) tags() []string {
	names := []string{}
	for _, t := range w.named() {
		names = append(names, t.Tag())
	}
	return names
}

// Names of the signed user metadata. They keep what a Notation signature would lose: it is over a digest and does not
// name the tag.
const (
	metadataPrefix   = "io.dct2notation."
	MetadataGUN      = metadataPrefix + "gun"
	MetadataTag      = metadataPrefix + "tag."     // + the tag = the role that binds it
	MetadataVersion  = metadataPrefix + "version." // + the role = the version of its metadata
	MetadataRootKeys = metadataPrefix + "root-keys"
	MetadataIndex    = metadataPrefix + "index"   // for a child, in place of tags: the digests of the indexes that DCT names
	MetadataSigner   = metadataPrefix + "signer"  // the roles that the key signs for, if they are not the trusted ones
	MetadataExpired  = metadataPrefix + "expired" // what had expired and was allowed to
	MetadataTool     = metadataPrefix + "tool"
	MetadataArtifact = metadataPrefix + "artifact-type" // for saved trust data: that of its manifest
	MetadataReport   = metadataPrefix + "report"        // for a report: what it is about
	// What had expired, and had been signed in a snapshot before: which roles, when that was, and the SHA-256 of the
	// certificate.
	MetadataJudged   = metadataPrefix + "judged"
	MetadataJudgedAt = metadataPrefix + "judged-at"
	MetadataJudgedBy = metadataPrefix + "judged-by"
)

// metadata returns what is signed beside the digest: the target's place in DCT, and the user's own metadata.
func (w Work) metadata(tool string) map[string]string {
	m := map[string]string{
		MetadataGUN:      w.Targets[0].GUN().String(),
		MetadataRootKeys: strings.Join(w.rootKeys, ","),
		MetadataTool:     tool,
	}
	for _, t := range w.named() {
		m[MetadataTag+t.Tag()] = t.Role()
		m[MetadataVersion+t.Role()] = fmt.Sprint(t.Version())
	}
	if w.isChild() {
		m[MetadataIndex] = strings.Join(w.indexes(), ",")
	}
	if expired := w.expired(); len(expired) > 0 {
		m[MetadataExpired] = strings.Join(expired, ",")
	}
	if all := w.judged(); len(all) > 0 {
		var roles, at, by []string
		for _, j := range all {
			roles, at, by = append(roles, strings.Join(j.Roles, ",")), append(at, j.At.UTC().Format(time.RFC3339)), append(by, j.By)
		}
		m[MetadataJudged], m[MetadataJudgedAt], m[MetadataJudgedBy] = strings.Join(roles, ";"), strings.Join(at, ";"), strings.Join(by, ";")
	}
	if len(w.key.Roles) > 0 {
		m[MetadataSigner] = strings.Join(w.key.Roles, ",")
	}
	for k, v := range w.key.Metadata {
		m[k] = v
	}
	return m
}

// isBinding reports whether the name of signed metadata is one that binds a tag or an index.
func isBinding(name string) bool {
	return strings.HasPrefix(name, MetadataTag) || name == MetadataIndex
}

// CheckMetadata refuses user metadata that would overwrite ours or notation's own.
func CheckMetadata(user map[string]string) error {
	for k := range user {
		for _, reserved := range []string{metadataPrefix, "io.cncf.notary"} {
			if strings.HasPrefix(k, reserved) {
				return fmt.Errorf("user metadata %q: names beginning with %s are reserved", k, reserved)
			}
		}
	}
	return nil
}
