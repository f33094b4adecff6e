package command

import (
	"crypto/sha512"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/notaryproject/notation-core-go/signature"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
)

// found expects these tags in one of these classes.
func found(tags []string, classes ...verify.Class) finding {
	f := finding{tags: map[string][]verify.Class{}}
	for _, tag := range tags {
		f.tags[tag] = classes
	}
	return f
}

func unknown(tags []string) finding {
	f := found(tags, verify.Unknown)
	f.busy = true
	return f
}

func harmless() finding { return finding{agree: true} }

// at uses a trust policy of that level for the comparison.
func (f finding) at(level string) finding {
	f.level = level
	return f
}

// also expects another class in the rows, besides the worst.
func (f finding) also(class verify.Class) finding {
	f.beside = class
	return f
}

// withdraw revokes the image in DCT and deletes its tag, so that only the ledger knows of it.
func (s *scene) withdraw(class verify.Class) finding {
	s.mark = s.marks[1]
	tag := s.tag()
	s.republish(func() error { return s.trust.Remove(tag) })
	must(s.ground.t, s.registry.Delete(s.name, tag))
	s.ground.later(func() { must(s.ground.t, s.registry.Tag(s.name, tag, s.Digest.String())) })
	f := found([]string{""}, class)
	f.ledger, f.flags, f.gone = true, []string{verify.FlagWithdrawn}, tag
	return f
}

// binding returns a payload over the image that binds its tags.
func (s *scene) binding() []byte {
	d := ocispec.Descriptor{MediaType: s.MediaType, Digest: s.Digest, Size: s.Size, Annotations: map[string]string{migrate.MetadataGUN: s.trust.GUN()}}
	for _, tag := range s.mark.tags {
		for _, role := range []string{"targets", "targets/releases"} {
			d.Annotations[migrate.MetadataTag+tag] = role
			if slices.Contains(s.ground.notary.Roles(s.trust.GUN()), "targets/releases") == (role == "targets/releases") {
				break
			}
		}
	}
	raw, err := json.Marshal(map[string]any{"targetArtifact": d})
	must(s.ground.t, err)
	return raw
}

// replace removes the image's signature and stores others instead.
func (s *scene) replace(envelopes ...[]byte) {
	var entries []ocispec.Descriptor
	for _, e := range envelopes {
		entries = append(entries, s.push(s.Descriptor, e))
	}
	s.list(s.Descriptor, entries...)
}

// instead has only another key sign the image, and expects a class.
func (s *scene) instead(by *pki.Identity, class verify.Class, more ...func(*signature.SignRequest)) finding {
	s.replace(s.envelope(by, s.Descriptor, more...))
	return found(s.mark.tags, class)
}

