package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// fallbackTag returns the tag where clients, oras-go among them, keep the list of an image's signatures if the
// registry has no referrers API.
func fallbackTag(image digest.Digest) string {
	return image.Algorithm().String() + "-" + image.Encoded()
}

// unlist removes a signature from the list under the referrers tag, if it is there. It looks even if the registry has
// the API, since the signature may have been pushed with the tag forced. All other entries and members of the list
// stay as they are, byte for byte.
//
// A list that becomes empty stays. All empty lists are the same bytes, so deleting it by digest would delete every
// other image's empty list too.
func (r *Repository) unlist(ctx context.Context, image, signature digest.Digest) error {
	old, err := r.fallbackList(ctx, image)
	if lookup.IsAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	without, changed, err := withoutEntries(old, func(d ocispec.Descriptor) bool {
		return d.Digest == signature && (d.ArtifactType == ArtifactType || d.ArtifactType == "")
	})
	if err != nil || !changed {
		return err
	}
	return r.putList(ctx, image, without)
}

// unlistGone removes from the list every entry of which the registry itself says that it does not exist. Registries
// that check lists refuse every new list with such an entry, and notation gives up at it. Entries that exist or are
// unknown stay.
func (r *Repository) unlistGone(ctx context.Context, image digest.Digest) (changed bool, err error) {
	old, err := r.fallbackList(ctx, image)
	if lookup.IsAbsent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	without, changed, err := withoutEntries(old, func(d ocispec.Descriptor) bool {
		if d.Digest.Validate() != nil {
			return false
		}
		_, err := r.manifestOf(ctx, d.Digest)
		return lookup.IsAbsent(err)
	})
	// What was not found out for lack of time must not look as if it had been.
	if err = errors.Join(err, ctx.Err()); err != nil || !changed {
		return false, err
	}
	return true, r.putList(ctx, image, without)
}

// fallbackList fetches the list under the referrers tag. The error is a [*lookup.AbsentError] if the registry itself
// says that it has no such tag, or if the tag leads to the image itself, as in GitLab. Anything else that is not a
// list may hide one, and is another error.
func (r *Repository) fallbackList(ctx context.Context, image digest.Digest) ([]byte, error) {
	tag := fallbackTag(image)
	mediaType, list, err := r.get(ctx, "/manifests/"+tag, acceptManifests, maxManifest)
	switch {
	case err != nil:
		return nil, r.absence(ctx, err, "tag", tag)
	case digest.FromBytes(list) == image:
		return nil, &lookup.AbsentError{By: lookup.Registry, What: "list of signatures", Err: errors.New("the tag " + tag + " leads to the image itself")}
	case mediaType != ocispec.MediaTypeImageIndex:
		return nil, fmt.Errorf("%w: tag %s has content of type %q", errNoList, tag, mediaType)
	}
	if _, _, err := readList(list); err != nil {
		return nil, fmt.Errorf("%w: tag %s: %w", errNoList, tag, err)
	}
	if entries, ok := listsReferrers(list); ok {
		r.lists.Store(tag, entries)
	}
	return list, nil
}

// IsReferrersList reports whether a tag holds only the list of referrers, such as signatures, of the image that the
// tag is named after, and so nothing that could be run. An entry's own words prove nothing: every entry's manifest
// must have that image as its subject. It sends no request for what it has read before. An error means that it is
// unknown.
func (r *Repository) IsReferrersList(ctx context.Context, tag string) (_ bool, err error) {
	defer func() { err = classed(err) }()
	if !fallbackPattern.MatchString(tag) {
		return false, nil
	}
	list, err := r.isReferrersList(ctx, tag)
	if err != nil && r.unsignedTag(ctx, tag) {
		return true, nil
	}
	return list, r.failed("looking what tag "+tag+" holds", err)
}

// unsignedTag reports whether what a tag leads to, a list or an image, has no signature, so that nobody trusts it.
// Anything unknown does not count as unsigned.
func (r *Repository) unsignedTag(ctx context.Context, tag string) bool {
	d, found := r.ResolveTag(ctx, tag).Value()
	if !found {
		return false
	}
	index := ocispec.Descriptor{Digest: d}
	signatures, inTag, err := r.AsListed(ctx, index)
	return err == nil && len(signatures) == 0 && r.CheckList(ctx, index, inTag) == nil
}

func (r *Repository) isReferrersList(ctx context.Context, tag string) (bool, error) {
	entries, read := r.lists.Load(tag)
	if !read {
		mediaType, content, err := r.get(ctx, "/manifests/"+tag, acceptManifests, maxManifest)
		if err != nil {
			return false, r.absence(ctx, err, "tag", tag)
		}
		digests, ok := listsReferrers(content)
		if !ok || mediaType != ocispec.MediaTypeImageIndex {
			return false, nil
		}
		entries = digests
	}
	for _, d := range entries.([]digest.Digest) {
		subject, err := r.subjectOf(ctx, d)
		switch {
		case lookup.IsAbsent(err): // a leftover that nobody can run
		case err != nil:
			return false, err
		case subject == "" || !strings.HasPrefix(fallbackTag(subject), tag):
			return false, nil
		}
	}
	return true, nil
}

