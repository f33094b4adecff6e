package command

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// scene is where a tamper is done.
type scene struct {
	*place
	*mark
	*rand.Rand
}

// tag returns one of the image's tags.
func (s *scene) tag() string { return s.mark.tags[s.IntN(len(s.mark.tags))] }

// other returns another signed image of the repository.
func (s *scene) other() *mark {
	for {
		if m := s.marks[s.IntN(len(s.marks))]; m != s.mark {
			return m
		}
	}
}

// envelope signs an image with a key, at a time when its certificate was valid.
func (p *place) envelope(by *pki.Identity, image ocispec.Descriptor, more ...func(*signature.SignRequest)) []byte {
	t := p.ground.t
	t.Helper()
	image = ocispec.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size}
	payload, err := json.Marshal(map[string]any{"targetArtifact": image})
	must(t, err)
	signer, err := signature.NewLocalSigner(by.Chain, by.Key)
	must(t, err)
	request := &signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:  signer, SigningScheme: signature.SigningSchemeX509, SigningTime: time.Now(),
	}
	if end := by.Chain[0].NotAfter; end.Before(request.SigningTime) {
		request.SigningTime = end.Add(-time.Hour)
	}
	for _, change := range more {
		change(request)
	}
	env, err := signature.NewEnvelope(p.mediaType)
	must(t, err)
	blob, err := env.Sign(request)
	must(t, err)
	return blob
}

// expired makes the signature's own expiry pass.
func expired(r *signature.SignRequest) {
	r.SigningTime, r.Expiry = time.Now().Add(-30*time.Minute), time.Now().Add(-10*time.Minute)
}

// push attaches an envelope to an image, even if the envelope is over another.
func (p *place) push(image ocispec.Descriptor, envelope []byte) ocispec.Descriptor {
	t := p.ground.t
	t.Helper()
	manifest, desc, err := registry.PackSignature(image, p.mediaType, envelope, map[string]string{
		ocispec.AnnotationCreated: time.Now().Format(time.RFC3339), "io.cncf.notary.x509chain.thumbprint#S256": "[]",
	})
	must(t, err)
	list := p.listedIn(image)
	_, err = p.client.PushSignature(context.Background(), image, p.mediaType, envelope, manifest, false)
	must(t, err)
	p.ground.later(func() {
		must(t, p.registry.Delete(p.name, desc.Digest.String()))
		list()
	})
	return desc
}

// listedIn returns a function that restores the tag with the list of signatures, if the list is in
// a tag.
func (p *place) listedIn(image ocispec.Descriptor) (undo func()) {
	tag := fallback(image)
	now, err := p.registry.Resolve(p.name, tag)
	if err != nil {
		return func() { _ = p.registry.Delete(p.name, tag) } // with the API there is no tag
	}
	return func() { must(p.ground.t, p.registry.Tag(p.name, tag, now.Digest.String())) }
}

func fallback(image ocispec.Descriptor) string {
	return strings.Replace(image.Digest.String(), ":", "-", 1)
}

// list makes the registry list exactly these entries as the image's signatures.
func (p *place) list(image ocispec.Descriptor, entries ...ocispec.Descriptor) {
	t := p.ground.t
	t.Helper()
	body, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: append([]ocispec.Descriptor{}, entries...),
	})
	must(t, err)
	p.bytes(p.listOf(image), ocispec.MediaTypeImageIndex, body)
}

// listOf returns the path of the list of an image's signatures.
func (p *place) listOf(image ocispec.Descriptor) string {
	if p.name == "tags" {
		return "/manifests/" + fallback(image)
	}
	return "/referrers/" + image.Digest.String()
}

// bytes makes the registry answer a GET whose path ends in path with other bytes.
func (p *place) bytes(path, mediaType string, body []byte) {
	p.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, path) {
			return false
		}
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(body)
		return true
	})
}

// status makes the registry answer every request whose path ends in path with an error.
func (p *place) status(path string, code int) {
	p.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !strings.HasSuffix(r.URL.Path, path) {
			return false
		}
		w.WriteHeader(code)
		return true
	})
}

// remove deletes a manifest by its digest, with its tags, until everything is restored.
func (p *place) remove(d ocispec.Descriptor, tags ...string) {
	t := p.ground.t
	t.Helper()
	body, err := p.registry.Manifest(p.name, d.Digest.String())
	must(t, err)
	must(t, p.registry.Delete(p.name, d.Digest.String()))
	p.ground.later(func() {
		_, err := p.registry.PutManifest(p.name, "", d.MediaType, body)
		must(t, err)
		for _, tag := range tags {
			must(t, p.registry.Tag(p.name, tag, d.Digest.String()))
		}
	})
}

// move points a tag at another image.
func (p *place) move(tag string, from, to ocispec.Descriptor) {
	must(p.ground.t, p.registry.Tag(p.name, tag, to.Digest.String()))
	p.ground.later(func() { must(p.ground.t, p.registry.Tag(p.name, tag, from.Digest.String())) })
}

// vouch makes DCT name an image for a tag.
func (p *place) vouch(tag string, d ocispec.Descriptor) {
	p.republish(func() error { return p.trust.Sign(tag, d.Digest.Encoded(), d.Size) })
}

// flipped returns the bytes with one bit changed.
func (s *scene) flipped(b []byte) []byte {
	b = slices.Clone(b)
	b[s.IntN(len(b))] ^= 1 << s.IntN(7)
	return b
}

// rewritten returns an envelope with a text in its payload replaced by another of the same length.
func (p *place) rewritten(envelope []byte, from, to string) []byte {
	t := p.ground.t
	t.Helper()
	changed := bytes.ReplaceAll(envelope, []byte(from), []byte(to))
	if !strings.Contains(p.mediaType, "cose") {
		var e map[string]any
		must(t, json.Unmarshal(envelope, &e))
		payload, err := base64.RawURLEncoding.DecodeString(e["payload"].(string))
		must(t, err)
		e["payload"] = base64.RawURLEncoding.EncodeToString(bytes.ReplaceAll(payload, []byte(from), []byte(to)))
		changed, err = json.Marshal(e)
		must(t, err)
	}
	if bytes.Equal(changed, envelope) {
		t.Fatal("nothing was changed in the envelope")
	}
	return changed
}

// envelopeOf returns the bytes of a stored signature, and the path from which they are fetched.
func (p *place) envelopeOf(signature ocispec.Descriptor) (path string, blob []byte) {
	t := p.ground.t
	t.Helper()
	_, blob, err := p.registry.SignatureBlob(p.name, signature)
	must(t, err)
	raw, err := p.registry.Manifest(p.name, signature.Digest.String())
	must(t, err)
	var m ocispec.Manifest
	must(t, json.Unmarshal(raw, &m))
	return "/blobs/" + m.Layers[0].Digest.String(), blob
}

// junk returns a list entry that points to nothing or makes no sense.
func (s *scene) junk() ocispec.Descriptor {
	d := dangling()
	d.Annotations = map[string]string{"x": fmt.Sprint(s.Uint64())}
	switch s.IntN(4) {
	case 0:
		d.Digest = "sha256:../../x"
	case 1:
		d.Size = -1
	case 2:
		d.MediaType = "text/html"
	}
	return d
}

// dangling returns a list entry that looks like a signature and points to nothing.
func dangling() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: registry.ArtifactType, Size: 100, Digest: digest.FromString("0")}
}
