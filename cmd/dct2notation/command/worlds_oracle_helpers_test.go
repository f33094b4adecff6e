package command

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// What the oracle knows, from the stores behind the servers and in code of its own.

// A dctState is how a repository's trust data stands.
type dctState string

const (
	dctGood   dctState = "good"
	dctNone   dctState = "none"    // the server has none
	dctUnread dctState = "expired" // docker would refuse it
)

// dctView is what docker would make of a repository's trust data.
type dctView struct {
	state dctState
	tags  map[string]digest.Digest // what docker runs and our tool signs
	zero  map[string]digest.Digest // what docker also runs, although its length is 0, and our tool does not sign
}

// metadata is what the oracle reads from a TUF file.
type metadata struct {
	Signed struct {
		Expires time.Time
		Targets map[string]struct {
			Hashes map[string][]byte
			Length int64
		}
		Delegations struct{ Roles []struct{ Name string } }
	}
}

func (w *world) metadata(p *place, role string) (m metadata, ok bool) {
	raw := w.notary.Raw(p.trust.GUN(), role)
	return m, raw != nil && json.Unmarshal(raw, &m) == nil
}

func (w *world) targets(p *place, role string) map[string]tufTarget {
	m, _ := w.metadata(p, role)
	all := map[string]tufTarget{}
	for tag, t := range m.Signed.Targets {
		all[tag] = tufTarget{digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(t.Hashes["sha256"])), t.Length}
	}
	return all
}

// tufTarget is an entry of trust data.
type tufTarget struct {
	digest digest.Digest
	length int64
}

// dct reads the files that the server has now, as docker does: targets/releases takes precedence
// over targets.
func (w *world) dct(p *place) dctView {
	v := dctView{state: dctNone, tags: map[string]digest.Digest{}, zero: map[string]digest.Digest{}}
	if w.notary.Raw(p.trust.GUN(), "root") == nil {
		return v
	}
	v.state = dctGood
	for _, role := range w.notary.Roles(p.trust.GUN()) {
		if m, ok := w.metadata(p, role); !ok || !m.Signed.Expires.After(time.Now()) {
			return dctView{state: dctUnread}
		}
	}
	names := w.targets(p, "targets")
	maps.Copy(names, w.targets(p, "targets/releases"))
	for tag, t := range names {
		switch {
		case t.digest.Validate() != nil || !tagShape(tag):
		case t.length == 0:
			v.zero[tag] = t.digest
		default:
			v.tags[tag] = t.digest
		}
	}
	return v
}

