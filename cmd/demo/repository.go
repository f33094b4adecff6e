package main

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// repository is one repository with its trust data, and the expected result of a migration. The methods that publish
// keep the first error in err and do nothing after it.
type repository struct {
	gun      string // host/name
	name     string // in its registry
	tell     string // its shape, in a line
	registry *registrytest.Registry
	trust    *notarytest.Repository
	err      error

	class   verify.Class            // of the whole repository; empty: it can be read
	tags    map[string]verify.Class // of each tag
	vouched []digest.Digest         // must have exactly one signature
	alien   []digest.Digest         // must have none
	gone    int                     // vouched for, and no longer in the registry
	stored  int                     // images
	signed  int                     // by DCT, whether to be signed again or not
}

func (r *repository) try(doing string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s of %s: %w", doing, r.gun, err)
	}
}

// seed makes each image different.
func (r *repository) seed() string {
	r.stored++
	return fmt.Sprintf("%s %d", r.gun, r.stored)
}

// put stores an image under a tag, or by digest only.
func (r *repository) put(tag string) ocispec.Descriptor {
	d, err := r.registry.PutImage(r.name, tag, r.seed())
	r.try("storing an image", err)
	return d
}

// putDocker is put in Docker's own format.
func (r *repository) putDocker(tag string) ocispec.Descriptor {
	d, err := r.registry.PutDockerImage(r.name, tag, r.seed())
	r.try("storing an image", err)
	return d
}

const dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"

// putList stores two untagged images and a list of them. DCT vouches only for the list, so the images in it are not
// to be signed.
func (r *repository) putList(tag, mediaType string) ocispec.Descriptor {
	put := r.put
	if mediaType == dockerList {
		put = r.putDocker
	}
	list := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType}
	for _, architecture := range []string{"amd64", "arm64"} {
		image := put("")
		r.alien = append(r.alien, image.Digest)
		image.Platform = &ocispec.Platform{OS: "linux", Architecture: architecture}
		list.Manifests = append(list.Manifests, image)
	}
	body, err := json.Marshal(list)
	r.try("making a list", err)
	d, err := r.registry.PutManifest(r.name, tag, mediaType, body)
	r.try("storing a list", err)
	return d
}

// sign gives an image more tags and signs them all in the given roles, or where docker would if none is given. It
// expects both sides to agree in the end.
func (r *repository) sign(d ocispec.Descriptor, tags []string, roles ...string) {
	for _, tag := range tags {
		r.try("tagging", r.registry.Tag(r.name, tag, d.Digest.String()))
		r.try("signing "+tag, r.trust.Sign(tag, d.Digest.Encoded(), d.Size, roles...))
		r.tags[tag] = verify.Agree
	}
	r.vouched = append(r.vouched, d.Digest)
	r.signed++
}

func (r *repository) signer(name string) { r.try("adding a signer", r.trust.AddSigner(name)) }

func (r *repository) publish() { r.try("publishing trust data", r.trust.Publish()) }

// unreadable expects the trust data to be refused as a whole, so that nothing is signed.
func (r *repository) unreadable(class verify.Class) {
	r.class, r.tags = class, nil
	r.alien, r.vouched = append(r.alien, r.vouched...), nil
}

// disown expects an image not to be signed after all.
func (r *repository) disown(d digest.Digest) {
	for i, v := range r.vouched {
		if v == d {
			r.vouched = append(r.vouched[:i], r.vouched[i+1:]...)
			break
		}
	}
	r.alien = append(r.alien, d)
}
