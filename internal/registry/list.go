package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// ArtifactType is the artifact type of Notation signatures.
const ArtifactType = "application/vnd.cncf.notary.signature"

// Bounds of one list. Anyone who may push can plant more. What lies beyond would be unknown, so exceeding them is an
// error.
const (
	maxSignatures = 1000
	maxListed     = 10 * maxSignatures // including repeated and other entries
	maxPages      = 100                // a registry may page before it filters, and every page costs a request
)

// Signatures lists the Notation signatures of the image, each once, and reports whether the list is in
// a tag: see AsListed.
func (r *Repository) Signatures(ctx context.Context, subject ocispec.Descriptor) (list []ocispec.Descriptor, inTag bool, err error) {
	defer func() { err = classed(err) }()
	all, inTag, err := r.AsListed(ctx, subject)
	list = Distinct(all)
	if err == nil && len(list) > maxSignatures {
		err = r.failed("listing signatures of "+printable(subject.Digest), fmt.Errorf("more than %d are listed", maxSignatures))
	}
	if err != nil {
		return nil, false, err
	}
	return list, inTag, nil
}

// Distinct returns the signatures of a list, each once. Some registries falsely claim to have filtered, and some
// repeat the end of a page.
func Distinct(listed []ocispec.Descriptor) []ocispec.Descriptor {
	type entry struct { // what distinguishes two entries
		mediaType string
		digest    digest.Digest
		size      int64
	}
	seen := make(map[entry]bool)
	var list []ocispec.Descriptor
	for _, d := range listed {
		is := entry{d.MediaType, d.Digest, d.Size}
		if !seen[is] && IsSignature(d) {
			seen[is] = true
			list = append(list, d)
		}
	}
	return list
}

// IsSignature reports whether a listed entry does not claim to be something else.
func IsSignature(listed ocispec.Descriptor) bool {
	return listed.ArtifactType == "" || listed.ArtifactType == ArtifactType
}

// AsListed lists what the registry names as Notation signatures of the image, in its order and with its repetitions,
// as notation sees it: every page of the referrers API or, without the API, the index under the referrers tag. Each
// call asks again. An error means unknown, never none. Entries are as listed, annotations included, and prove
// nothing: FetchSignature refuses malformed ones. inTag reports whether the list came from the tag, for CheckList.
func (r *Repository) AsListed(ctx context.Context, subject ocispec.Descriptor) (list []ocispec.Descriptor, inTag bool, err error) {
	defer func() { err = classed(err) }()
	doing := "listing signatures of " + printable(subject.Digest)
	if err := subject.Digest.Validate(); err != nil {
		return nil, false, r.failed(doing, err)
	}
	if err := r.probe(ctx, subject.Digest); err != nil {
		return nil, false, r.failed(doing, err)
	}
	inTag = !r.api.Load() // another goroutine may discover the API meanwhile
	err = r.referrers(ctx, subject, inTag, func(page []ocispec.Descriptor) error {
		if list = append(list, page...); len(list) > maxListed {
			return fmt.Errorf("more than %d are listed", maxListed)
		}
		return nil
	})
	if err != nil {
		return nil, false, r.failed(doing, err)
	}
	return list, inTag, nil
}

// referrers calls each with the entries of the image's list, page by page. It reads the referrers tag itself, because
// oras-go takes any 404 there for an image without signatures.
func (r *Repository) referrers(ctx context.Context, subject ocispec.Descriptor, inTag bool, each func([]ocispec.Descriptor) error) error {
	if !inTag {
		err := r.remote.Referrers(r.scoped(ctx), subject, ArtifactType, each)
		if errors.Is(err, errdef.ErrUnsupported) { // oras-go returns it for any 404
			return errHiddenAPI
		}
		if err != nil {
			return err
		}
		return r.rememberAPI() // not earlier: what looked like the API only for a while would be remembered forever
	}
	list, err := r.fallbackList(ctx, subject.Digest)
	if lookup.IsAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(list, &index); err != nil {
		return fmt.Errorf("%w: tag %s: %w", errNoList, fallbackTag(subject.Digest), err)
	}
	// SPEC (OCI distribution, referrers tag schema): the client filters itself.
	return each(slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.ArtifactType != ArtifactType }))
}

