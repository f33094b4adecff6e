package main

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/migrate/verify"
)

// shape describes a repository and creates it.
type shape struct {
	name string
	old  bool // in the registry without the referrers API
	tell string
	make func(*repository)
}

// shapes returns the twelve repositories of the demonstration. The middle of the run is in the registry with the tag
// schema, where a kill does the most harm: there a signature is first stored and then listed.
func shapes() []shape {
	return []shape{
		{"shop/web", false, "signer and releases, several tags on an image", func(r *repository) { r.delegated(30, "alice") }},
		{"shop/api", false, "two signers and releases", func(r *repository) { r.delegated(24, "alice", "bob") }},
		{"legacy/portal", true, "some tags from before there were signers", (*repository).grown},
		{"legacy/ledger", true, "Docker images and manifest lists", (*repository).docker},
		{"legacy/jobs", true, "signer and releases", func(r *repository) { r.delegated(20, "carol") }},
		{"shop/search", false, "plain targets, no signers", func(r *repository) { r.plain(18) }},
		{"shop/cart", false, "a tag moved and an image deleted after signing", (*repository).moving},
		{"base/os", false, "OCI indexes for two platforms", (*repository).indexes},
		{"shop/mail", false, "metadata EXPIRED: nothing may be signed", (*repository).expired},
		{"legacy/billing", true, "releases TAMPERED with, old digests below it", (*repository).tampered},
		{"legacy/tools", true, "some tags in a signer's own role only", (*repository).signerOnly},
		{"legacy/db", true, "plain targets, no signers", func(r *repository) { r.plain(16) }},
	}
}

// publish makes all repositories.
func (s *scene) publish() error {
	for _, sh := range shapes() {
		r, err := s.newRepository(sh)
		if err != nil {
			return err
		}
		if sh.make(r); r.err != nil {
			return r.err
		}
		s.repositories = append(s.repositories, r)
	}
	return nil
}

func (s *scene) newRepository(sh shape) (*repository, error) {
	registry := s.modern
	if sh.old {
		registry = s.old
	}
	gun := registry.Host() + "/" + sh.name
	trust, err := s.notary.NewRepository(gun)
	if err != nil {
		return nil, fmt.Errorf("making trust data of %s: %w", gun, err)
	}
	return &repository{
		gun: gun, name: sh.name, tell: sh.tell, registry: registry, trust: trust, tags: map[string]verify.Class{},
	}, nil
}

// tagsOf returns the tags of the nth of many images: each has a version, every fourth is also the newest of its
// series, and the last gets all remaining tags.
func tagsOf(nth, many int) []string {
	tags := []string{fmt.Sprintf("1.%d.%d", nth/4, nth%4)}
	if nth%4 == 3 || nth == many-1 {
		tags = append(tags, fmt.Sprintf("1.%d", nth/4))
	}
	if nth == many-1 {
		tags = append(tags, "1", "latest")
	}
	return tags
}

func (r *repository) series(many int) {
	for i := range many {
		r.sign(r.put(""), tagsOf(i, many))
	}
	r.publish()
}

func (r *repository) plain(many int) { r.series(many) }

func (r *repository) delegated(many int, signers ...string) {
	for _, s := range signers {
		r.signer(s)
	}
	r.series(many)
}

// moving: DCT's digest is signed although the tag has moved; what was deleted cannot be.
func (r *repository) moving() {
	r.delegated(14, "alice")
	stable := r.put("")
	r.sign(stable, []string{"stable"})
	withdrawn := r.put("")
	r.sign(withdrawn, []string{"0.9.0"})
	r.publish()
	// Somebody pushes without signing, somebody else cleans up.
	r.alien = append(r.alien, r.put("stable").Digest)
	r.tags["stable"] = verify.Moved
	r.try("deleting an image", r.registry.Delete(r.name, withdrawn.Digest.String()))
	r.disown(withdrawn.Digest)
	r.tags["0.9.0"] = verify.Gone
	r.gone++
}

func (r *repository) indexes() {
	r.signer("alice")
	const many = 14
	for i := range many {
		r.sign(r.putList("", ocispec.MediaTypeImageIndex), tagsOf(i, many))
	}
	r.publish()
}

func (r *repository) expired() {
	r.plain(5)
	r.try("letting targets expire", r.trust.Expire("targets"))
	r.unreadable(verify.Expired)
}

// grown: tags from before the first signer stay in targets, where docker still finds them.
func (r *repository) grown() {
	for i := range 6 {
		r.sign(r.put(""), []string{fmt.Sprintf("0.%d", i)})
	}
	r.publish()
	r.delegated(14, "dave")
}

func (r *repository) docker() {
	const images, lists = 16, 6
	for i := range images {
		r.sign(r.putDocker(""), tagsOf(i, images))
	}
	for i := range lists {
		r.sign(r.putList("", dockerList), []string{fmt.Sprintf("2.%d", i)})
	}
	r.publish()
}

// tampered: the same tags are in targets with old digests. If releases does not verify, docker's client silently uses
// those; nothing here may be signed.
func (r *repository) tampered() {
	tags := []string{"1.0", "1.1", "latest"}
	for _, tag := range tags {
		r.sign(r.put(""), []string{tag})
	}
	r.publish()
	r.signer("mallory")
	for _, tag := range tags {
		r.sign(r.put(""), []string{tag})
	}
	r.publish()
	r.try("tampering", r.trust.BadSignature("targets/releases"))
	r.unreadable(verify.Untrusted)
}

// signerOnly: docker does not trust a tag that only a signer's own role names.
func (r *repository) signerOnly() {
	r.delegated(12, "erin")
	for _, tag := range []string{"nightly", "erin-test"} {
		d := r.put("")
		r.sign(d, []string{tag}, "targets/erin")
		r.disown(d.Digest)
		r.tags[tag] = verify.NoneSigned
	}
	r.publish()
}
