package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/state"
)

// Attestor signs artifacts that are not images: saved trust data, to prove later when it was read and verified, and
// reports. It is used from one goroutine.
type Attestor struct {
	Signer   Signer
	Tool     string            // name and version, for signed metadata
	Metadata map[string]string // the user's own signed metadata, checked by CheckMetadata

	breaker Breaker
}

// Attest signs the trust data of one repository and retries temporary failures. Once the key has refused repeatedly,
// or has signed something other than what was requested, it is not called again: the rest stays unsigned.
func (a *Attestor) Attest(ctx context.Context, v snapshot.Verified) (state.Envelope, error) {
	return a.persist(ctx, func() (state.Envelope, error) {
		if v.GUN() == (dct.GUN{}) {
			return state.Envelope{}, errNotAttested
		}
		m := map[string]string{MetadataGUN: v.GUN().String(), MetadataArtifact: snapshot.ArtifactType}
		if expired := v.Expired(); len(expired) > 0 {
			m[MetadataExpired] = strings.Join(expired, ",")
		}
		return a.attest(ctx, v.Manifest(), m)
	})
}

// persist retries temporary failures.
func (a *Attestor) persist(ctx context.Context, attest func() (state.Envelope, error)) (state.Envelope, error) {
	for try := 1; ; try++ {
		if err := a.breaker.Open(); err != nil {
			return state.Envelope{}, fmt.Errorf("the key is not asked any more: %w", err)
		}
		envelope, err := attest()
		if err == nil {
			a.breaker.Success("")
			return envelope, nil
		}
		if ctx.Err() != nil {
			return envelope, ctx.Err()
		}
		class := failure.Of(err)
		if class.Repeatable() && try < retry.MaxTries && retry.Pause(ctx, nil, time.Second, try) {
			continue
		}
		a.breaker.Failure("", class, err)
		return envelope, err
	}
}

var errNotAttested = &refusal{failure.New(failure.Security, errors.New("only saved trust data that was verified, and reports, are attested"))}

// attest is the other way to the key, beside vouch (promise 1; a test counts the callers of Signer.Sign). It signs no
// image. It accepts only what package snapshot builds from trust data verified in this process, and what NewEvidence
// builds from a manifest that is not an image's; it refuses every other type.
func (a *Attestor) attest(ctx context.Context, manifest ocispec.Descriptor, m map[string]string) (state.Envelope, error) {
	if manifest.ArtifactType != snapshot.ArtifactType && manifest.ArtifactType != ReportType {
		return state.Envelope{}, errNotAttested
	}
	m[MetadataTool] = a.Tool
	for k, value := range a.Metadata {
		m[k] = value
	}
	envelope, err := a.Signer.Sign(ctx, manifest, m)
	if err != nil {
		return state.Envelope{}, &keyError{err}
	}
	return envelope, nil
}

// Attests reports whether signed metadata belongs to a signature over saved trust data of that repository. This
// tool's signatures over trust data name its artifact type. Its signatures over an image (an index's platform
// included) or over a report vouch for that alone, whatever the digest is. A signature without any metadata of this
// tool was made by another; it counts for the artifact at which the caller found it.
func Attests(metadata map[string]string, gun string) bool {
	var ours []string
	for name := range metadata {
		if strings.HasPrefix(name, metadataPrefix) {
			ours = append(ours, name)
		}
	}
	if len(ours) == 0 {
		return true
	}
	// Signatures made before MetadataArtifact existed have at most these names; those of images have always had
	// MetadataRootKeys too.
	for _, name := range ours {
		if !slices.Contains([]string{MetadataGUN, MetadataTool, MetadataExpired, MetadataArtifact}, name) {
			return false
		}
	}
	kind, marked := metadata[MetadataArtifact]
	return metadata[MetadataGUN] == gun && (!marked || kind == snapshot.ArtifactType)
}
