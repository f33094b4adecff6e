package dct

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

const app = "registry.example.com/team/app"

// withOldDigest publishes a repository where targets still has the old digest of a tag
// that targets/releases has since given a new one: what a downgrade would fall back to.
func withOldDigest(t *testing.T, s *notarytest.Server) *notarytest.Repository {
	t.Helper()
	r := published(t, s, app, []string{"alice"}, nil)
	must(t, r.Sign("v1", sha("01d"), 100, "targets"))
	must(t, r.Sign("v1", sha("2e3"), 100, "targets/releases", "targets/alice"))
	must(t, r.Publish())
	return r
}

// Promise 2: if a role that the repository declares and publishes fails to verify, the
// repository fails as a whole. The notary client accepts the first four and hands out the
// old digest.
func TestNeverASilentDowngrade(t *testing.T) {
	t.Parallel()
	const releases = "targets/releases"
	for name, c := range map[string]struct {
		harm func(r *notarytest.Repository) error
		kind error
	}{
		"delegation expired":         {func(r *notarytest.Repository) error { return r.Expire(releases) }, ErrExpired},
		"delegation badly signed":    {func(r *notarytest.Repository) error { return r.BadSignature(releases) }, ErrRefused},
		"delegation under threshold": {func(r *notarytest.Repository) error { return r.Threshold(releases, 2) }, ErrRefused},
		"signer badly signed":        {func(r *notarytest.Repository) error { return r.BadSignature("targets/alice") }, ErrRefused},
		"delegation is null":         {func(r *notarytest.Repository) error { return r.Replace(releases, []byte("null")) }, ErrRefused},
		"delegation is empty":        {func(r *notarytest.Repository) error { return r.Replace(releases, []byte("{}")) }, ErrRefused},
		"delegation has no signed":   {func(r *notarytest.Repository) error { return r.Replace(releases, []byte(`{"signatures":[]}`)) }, ErrRefused},
		"null delegation declared": {func(r *notarytest.Repository) error {
			return r.Tamper("targets", func(signed map[string]any) { signed["delegations"].(map[string]any)["roles"] = []any{nil} }, true)
		}, ErrRefused},
		"targets badly signed":   {func(r *notarytest.Repository) error { return r.BadSignature("targets") }, ErrRefused},
		"targets expired":        {func(r *notarytest.Repository) error { return r.Expire("targets") }, ErrExpired},
		"snapshot badly signed":  {func(r *notarytest.Repository) error { return r.BadSignature("snapshot") }, ErrRefused},
		"snapshot expired":       {func(r *notarytest.Repository) error { return r.Expire("snapshot") }, ErrExpired},
		"timestamp badly signed": {func(r *notarytest.Repository) error { return r.BadSignature("timestamp") }, ErrRefused},
		"timestamp expired":      {func(r *notarytest.Repository) error { return r.Expire("timestamp") }, ErrExpired},
		"root expired":           {func(r *notarytest.Repository) error { return r.Expire("root") }, ErrExpired},
		"root badly signed":      {func(r *notarytest.Repository) error { return r.BadSignature("root") }, ErrRefused},
		"target replaced": {func(r *notarytest.Repository) error {
			return r.Tamper(releases, func(signed map[string]any) {
				signed["targets"].(map[string]any)["evil"] = signed["targets"].(map[string]any)["v1"]
			}, false)
		}, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := withOldDigest(t, s)
			must(t, c.harm(r))
			got, err := read(t, pinned(s, r), app, Known{})
			if !errors.Is(err, c.kind) {
				t.Errorf("error %v, want %v", err, c.kind)
			}
			if got != nil {
				t.Errorf("targets in spite of the error:\n%s", show(got))
			}
		})
	}
}

// Notary itself leaves a role so when one of its keys is taken away, and the owner can mend
// that; a repository that is attacked looks the same.
func TestUnsignedDelegationSaysHowItMayHaveBecomeSo(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	must(t, r.BadSignature("targets/alice"))
	_, err := read(t, pinned(s, r), app, Known{})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "notary witness") {
		t.Errorf("error %v", err)
	}
}