// probe finds out, once per repository, whether it has the referrers API. oras-go could too. But while it does not
// know yet, it takes a list that breaks off on its second page for a registry without the API, and after a push whose
// answer lacks OCI-Subject it takes the API for missing.
func (r *Repository) probe(ctx context.Context, d digest.Digest) error {
	return r.probed.do(ctx, func() error {
		there, err := r.findsAPI(ctx, d)
		if err == nil && there {
			err = r.learnAPI()
		}
		if err != nil {
			return fmt.Errorf("asking for the referrers API: %w", err)
		}
		return nil
	})
}

// findsAPI reports whether the registry has the referrers API. Registries without it answer 404 as for any path, but
// a proxy may do so for a while too. Signatures that the API lists would then be overlooked and made a second time.
// So two questions, with a pause in between, must be answered with 404, and this repository must never have shown the
// API before.
//
// A host may route its repositories to several registries, of which only some have the API. If another repository of
// the host has it, findsAPI asks once more, after a longer pause.
func (r *Repository) findsAPI(ctx context.Context, image digest.Digest) (bool, error) {
	there, err := r.asksReferrers(ctx, image)
	if there || err != nil {
		return there, err
	}
	known, err := r.knownAPI()
	if err != nil {
		return false, err
	}
	more, err := r.hostHasAPI()
	if err != nil {
		return false, err
	}
	pauses := []time.Duration{r.of.pause(), 4 * r.of.pause()}
	switch {
	case known:
		pauses = []time.Duration{0}
	case !more:
		pauses = pauses[:1]
	}
	for _, pause := range pauses {
		if err := retry.Wait(ctx, pause); err != nil {
			return false, err
		}
		// SPEC (OCI distribution, listing referrers): an image that does not exist has an empty list.
		if there, err = r.asksReferrers(ctx, nothing); there || err != nil {
			return there, err
		}
	}
	if known {
		return false, errHiddenAPI
	}
	r.askedMore.Store(more)
	return false, nil
}

// knownAPI reports whether the repository had the API earlier, in this process or another.
func (r *Repository) knownAPI() (bool, error) {
	if r.hadAPI.Load() {
		return true, nil
	}
	memory := r.of.memory()
	if memory == nil {
		return false, nil
	}
	return memory.HasReferrers(r.place())
}

// hostHasAPI reports whether any repository of the host had the API earlier.
func (r *Repository) hostHasAPI() (bool, error) {
	if _, had := r.of.hadAPI.Load(r.host()); had {
		return true, nil
	}
	memory := r.of.memory()
	if memory == nil {
		return false, nil
	}
	return memory.HostHasReferrers(r.host())
}

// hasHadAPI notes, for this process, that the repository, and so its host, has or had the API.
func (r *Repository) hasHadAPI() {
	r.hadAPI.Store(true)
	r.of.hadAPI.Store(r.host(), struct{}{})
}

// learnAPI notes, for this process, that the repository has the API.
func (r *Repository) learnAPI() error {
	r.hasHadAPI()
	r.api.Store(true)
	return r.remote.SetReferrersCapability(true)
}

// rememberAPI records it for later runs too, which then do not believe a 404.
func (r *Repository) rememberAPI() error {
	if memory := r.of.memory(); memory != nil {
		return memory.SetReferrers(r.place())
	}
	return nil
}

