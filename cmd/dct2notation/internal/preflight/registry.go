package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// maxProbed is how many repositories of a registry are checked.
const maxProbed = 10

// registries checks each registry that has images. targets are verified ones, whose images should exist.
func (e *exam) registries(ctx context.Context, f *session.Session, targets map[dct.GUN]dct.Target) {
	repos := map[string][]string{} // by host
	images := map[string]digest.Digest{}
	for _, gun := range f.GUNs {
		place := f.Scope.Place(gun)
		repos[migrate.HostOf(place)] = append(repos[migrate.HostOf(place)], place)
		images[place] = targets[gun].Digest()
	}
	for _, h := range slices.Sorted(maps.Keys(repos)) {
		e.registry(ctx, f, h, repos[h], images)
		for _, limit := range knownLimits(h) {
			e.ok("registry-limits", h, "%s", limit)
		}
	}
}

func (e *exam) registry(ctx context.Context, f *session.Session, h string, names []string, images map[string]digest.Digest) {
	answers := false
	for i, name := range names {
		if i == maxProbed {
			e.add(report.Check{Check: "registry-push", Subject: h, Result: report.Unknown, Detail: safetext.Count(len(names)-maxProbed, "repository") + " not checked"})
			break
		}
		r, err := f.Registry.Repository(name)
		if err != nil {
			e.failed("registry-pull", name, err)
			continue
		}
		image := r.CanPull(ctx, images[name])
		err = image.Err()
		if unreachable(err) {
			e.failed("registry", h, err)
			return // the others would get the same answer
		}
		if !answers {
			answers = true
			e.ok("registry", h, "answers")
		}
		if !e.allowed("registry-pull", name, "readable", err) {
			continue
		}
		if _, absent := image.Absent(); images[name] != "" && absent {
			e.add(report.Check{
				Check: "registry-image", Subject: name, Result: report.Warn,
				Detail: fmt.Sprintf("%s, which DCT vouches for, does not exist", images[name]),
				Hint:   "if the images were moved, say where with map in the configuration; plan lists all that are missing",
			})
		}
		left, err := r.CanPush(ctx)
		good := "an upload was started and cancelled"
		if left {
			good = "an upload was started; the registry did not cancel it and will discard it later"
		}
		if e.allowed("registry-push", name, good, err) {
			e.referrers(ctx, r, images[name])
		}
	}
}

// unreachable reports whether an error concerns the whole registry, not one repository.
func unreachable(err error) bool {
	return errors.Is(err, registry.ErrNotRegistry) || failure.Of(err) == failure.Transient || transport.UntrustedTLS(err)
}

// allowed adds the result of a probe, and reports whether it succeeded. If a registry is busy, the result is unknown.
func (e *exam) allowed(check, subject, good string, err error) bool {
	switch {
	case err == nil:
		e.ok(check, subject, "%s", good)
	case failure.Of(err) == failure.Throttled:
		e.ended(report.Unknown, check, subject, err)
	default:
		e.failed(check, subject, err)
	}
	return err == nil
}

func (e *exam) referrers(ctx context.Context, r *registry.Repository, image digest.Digest) {
	api, err := r.HasReferrers(ctx, image)
	switch {
	case e.opts.ForceTag:
		e.ok("registry-referrers", r.Name(), "signatures are listed under tags (--force-referrers-tag)")
	case err != nil && failure.Of(err) == failure.Throttled:
		e.ended(report.Unknown, "registry-referrers", r.Name(), err)
	case err != nil:
		e.failed("registry-referrers", r.Name(), err)
	case api:
		e.ok("registry-referrers", r.Name(), "it has the referrers API")
	default:
		e.ok("registry-referrers", r.Name(), "no referrers API: signatures are listed under tags sha256-...; no other tool should sign the same images at the same time")
	}
}