// A server owns the snapshot and timestamp keys. With duplicate keys it could add targets
// to a validly signed file, if two decoders read it; the gate forbids it in every role.
func TestInjectedTargetsAreRefused(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "targets/releases"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := withOldDigest(t, s)
			raw := string(s.Raw(app, role))
			must(t, r.Replace(role, []byte(strings.Replace(raw, `"signed":{`, `"signed":{"version":1,`, 1))))
			if role == "timestamp" { // Replace has nothing above it to sign
				s.Put(app, role, 99, []byte(strings.Replace(raw, `"signed":{`, `"signed":{"version":1,`, 1)))
			}
			_, err := read(t, pinned(s, r), app, Known{})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "ambiguous JSON") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A role that was published before and is left out of the snapshot now is withheld.
func TestWithheldDelegationIsRefused(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	must(t, r.DropFromSnapshot("targets/releases"))
	if _, err := read(t, pinned(s, r), app, first.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
	}
}

// And so is one that is left out at first sight, if older digests would count for it.
func TestUnpublishedReleasesAreRefusedAtFirstSight(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	must(t, r.DropFromSnapshot("targets/releases"))
	reader := pinned(s, r)
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "--allow-degraded") {
		t.Errorf("error %v", err)
	}
	reader.AllowDegraded = true
	got, err := read(t, reader, app, Known{})
	must(t, err)
	if !slices.Contains(got.Targets()[0].Flags(), FlagDegraded) {
		t.Errorf("got\n%s", show(got))
	}
	// Where targets has nothing, there is nothing to fall back to.
	fresh := published(t, s, "registry.example.com/fresh", []string{"alice"}, nil)
	if _, err := read(t, pinned(s, fresh), fresh.GUN(), Known{}); err != nil {
		t.Errorf("signers without signatures: %v", err)
	}
}

func TestRollbackIsRefused(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"timestamp", "snapshot", "targets", "targets/releases"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := withOldDigest(t, s)
			first, err := read(t, pinned(s, r), app, Known{})
			must(t, err)
			known := first.Known()
			floor := known.Floors[role]
			floor.Version++
			known.Floors[role] = floor
			if _, err := read(t, pinned(s, r), app, known); !errors.Is(err, ErrRefused) {
				t.Errorf("older version: error %v", err)
			}
			floor.Version--
			floor.SHA256 = sha("0")
			known.Floors[role] = floor
			if _, err := read(t, pinned(s, r), app, known); !errors.Is(err, ErrRefused) {
				t.Errorf("other bytes of the same version: error %v", err)
			}
		})
	}
}

// No answers from a cache because a server is gone.
func TestKnownRepositoryIsNotAnsweredFromMemory(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	s.Delete(app)
	if _, err := read(t, pinned(s, r), app, first.Known()); !errors.Is(err, ErrIncomplete) {
		t.Errorf("deleted: error %v", err)
	}
	s.Close()
	if _, err := read(t, pinned(s, r), app, first.Known()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("server gone: error %v", err)
	}
}

// A file that a publication replaces between two of our requests is read again.
func TestReadDuringPublicationIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	var missing atomic.Int32
	missing.Store(1)
	s.SetHook(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/targets.") && missing.Add(-1) >= 0 {
			notFound(w, req)
			return true
		}
		return false
	})
	if _, err := read(t, pinned(s, r), app, Known{}); err != nil {
		t.Errorf("once: %v", err)
	}
	missing.Store(1 << 20)
	if _, err := read(t, pinned(s, r), app, Known{}); !errors.Is(err, ErrIncomplete) {
		t.Errorf("always: %v", err)
	}
}

func TestTargetVouchesOnlyWhileValid(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	got, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	target := got.Targets()[0]
	must(t, target.Check(time.Now()))
	if err := target.Check(time.Now().Add(15 * 24 * time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("after the timestamp's 14 days: %v", err)
	}
	var none Target
	if err := none.Check(time.Now()); err == nil {
		t.Error("the zero Target vouches")
	}
}