// CheckList returns an error if signatures of the image may be listed elsewhere than where the caller read its list,
// as reported by Signatures. If there seemed to be no referrers API, it asks again, and returns ErrListMoved if the
// API exists but the list is from a tag. Call it before making a signature, before listing one in a tag, and before
// saying that an image has no trusted one.
func (r *Repository) CheckList(ctx context.Context, subject ocispec.Descriptor, inTag bool) (err error) {
	defer func() { err = classed(err) }()
	return r.failed("looking again where signatures of "+printable(subject.Digest)+" are listed", r.checkList(ctx, subject.Digest, inTag))
}

func (r *Repository) checkList(ctx context.Context, image digest.Digest, inTag bool) error {
	if err := r.probe(ctx, image); err != nil || r.forced {
		return err
	}
	if err := r.askMore(ctx, image); err != nil {
		return err
	}
	if !r.api.Load() {
		there, err := r.asksReferrers(ctx, image)
		if err != nil {
			return err
		}
		if there {
			inTag = true // wherever the caller looked, that was earlier
			r.wavered.Store(true)
			if err := r.learnAPI(); err != nil {
				return err
			}
		}
	}
	if inTag && r.api.Load() { // another goroutine may have found the API, with another image
		return ErrListMoved
	}
	return nil
}

// askMore asks for the API again, as often as for a host with the API, if another repository of the host has shown it
// only since this one was asked.
func (r *Repository) askMore(ctx context.Context, image digest.Digest) error {
	if r.api.Load() || r.askedMore.Load() {
		return nil
	}
	if more, err := r.hostHasAPI(); err != nil || !more {
		return err
	}
	return r.more.do(ctx, func() error {
		there, err := r.findsAPI(ctx, image)
		if err != nil || !there {
			return err
		}
		r.wavered.Store(true)
		return r.learnAPI()
	})
}

// subjectTold handles a push that was answered as if by a registry with the referrers API, although it seemed to have
// none. Nothing continues here until the API answers.
func (r *Repository) subjectTold() error {
	r.wavered.Store(true)
	r.hasHadAPI()
	if err := r.rememberAPI(); err != nil {
		return err
	}
	r.probed.forget()
	return errHiddenAPI
}

// ErrListMoved is returned if signatures were looked for in a tag, but the referrers API answers now. From then on
// Signatures asks the API.
var ErrListMoved = errors.New("the registry seemed to have no referrers API, but now it answers: signatures are listed there")

var (
	errHiddenAPI  = errors.New("the registry has the referrers API, and it answers 404 now: which signatures there are is unknown")
	errNoList     = errors.New("the referrers tag does not hold a list of signatures")
	errRefusedAPI = errors.New("the registry does not say whether it has the referrers API")
)

// asksReferrers asks once, and reports whether the API answered. A registry without the API answers 404, as for any
// path.
//
// SPEC (OCI distribution, listing referrers): "If the registry does not support the
// referrers API, it MUST return 404 Not Found."
func (r *Repository) asksReferrers(ctx context.Context, d digest.Digest) (bool, error) {
	path := "/referrers/" + d.String() + "?artifactType=" + url.QueryEscape(ArtifactType)
	resp, err := r.ask(ctx, http.MethodGet, path, ocispec.MediaTypeImageIndex)
	if err != nil {
		switch statusOf(err) {
		case http.StatusNotFound:
			if !hasCode(err, errcode.ErrorCodeNameUnknown) {
				return false, nil
			}
		case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone,
			http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		default:
			return false, err
		}
		return false, fmt.Errorf("%w: %w", errRefusedAPI, err)
	}
	// Only the kind of answer matters. Reading the body lets the connection be reused.
	_, _ = io.CopyN(io.Discard, resp.Body, maxProblem)
	_ = resp.Body.Close()
	switch mediaType := transport.MediaType(resp.Header); mediaType {
	case ocispec.MediaTypeImageIndex:
		return true, nil
	case "application/json":
		return false, nil // an old Harbor; notation uses the tag then
	default:
		return false, fmt.Errorf("%w: 200 with content type %q", ErrNotRegistry, mediaType)
	}
}
