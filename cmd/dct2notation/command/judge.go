package command

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
)

// judge asks the verifier about each signature of an image, so that one that is broken
// does not hide a good one.
type judge struct {
	client   *registry.Client
	verifier *notation.Verifier
}

// maxSignatures is how many signatures of an image are judged, as many as notation verify
// looks at by default.
const maxSignatures = 100

func (j *judge) Judge(ctx context.Context, image migrate.Image) (migrate.Verdict, error) {
	var v migrate.Verdict
	r, err := j.client.Repository(image.Repository)
	if err != nil {
		return v, classed(err)
	}
	list, err := r.Signatures(ctx, image.Descriptor)
	if err != nil {
		return v, classed(err)
	}
	v.Signatures = len(list)
	for _, m := range list {
		v.Listed = append(v.Listed, m.Digest.String())
	}
	var best *notation.Verdict
	var lost error // of one that may be good: then it is unknown, unless another is
	for _, m := range list[:min(len(list), maxSignatures)] {
		one, err := j.judgeOne(ctx, r, image, m)
		switch {
		case ctx.Err() != nil:
			return v, ctx.Err()
		case err != nil && lost != nil:
			return v, lost // one in trouble is enough to wait for
		case err != nil:
			lost = err
			continue
		}
		if one.Strict() && (best == nil || !best.Strict()) {
			v.Signed = nil // if no leniency is needed, what binds needs none either
		}
		if one.Trusted && (one.Strict() || best == nil || !best.Strict()) {
			v.Trusted, v.Signed = true, append(v.Signed, one.Metadata)
		}
		if best == nil || one.Better(*best) {
			best = &one
		}
	}
	switch {
	case best != nil && best.Strict():
		v.NotAfter = best.NotAfter
		return v, nil
	case lost != nil:
		return v, lost
	case best == nil:
		return v, nil // there are none
	}
	v.NotAfter, v.Doubt, v.Reason = best.NotAfter, doubts[best.Doubt], best.Reason
	if len(list) > maxSignatures {
		v.Reason = "no trusted signature among the first 100; one is not because: " + v.Reason
	}
	return v, nil
}

var doubts = map[notation.Doubt]migrate.VerifyClass{
	notation.Unproven: migrate.Untrusted, notation.Dated: migrate.VerifyExpiry, notation.Unsure: migrate.Unknown,
}

// judgeOne judges one signature. One that can never be read is not trusted; an error leaves it
// unknown.
func (j *judge) judgeOne(ctx context.Context, r *registry.Repository, image migrate.Image, m ocispec.Descriptor) (notation.Verdict, error) {
	mediaType, blob, err := r.FetchSignature(ctx, m)
	switch {
	case err != nil && broken(err):
		return notation.Verdict{Doubt: notation.Unproven, Reason: err.Error()}, nil
	case err != nil:
		return notation.Verdict{}, classed(err)
	}
	return j.verifier.Verify(ctx, image.Repository+"@"+image.Descriptor.Digest.String(), image.Descriptor, mediaType, blob)
}