// tampers are the changes, with what verify has to report about each.
var tampers = []struct {
	name string
	do   func(*scene) finding
}{
	{"the signature is deleted", func(s *scene) finding {
		s.remove(s.signature)
		if s.name == "tags" {
			return found(s.mark.tags, verify.Untrusted) // it is still listed
		}
		return found(s.mark.tags, verify.DCTOnly)
	}},
	{"the signature is not listed", func(s *scene) finding {
		s.list(s.Descriptor)
		return found(s.mark.tags, verify.DCTOnly)
	}},
	{"the signature's envelope has other bytes", func(s *scene) finding {
		path, blob := s.envelopeOf(s.signature)
		s.bytes(path, "application/octet-stream", s.flipped(blob))
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"the signature's envelope is cut off", func(s *scene) finding {
		path, blob := s.envelopeOf(s.signature)
		s.bytes(path, "application/octet-stream", blob[:s.IntN(len(blob))])
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"the signature's envelope is another image's", func(s *scene) finding {
		path, _ := s.envelopeOf(s.signature)
		_, other := s.envelopeOf(s.other().signature)
		s.bytes(path, "application/octet-stream", other)
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"the image's digest is written over another's in an envelope", func(s *scene) finding {
		other := s.other()
		_, blob := s.envelopeOf(other.signature)
		s.replace(s.rewritten(blob, other.Digest.Encoded(), s.Digest.Encoded()))
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"the signature's manifest has other bytes", func(s *scene) finding {
		raw, err := s.registry.Manifest(s.name, s.signature.Digest.String())
		must(s.ground.t, err)
		s.bytes("/manifests/"+s.signature.Digest.String(), ocispec.MediaTypeImageManifest, s.flipped(raw))
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"another image's signature is listed", func(s *scene) finding {
		s.list(s.Descriptor, s.other().signature)
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"another image's envelope is attached", func(s *scene) finding {
		_, blob := s.envelopeOf(s.other().signature)
		s.replace(blob)
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"the key has signed another digest", func(s *scene) finding {
		s.replace(s.envelope(s.ground.release, s.unsigned))
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"the key has signed another size", func(s *scene) finding {
		d := s.Descriptor
		d.Size++
		s.replace(s.envelope(s.ground.release, d))
		return found(s.mark.tags, verify.Untrusted)
	}},
	{"another authority's certificate of the same names", func(s *scene) finding {
		return s.instead(s.ground.stranger, verify.Untrusted)
	}},
	{"a certificate of another subject", func(s *scene) finding { return s.instead(s.ground.intruder, verify.Untrusted) }},
	{"an expired certificate", func(s *scene) finding { return s.instead(s.ground.old, verify.Expired) }},
	{"an expired signature", func(s *scene) finding { return s.instead(s.ground.release, verify.Expired, expired) }},
	{"an expired certificate beside a foreign one", func(s *scene) finding {
		s.replace(s.envelope(s.ground.stranger, s.Descriptor), s.envelope(s.ground.old, s.Descriptor))
		return found(s.mark.tags, verify.Expired)
	}},
	{"an expired certificate, and the policy is lenient", func(s *scene) finding {
		return s.instead(s.ground.old, verify.Expired).at(levels[1+s.IntN(2)])
	}},
	{"an expired signature, and the policy is lenient", func(s *scene) finding {
		return s.instead(s.ground.release, verify.Expired, expired).at(levels[1+s.IntN(2)])
	}},
	{"another authority's certificate, and the policy is lenient", func(s *scene) finding {
		return s.instead(s.ground.stranger, verify.Untrusted).at(levels[1+s.IntN(2)])
	}},
	{"another image's envelope, and the policy is lenient", func(s *scene) finding {
		s.replace(s.envelope(s.ground.release, s.other().Descriptor))
		return found(s.mark.tags, verify.Untrusted).at(levels[1+s.IntN(2)])
	}},

	{"a tag is moved to another signed image", func(s *scene) finding {
		tag := s.tag()
		s.move(tag, s.Descriptor, s.other().Descriptor)
		return found([]string{tag}, verify.Conflict)
	}},
	{"a tag is moved to an image that only Notation trusts", func(s *scene) finding {
		tag := s.tag()
		s.move(tag, s.Descriptor, s.trusted)
		return found([]string{tag}, verify.Conflict)
	}},
	{"a tag is moved to an unsigned image", func(s *scene) finding {
		tag := s.tag()
		s.move(tag, s.Descriptor, s.unsigned)
		return found([]string{tag}, verify.Moved)
	}},
	{"a tag is moved to an image signed by a stranger", func(s *scene) finding {
		tag := s.tag()
		s.move(tag, s.Descriptor, s.place.stranger)
		return found([]string{tag}, verify.Moved)
	}},
	{"a tag is deleted", func(s *scene) finding {
		tag := s.tag()
		must(s.ground.t, s.registry.Delete(s.name, tag))
		s.ground.later(func() { must(s.ground.t, s.registry.Tag(s.name, tag, s.Digest.String())) })
		return found([]string{tag}, verify.Gone)
	}},
	{"the image is deleted", func(s *scene) finding {
		s.remove(s.Descriptor, s.mark.tags...)
		return found(s.mark.tags, verify.Gone)
	}},
	{"the image is deleted, and its tag moved to one that only Notation trusts", func(s *scene) finding {
		s.mark = s.marks[0]
		s.remove(s.Descriptor, s.mark.tags...) // restoring it also restores its tags
		must(s.ground.t, s.registry.Tag(s.name, s.tag(), s.trusted.Digest.String()))
		return found(s.mark.tags, verify.Conflict).also(verify.Gone)
	}},
	{"a tag is moved to an image whose signature has expired, and the policy is lenient", func(s *scene) finding {
		tag := s.tag()
		s.push(s.unsigned, s.envelope(s.ground.old, s.unsigned))
		s.move(tag, s.Descriptor, s.unsigned)
		f := found([]string{tag}, verify.Conflict).also(verify.Expired).at("permissive")
		f.tags["old"] = []verify.Class{verify.NotationOnly} // points to that image, too
		return f
	}},
	{"a new tag that DCT does not name has a trusted image", func(s *scene) finding {
		s.newTag("new", s.trusted)
		return found([]string{"new"}, verify.NotationOnly)
	}},

	{"DCT names another signed image", func(s *scene) finding {
		tag := s.tag()
		s.vouch(tag, s.other().Descriptor)
		return found([]string{tag}, verify.Conflict)
	}},
	{"DCT names an unsigned image", func(s *scene) finding {
		tag := s.tag()
		s.vouch(tag, s.unsigned)
		return found([]string{tag}, verify.Conflict)
	}},
	{"DCT names an image that nobody has", func(s *scene) finding {
		tag := s.tag()
		d := s.Descriptor
		d.Digest = dangling().Digest
		s.vouch(tag, d)
		return found([]string{tag}, verify.Conflict).also(verify.Gone) // the tag points to an image that Notation trusts
	}},
	{"DCT revokes a tag", func(s *scene) finding {
		tag := s.tag()
		s.republish(func() error { return s.trust.Remove(tag) })
		return found([]string{tag}, verify.NotationOnly)
	}},
	{"DCT revokes an image whose tag is gone", func(s *scene) finding {
		f := s.withdraw(verify.NotationOnly)
		return f
	}},
	{"DCT revokes an image whose tag is gone, and the registry is in trouble with its signatures", func(s *scene) finding {
		f := s.withdraw(verify.Unknown)
		s.status(s.listOf(s.Descriptor), http.StatusServiceUnavailable)
		f.busy = true
		return f
	}},
	{"DCT revokes an image whose tag is gone, and its signature cannot be read", func(s *scene) finding {
		f := s.withdraw(verify.Unknown)
		path, _ := s.envelopeOf(s.signature)
		s.status(path, http.StatusNotFound)
		f.busy = true
		return f
	}},
	{"DCT names a signed image for a name that can be no tag", func(s *scene) finding {
		s.vouch("a/b", s.Descriptor)
		f := found([]string{"a/b"}, verify.NoneSigned)
		f.agree = true
		return f
	}},
	{"DCT names an unsigned image with length zero", func(s *scene) finding {
		s.newTag("zero", s.unsigned)
		d := s.unsigned
		d.Size = 0
		s.vouch("zero", d)
		return found([]string{"zero"}, verify.DCTOnly)
	}},
	{"DCT names an image that only Notation trusts, without SHA-256", func(s *scene) finding {
		s.newTag("odd", s.trusted)
		s.vouch("odd", s.trusted)
		role := "targets"
		if slices.Contains(s.ground.notary.Roles(s.trust.GUN()), "targets/releases") {
			role = "targets/releases"
		}
		must(s.ground.t, s.trust.Tamper(role, func(signed map[string]any) {
			odd := signed["targets"].(map[string]any)["odd"].(map[string]any)
			sum := sha512.Sum512([]byte("odd"))
			odd["hashes"] = map[string]any{"sha512": sum[:]}
		}, true))
		return found([]string{"odd"}, verify.NotationOnly)
	}},
	{"DCT names a new tag that nobody has", func(s *scene) finding {
		s.vouch("new", s.Descriptor)
		return found([]string{"new"}, verify.Gone)
	}},
	{"DCT names a new tag with an unsigned image", func(s *scene) finding {
		s.newTag("new", s.unsigned)
		s.vouch("new", s.unsigned)
		return found([]string{"new"}, verify.DCTOnly)
	}},
	{"the trust data of an earlier day is served", func(s *scene) finding {
		s.keepTrust()
		s.serve(s.before)
		return found([]string{"old"}, verify.DCTOnly) // its content is compared; only a ledger shows that it is old
	}},
	{"the trust data of an earlier day is served, and runs have seen newer", func(s *scene) finding {
		s.keepTrust()
		s.serve(s.before)
		return finding{whole: verify.Untrusted, ledger: true}
	}},
	{"trust data is changed and not signed again", func(s *scene) finding {
		s.keepTrust()
		roles := s.ground.notary.Roles(s.trust.GUN())
		role := roles[s.IntN(len(roles))]
		must(s.ground.t, s.trust.Tamper(role, func(signed map[string]any) { signed["expires"] = "2099-01-02T03:04:05Z" }, false))
		return finding{whole: verify.Untrusted}
	}},
	{"a bit of trust data is changed on its way", func(s *scene) finding {
		roles := s.ground.notary.Roles(s.trust.GUN())
		role := roles[s.IntN(len(roles))]
		raw := s.flipped(s.ground.notary.Raw(s.trust.GUN(), role))
		s.ground.notary.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
			_, name, ok := strings.Cut(r.URL.Path, s.trust.GUN()+"/_trust/tuf/")
			if ok = ok && (strings.HasPrefix(name, role+".") || strings.HasSuffix(name, "."+role+".json")); ok {
				_, _ = w.Write(raw)
			}
			return ok
		})
		s.ground.later(func() { s.ground.notary.SetHook(nil) })
		return finding{whole: verify.Untrusted}
	}},
	{"trust data has expired", func(s *scene) finding {
		s.keepTrust()
		roles := []string{"targets", "snapshot", "timestamp"}
		must(s.ground.t, s.trust.Expire(roles[s.IntN(len(roles))]))
		return finding{whole: verify.Expired}
	}},

	{"a registry in trouble", func(s *scene) finding {
		path, _ := s.envelopeOf(s.signature)
		paths := []string{path, s.listOf(s.Descriptor), "/manifests/" + s.signature.Digest.String()}
		codes := []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusForbidden}
		s.status(paths[s.IntN(len(paths))], codes[s.IntN(len(codes))])
		return unknown(s.mark.tags)
	}},
	{"a tag is moved, and the registry is in trouble with DCT's image", func(s *scene) finding {
		s.mark = s.marks[0] // with one tag: another tag would reveal the image
		s.move(s.tag(), s.Descriptor, s.unsigned)
		s.status("/manifests/"+s.Digest.String(), http.StatusInternalServerError)
		return found(s.mark.tags, verify.Moved).also(verify.Unknown)
	}},
	{"a tag is moved, and the registry is in trouble with the signatures of what it has now", func(s *scene) finding {
		tag := s.tag()
		s.move(tag, s.Descriptor, s.place.stranger)
		s.status(s.listOf(s.place.stranger), http.StatusInternalServerError)
		return found([]string{tag}, verify.Moved).also(verify.Unknown)
	}},
	{"a registry in trouble with a tag", func(s *scene) finding {
		tag := s.tag()
		s.status("/manifests/"+tag, http.StatusBadGateway)
		return unknown([]string{tag})
	}},
	{"a good signature that cannot be fetched, beside a foreign one", func(s *scene) finding {
		foreign := s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor))
		s.list(s.Descriptor, foreign, s.signature)
		s.status("/manifests/"+s.signature.Digest.String(), http.StatusTooManyRequests)
		return unknown(s.mark.tags)
	}},

	{"foreign signatures beside the good one", func(s *scene) finding {
		entries := []ocispec.Descriptor{s.signature}
		for range 1 + s.IntN(3) {
			entries = append(entries, s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor)))
		}
		s.list(s.Descriptor, s.shuffled(entries)...)
		return harmless()
	}},
	{"broken signatures behind the good one", func(s *scene) finding {
		broken := s.push(s.Descriptor, []byte("no envelope"))
		s.list(s.Descriptor, append([]ocispec.Descriptor{s.signature}, s.shuffled([]ocispec.Descriptor{broken, s.junk(), s.junk()})...)...)
		return harmless()
	}},
	{"a broken envelope before the good signature", func(s *scene) finding {
		s.list(s.Descriptor, s.push(s.Descriptor, []byte("no envelope")), s.signature)
		return harmless()
	}},
	{"a foreign signature is listed a hundred times before the good one", func(s *scene) finding {
		foreign := s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor))
		s.list(s.Descriptor, append(slices.Repeat([]ocispec.Descriptor{foreign}, notation.MaxSignatures), s.signature)...)
		return found(s.mark.tags, verify.Broken)
	}},
	{"an entry that leads nowhere before the good signature", func(s *scene) finding {
		s.list(s.Descriptor, dangling(), s.signature)
		return found(s.mark.tags, verify.Broken)
	}},
	{"a malformed entry before the good signature", func(s *scene) finding {
		s.list(s.Descriptor, s.junk(), s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor)), s.signature)
		return found(s.mark.tags, verify.Broken)
	}},
	{"a malformed entry before the good signature, and the policy is lenient", func(s *scene) finding {
		s.list(s.Descriptor, s.junk(), s.signature)
		return found(s.mark.tags, verify.Broken).at(levels[1+s.IntN(2)])
	}},
	{"a signature with a damaged manifest before the good one", func(s *scene) finding {
		foreign := s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor))
		raw, err := s.registry.Manifest(s.name, foreign.Digest.String())
		must(s.ground.t, err)
		s.bytes("/manifests/"+foreign.Digest.String(), ocispec.MediaTypeImageManifest, s.flipped(raw))
		s.list(s.Descriptor, foreign, s.signature)
		return found(s.mark.tags, verify.Broken)
	}},
	{"a signature that cannot be fetched now before the good one", func(s *scene) finding {
		foreign := s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor))
		s.list(s.Descriptor, foreign, s.signature)
		s.status("/manifests/"+foreign.Digest.String(), http.StatusTooManyRequests)
		return unknown(s.mark.tags)
	}},
	{"a signature that cannot be fetched now behind the good one", func(s *scene) finding {
		foreign := s.push(s.Descriptor, s.envelope(s.ground.stranger, s.Descriptor))
		s.list(s.Descriptor, s.signature, foreign)
		s.status("/manifests/"+foreign.Digest.String(), http.StatusTooManyRequests)
		return harmless()
	}},
	{"an expired one beside the good one, and the policy is lenient", func(s *scene) finding {
		old := s.push(s.Descriptor, s.envelope(s.ground.old, s.Descriptor))
		s.list(s.Descriptor, s.shuffled([]ocispec.Descriptor{s.signature, old})...)
		return harmless().at(levels[1+s.IntN(2)])
	}},
	{"an expired signature binds the tags, a good one binds none, and the policy is lenient", func(s *scene) finding {
		bind := func(r *signature.SignRequest) { r.Payload.Content = s.binding() }
		s.replace(s.envelope(s.ground.old, s.Descriptor, bind), s.envelope(s.ground.twin, s.Descriptor))
		f := found(s.mark.tags, verify.Agree).at(levels[1+s.IntN(2)])
		f.agree, f.flags = true, []string{verify.FlagUnbound}
		return f
	}},
	{"a trusted key's signature in place of the recorded one", func(s *scene) finding {
		s.replace(s.envelope(s.ground.twin, s.Descriptor))
		f := found(s.mark.tags, verify.Agree)
		f.agree, f.ledger, f.flags = true, true, []string{verify.FlagGone, verify.FlagForeign, verify.FlagUnbound}
		return f
	}},
}

// newTag gives an image a tag that it did not have.
func (s *scene) newTag(tag string, to ocispec.Descriptor) {
	must(s.ground.t, s.registry.Tag(s.name, tag, to.Digest.String()))
	s.ground.later(func() { must(s.ground.t, s.registry.Delete(s.name, tag)) })
}

func (s *scene) shuffled(list []ocispec.Descriptor) []ocispec.Descriptor {
	list = slices.Clone(list)
	s.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}
