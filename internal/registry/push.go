package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

var errReadOnly = errors.New("the registry was opened for reading")

// PushSignature stores the envelope and exactly these manifest bytes beside the image. If the registry does not list
// them itself, it lists them under the referrers tag. Repeating it is harmless. Pushes for one image wait for each
// other; those for different images do not.
//
// inTag says where the caller looked for signatures of the image, as reported by Signatures. If they are listed
// elsewhere, the error is ErrListMoved and nothing is stored.
//
// After any other error something may be stored. Its cause stays reachable (*errcode.ErrorResponse). ErrIntegrity
// means that the registry stored something else.
//
// told reports whether a registry with the referrers API confirmed itself, with OCI-Subject, that the manifest refers to
// the image. Otherwise only the list shows it.
func (r *Repository) PushSignature(ctx context.Context, subject ocispec.Descriptor, mediaType string, envelope, manifest []byte, inTag bool) (told bool, err error) {
	defer func() { err = classed(err) }()
	doing := "pushing signature of " + printable(subject.Digest)
	if r.readOnly {
		return false, r.failed(doing, errReadOnly)
	}
	if err := checkPacked(subject, mediaType, envelope, manifest); err != nil {
		return false, r.failed(doing, err)
	}
	unlock, err := r.subjects.lock(ctx, subject.Digest.String())
	if err != nil {
		return false, r.failed(doing, err)
	}
	defer unlock()
	told, err = r.push(r.scoped(ctx), subject, mediaType, envelope, manifest, inTag)
	return told, r.failed(doing, err)
}

// push sends the parts in the order that never leaves a manifest without its blobs.
func (r *Repository) push(ctx context.Context, subject ocispec.Descriptor, mediaType string, envelope, manifest []byte, inTag bool) (told bool, err error) {
	if err := r.checkList(ctx, subject.Digest, inTag); err != nil {
		return false, err
	}
	if err := r.config.do(ctx, func() error { return r.pushConfig(ctx) }); err != nil {
		return false, fmt.Errorf("pushing the config: %w", err)
	}
	if err := r.pushBlob(ctx, describe(mediaType, envelope), envelope); err != nil {
		return false, fmt.Errorf("pushing the envelope: %w", err)
	}
	desc, err := listEntry(manifest)
	if err != nil {
		return false, err
	}
	put := func() error {
		// Do not use oras-go here: it takes any 404 for a missing list, and the new list it makes hides the entries
		// of the old one.
		header, own, err := r.put(ctx, desc.Digest.String(), desc.MediaType, manifest)
		if err != nil {
			return err
		}
		// SPEC (OCI distribution, pushing manifests with subject): "This [header] indicates to the
		// client that the registry processed the request's subject."
		processed := header.Get(ociSubject) != "" && !r.forced
		switch {
		case r.api.Load() && processed:
			// What it redirects a push to may keep another list than its own.
			told = own && slices.Equal(header.Values(ociSubject), []string{subject.Digest.String()})
			return r.rememberAPI() // nothing else lists this signature
		case r.api.Load():
			return nil
		case processed:
			return r.subjectTold()
		}
		if err := r.listSignature(ctx, subject.Digest, desc); err != nil {
			return fmt.Errorf("adding it to the list: %w", err)
		}
		return nil
	}
	err = put()
	if listRefused(err, subject.Digest) {
		// Someone deleted a signature but left its entry: the registry would keep rejecting the list.
		if changed, unlistErr := r.unlistGone(ctx, subject.Digest); unlistErr != nil {
			err = fmt.Errorf("%w; and taking off the list what is gone: %w", err, unlistErr)
		} else if changed {
			err = put()
		}
	}
	if err == nil {
		return told, nil
	}
	if hasCode(err, errcode.ErrorCodeManifestBlobUnknown) || hasCode(err, errcode.ErrorCodeBlobUnknown) {
		// Garbage was collected since our push, or uploads in one request stored nothing. The next try starts over.
		r.config.forget()
		r.uploads.Store(inTwo)
	}
	return false, fmt.Errorf("pushing the manifest: %w", err)
}

// ociSubject is the header by which a registry confirms to which image a manifest refers.
const ociSubject = "OCI-Subject"

// listEntry describes a signature manifest as its image's list does.
func listEntry(manifest []byte) (ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := describe(ocispec.MediaTypeImageManifest, manifest)
	desc.ArtifactType, desc.Annotations = ArtifactType, m.Annotations
	return desc, nil
}

// listRefused reports whether the registry rejected the list under the referrers tag because an entry points to
// nothing: docker-registry answers 400, others 404.
func listRefused(err error, image digest.Digest) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && answer.Method == http.MethodPut &&
		(answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusNotFound) &&
		answer.URL != nil && strings.HasSuffix(answer.URL.Path, "/manifests/"+fallbackTag(image))
}

// pushConfig stores the config blob, once per repository and before anything else: many concurrent pushes of the same
// blob made a registry answer 500.
func (r *Repository) pushConfig(ctx context.Context) error {
	exists, err := r.hasBlob(ctx, configDescriptor().Digest)
	if err != nil || exists {
		return err
	}
	return r.pushBlob(ctx, configDescriptor(), emptyConfig)
}

// pushBlob stores a blob. It does not ask first, since the registry never has a new signature.
func (r *Repository) pushBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	err := r.upload(ctx, desc, data)
	if err == nil || !uploadGone(err) {
		return err
	}
	// If the answer to an upload's last request is lost and transport repeats it, the session is gone because the
	// upload succeeded.
	if exists, existsErr := r.hasBlob(ctx, desc.Digest); existsErr == nil && exists {
		return nil
	}
	return err
}

// hasBlob reports whether the registry says that it has a blob. If it does not say, the blob is stored again.
func (r *Repository) hasBlob(ctx context.Context, d digest.Digest) (bool, error) {
	resp, err := r.ask(ctx, http.MethodHead, "/blobs/"+d.String(), "")
	if isNotFound(err) || headRefused(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close() // HEAD: empty
	return true, aboutAnother(resp.Header, d)
}

// uploadGone reports whether the registry does not know an upload session, or no longer does.
func uploadGone(err error) bool {
	return hasCode(err, errcode.ErrorCodeBlobUploadUnknown) || hasCode(err, errcode.ErrorCodeBlobUploadInvalid)
}