// subjectOf returns the image that a manifest refers to. It is empty if it refers to none, or is an image itself.
func (r *Repository) subjectOf(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	if subject, known := r.referrer.Load(d); known {
		return subject.(digest.Digest), nil
	}
	_, data, err := r.fetchManifest(ctx, ocispec.Descriptor{Digest: d})
	if err != nil {
		return "", r.proven(ctx, r.absence(ctx, err, "manifest", string(d)))
	}
	return r.noteReferrer(d, data), nil
}

// noteReferrer remembers which image a manifest refers to, and returns it.
func (r *Repository) noteReferrer(d digest.Digest, manifest []byte) digest.Digest {
	var m referrer
	if json.Unmarshal(manifest, &m) != nil || m.Subject == nil || m.Subject.Digest.Validate() != nil ||
		m.Config != nil && slices.Contains(imageConfigs, m.Config.MediaType) {
		return ""
	}
	r.referrer.Store(d, m.Subject.Digest)
	return m.Subject.Digest
}

// listsReferrers reports whether an index looks like the list of an image's referrers, and returns their digests:
// each entry has an artifact's type, and none is an image that a client would choose to run.
func listsReferrers(index []byte) ([]digest.Digest, bool) {
	var list ocispec.Index
	if err := json.Unmarshal(index, &list); err != nil || list.Manifests == nil {
		return nil, false
	}
	entries := []digest.Digest{}
	for _, d := range list.Manifests {
		if d.Platform != nil || d.ArtifactType == "" || slices.Contains(imageConfigs, d.ArtifactType) ||
			d.MediaType != ocispec.MediaTypeImageManifest && d.MediaType != mediaTypeArtifact {
			return nil, false
		}
		if d.Digest.Validate() == nil { // otherwise nothing could be run
			entries = append(entries, d.Digest)
		}
	}
	return entries, true
}

// imageConfigs are the config media types of images. A list shows them in place of a missing artifact type.
var imageConfigs = []string{ocispec.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json"}

// listSignature adds a signature to the list under the referrers tag. All other entries and members of the list stay
// as they are. It makes a new list only if the registry itself says that there is none: a new one would hide all
// entries of an old one.
func (r *Repository) listSignature(ctx context.Context, image digest.Digest, signature ocispec.Descriptor) error {
	list, err := r.fallbackList(ctx, image)
	if lookup.IsAbsent(err) {
		list, err = json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}})
	}
	if err != nil {
		return err
	}
	list, changed, err := withEntry(list, signature)
	if err != nil || !changed {
		return err
	}
	return r.putList(ctx, image, list)
}

func (r *Repository) putList(ctx context.Context, image digest.Digest, list []byte) error {
	_, _, err := r.put(ctx, fallbackTag(image), ocispec.MediaTypeImageIndex, list)
	return err
}

// put stores a manifest under a tag or its digest, and returns the response header. own is false if the registry has
// redirected the push.
func (r *Repository) put(ctx context.Context, reference, mediaType string, manifest []byte) (h http.Header, own bool, err error) {
	req, err := http.NewRequestWithContext(r.scoped(ctx), http.MethodPut, r.base+"/manifests/"+reference, bytes.NewReader(manifest))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated || resp.Request.Method != http.MethodPut { // a redirect may make it a GET
		return nil, false, problem(resp)
	}
	return resp.Header, resp.Request.Response == nil, aboutAnother(resp.Header, digest.FromBytes(manifest))
}

// readList parses a list into its members and its entries.
func readList(index []byte) (all map[string]json.RawMessage, entries []json.RawMessage, err error) {
	if err = json.Unmarshal(index, &all); err == nil {
		err = json.Unmarshal(all["manifests"], &entries)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the list of signatures: %w", err)
	}
	return all, entries, nil
}

// withEntry returns the index with one more entry, unless it has one with that digest.
func withEntry(index []byte, entry ocispec.Descriptor) (with []byte, changed bool, err error) {
	all, entries, err := readList(index)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		var d ocispec.Descriptor
		if err := json.Unmarshal(e, &d); err == nil && d.Digest == entry.Digest {
			return nil, false, nil
		}
	}
	raw, err := json.Marshal(entry)
	if err != nil {
		return nil, false, err
	}
	if all["manifests"], err = json.Marshal(append(entries, raw)); err != nil {
		return nil, false, err
	}
	with, err = json.Marshal(all)
	return with, true, err
}

// withoutEntries returns the index without the entries for which off returns true.
func withoutEntries(index []byte, off func(ocispec.Descriptor) bool) (without []byte, changed bool, err error) {
	all, entries, err := readList(index)
	if err != nil {
		return nil, false, err
	}
	kept := []json.RawMessage{} // an index always has a list, even if empty
	for _, e := range entries {
		var d ocispec.Descriptor
		if err := json.Unmarshal(e, &d); err == nil && off(d) {
			changed = true
			continue
		}
		kept = append(kept, e)
	}
	if !changed {
		return nil, false, nil
	}
	if all["manifests"], err = json.Marshal(kept); err != nil {
		return nil, false, err
	}
	without, err = json.Marshal(all)
	return without, true, err
}