func tagShape(tag string) bool {
	return tag != "" && len(tag) <= 128 && strings.Trim(strings.ToLower(tag), "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// vouched returns the digests that DCT vouches for now, and with platforms also the images that
// such an index lists.
func (w *world) vouched(p *place, platforms bool) map[digest.Digest]bool {
	all := map[digest.Digest]bool{}
	for _, d := range w.dct(p).tags {
		all[d] = true
		if platforms && w.stored(p, d) {
			for _, child := range w.children[d] {
				all[child.Digest] = true
			}
		}
	}
	return all
}

// platform reports whether DCT vouches for an index that lists the image.
func (w *world) platform(p *place, image digest.Digest) bool {
	for _, d := range w.dct(p).tags {
		if w.stored(p, d) && slices.ContainsFunc(w.children[d], func(c ocispec.Descriptor) bool { return c.Digest == image }) {
			return true
		}
	}
	return false
}

func (w *world) stored(p *place, d digest.Digest) bool {
	_, err := w.registry.Resolve(p.name, d.String())
	return err == nil
}

// tagged returns the digest that a tag points to; empty: there is no such tag.
func (w *world) tagged(p *place, tag string) digest.Digest {
	return digest.Digest(w.registry.Tags(p.name)[tag])
}

// isList reports whether a tag keeps the list of an image's signatures.
func (w *world) isList(p *place, tag string) bool {
	if !strings.HasPrefix(tag, "sha256-") {
		return false
	}
	raw, err := w.registry.Manifest(p.name, tag)
	var list ocispec.Index
	if err != nil || json.Unmarshal(raw, &list) != nil || list.MediaType != ocispec.MediaTypeImageIndex {
		return false
	}
	about := w.registry.Attached(p.name)["sha256:"+strings.TrimPrefix(tag, "sha256-")]
	return !slices.ContainsFunc(list.Manifests, func(d ocispec.Descriptor) bool {
		attached := slices.ContainsFunc(about, func(a ocispec.Descriptor) bool { return a.Digest == d.Digest })
		return d.ArtifactType == "" || !attached && w.stored(p, d.Digest)
	})
}

// hides reports whether a repository's referrers API was hidden in all of the verb's requests and
// the verb cannot know that it exists, since no run with the ledger has signed there.
func (w *world) hides(p *place, ledger bool) bool {
	if !w.hidden || w.sighted {
		return false
	}
	for made := range w.made[w.ledger] {
		if ledger && strings.HasPrefix(made, p.name+"@") {
			return false
		}
	}
	return true
}

// sig is a stored signature manifest, with its actual content.
type sig struct {
	digest digest.Digest
	blob   digest.Digest // of its envelope; empty: it is lost
	by     *pki.Identity // nil: nobody that we know
	over   digest.Digest // what was signed
	until  time.Time     // until when a strict policy accepts it; zero: never
	intact bool          // the envelope is unchanged, whoever made it
	chain  bool          // the policy trusts its certificate
	ended  bool          // its own expiry has passed
}

// good reports whether a strict verification passes at a time.
func (s sig) good(image digest.Digest, at time.Time) bool {
	return s.over == image && s.until.After(at)
}

// attached returns all signatures of an image in the registry, listed or not.
func (w *world) attached(p *place, image digest.Digest) (all []sig) {
	for _, d := range w.registry.Attached(p.name)[image.String()] {
		all = append(all, w.read(p, d.Digest))
	}
	return all
}

// read parses a stored signature.
func (w *world) read(p *place, d digest.Digest) sig {
	s := sig{digest: d}
	mediaType, raw, err := w.registry.SignatureBlob(p.name, ocispec.Descriptor{Digest: d})
	if err != nil {
		return s
	}
	s.blob = digest.FromBytes(raw)
	envelope, err := signature.ParseEnvelope(mediaType, raw)
	if err != nil {
		return s
	}
	content, err := envelope.Verify()
	if err != nil {
		return s
	}
	var payload struct{ TargetArtifact ocispec.Descriptor }
	if json.Unmarshal(content.Payload.Content, &payload) != nil {
		return s
	}
	s.over, s.intact = payload.TargetArtifact.Digest, true
	leaf := content.SignerInfo.CertificateChain[0]
	for _, known := range []*pki.Identity{w.release, w.keys.next, w.twin, w.ground.stranger, w.intruder, w.old} {
		if bytes.Equal(known.Chain[0].Raw, leaf.Raw) {
			s.by = known
		}
	}
	end := content.SignerInfo.SignedAttributes.Expiry
	s.ended = !end.IsZero() && end.Before(time.Now())
	if s.chain = s.by != nil && s.by != w.ground.stranger && s.by != w.intruder; !s.chain {
		return s
	}
	if s.until = leaf.NotAfter; !end.IsZero() && end.Before(s.until) {
		s.until = end
	}
	return s
}

// ours reports whether the tool may have made a signature: its key is one that signs for us.
func (w *world) ours(s sig) bool { return s.by != nil && (s.by == w.release || s.by == w.keys.next) }

// listed returns the signatures of an image as verifiers find them, in their order.
func (w *world) listed(p *place, image digest.Digest) (all []sig) {
	list, err := w.registry.Signatures(p.name, image.String())
	must(w.t, err)
	for _, d := range list {
		all = append(all, w.read(p, d.Digest))
	}
	return all
}

// signed reports whether an image has a listed signature of ours that verifies now.
func (w *world) signed(p *place, image digest.Digest) bool { return w.signedAt(p, image, time.Now()) }

func (w *world) signedAt(p *place, image digest.Digest, at time.Time) bool {
	return slices.ContainsFunc(w.listed(p, image), func(s sig) bool { return w.ours(s) && s.good(image, at) })
}

// known reports whether an image has a signature that a run must recognize as its own: by the
// present certificate, or made with the same ledger.
func (w *world) known(p *place, image digest.Digest) bool {
	return slices.ContainsFunc(w.listed(p, image), func(s sig) bool {
		return w.ours(s) && s.good(image, time.Now()) && (s.by == w.now || w.made[w.ledger][p.name+"@"+image.String()+" "+s.digest.String()])
	})
}

// passes reports whether notation verify accepts an image under a strict policy. It tries the list
// in order, and refuses at the first entry that it cannot fetch.
func (w *world) passes(p *place, image digest.Digest, at time.Time) bool {
	for _, s := range w.listed(p, image) {
		if s.blob == "" {
			return false
		}
		if s.good(image, at) {
			return true
		}
	}
	return false
}

// trusts reports whether notation verify accepts an image under one of the world's policies.
func (w *world) trusts(p *place, image digest.Digest, policy string) bool {
	for _, s := range w.listed(p, image) {
		dated := s.by == w.old
		lenient := s.over == image && s.intact && map[string]bool{
			"permissive": s.chain, "audit": true, "no-expiry": s.chain && !dated, "no-timestamp": s.chain && !s.ended, "no-chain": !dated && !s.ended,
		}[policy]
		switch {
		case s.blob == "":
			return false
		case s.good(image, time.Now()), lenient:
			return true
		}
	}
	return false
}

// stock is every signature in the registry, by repository and digest.
type stock map[string]map[digest.Digest]sig

func (w *world) stock() stock {
	all := stock{}
	for _, p := range w.repos {
		for image := range w.registry.Attached(p.name) {
			for _, s := range w.attached(p, digest.Digest(image)) {
				key := p.name + "@" + image
				if all[key] == nil {
					all[key] = map[digest.Digest]sig{}
				}
				all[key][s.digest] = s
			}
		}
	}
	return all
}

// liedAbout reports whether a server said with its own code that something which exists does not.
func (w *world) liedAbout(what ...string) (lied bool) {
	w.lies.Range(func(path, _ any) bool {
		lied = lied || slices.ContainsFunc(what, func(s string) bool { return strings.Contains(path.(string), s) })
		return !lied
	})
	return lied
}
