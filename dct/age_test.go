package dct

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// Expired metadata is refused, and passes only if allowed by its own name. Every target that rests
// on it says so.
func TestAllowExpired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm    func(r *notarytest.Repository) error
		enough  []string // lets it pass
		expired []string // what the targets then carry
	}{
		"root":       {func(r *notarytest.Repository) error { return r.Expire("root") }, []string{"root"}, []string{"root"}},
		"timestamp":  {func(r *notarytest.Repository) error { return r.Expire("timestamp") }, []string{"timestamp"}, []string{"timestamp"}},
		"snapshot":   {func(r *notarytest.Repository) error { return r.Expire("snapshot") }, []string{"snapshot"}, []string{"snapshot"}},
		"targets":    {func(r *notarytest.Repository) error { return r.Expire("targets") }, []string{"targets"}, []string{"targets"}},
		"delegation": {func(r *notarytest.Repository) error { return r.Expire("targets/alice") }, []string{"targets/alice"}, []string{"targets/alice"}},
		"delegations": {func(r *notarytest.Repository) error {
			return errors.Join(r.Expire("targets/alice"), r.Expire("targets/releases"))
		}, []string{Delegations}, []string{"targets/alice", "targets/releases"}},
		"root certificate": {func(r *notarytest.Repository) error {
			return r.Recertify("", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
		}, []string{RootCert}, []string{RootCert}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := withOldDigest(t, s)
			must(t, c.harm(r))
			reader := pinned(s, r)
			everything := []string{RootCert, "root", "timestamp", "snapshot", "targets", Delegations}
			reader.AllowExpired = slices.DeleteFunc(slices.Clone(everything), func(n string) bool { return n == c.enough[0] || c.enough[0] == "targets/alice" && n == Delegations })
			if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrExpired) {
				t.Errorf("with all else allowed: got %v, want %v", err, ErrExpired)
			}
			reader.AllowExpired = c.enough
			got, err := read(t, reader, app, Known{})
			must(t, err)
			if target := got.Targets()[0]; !slices.Equal(target.Expired(), c.expired) || target.Check(time.Now()) != nil {
				t.Errorf("got target with %v, want %v that passes its check", target.Expired(), c.expired)
			}
		})
	}
}

func TestAllowExpiredOverridesNothingElse(t *testing.T) {
	t.Parallel()
	past := func(r *notarytest.Repository) error {
		return r.Recertify("", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	}
	for name, harm := range map[string]func(s *notarytest.Server, r *notarytest.Repository) error{
		"delegation badly signed": func(_ *notarytest.Server, r *notarytest.Repository) error { return r.BadSignature("targets/releases") },
		"targets badly signed":    func(_ *notarytest.Server, r *notarytest.Repository) error { return r.BadSignature("targets") },
		"snapshot badly signed":   func(_ *notarytest.Server, r *notarytest.Repository) error { return r.BadSignature("snapshot") },
		"timestamp badly signed":  func(_ *notarytest.Server, r *notarytest.Repository) error { return r.BadSignature("timestamp") },
		"root badly signed":       func(_ *notarytest.Server, r *notarytest.Repository) error { return r.BadSignature("root") },
		"old root badly signed": func(_ *notarytest.Server, r *notarytest.Repository) error {
			return errors.Join(past(r), r.BadSignature("root"))
		},
		"old certificate of another": func(_ *notarytest.Server, r *notarytest.Repository) error {
			return r.Recertify("registry.example.com/else", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
		},
		"under threshold": func(_ *notarytest.Server, r *notarytest.Repository) error { return r.Threshold("targets/releases", 2) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := withOldDigest(t, s)
			must(t, harm(s, r))
			reader := pinned(s, r)
			reader.AllowExpired = []string{RootCert, "root", "timestamp", "snapshot", "targets", Delegations}
			if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, ErrRefused)
			}
		})
	}
}

// An expired root certificate must still be pinned, or signed for by the previous root.
func TestAgedRootMustBePinned(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r, other := one(t, s, app), one(t, s, "registry.example.com/team/other")
	first, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	must(t, r.Recertify("", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
	allow := []string{RootCert}
	for name, c := range map[string]struct {
		pins  Pins
		known Known
		kind  error
	}{
		"the pinned one":   {Pins{Certs: map[string][]string{app: r.RootKeyIDs()}}, Known{}, nil},
		"another pin":      {Pins{Certs: map[string][]string{app: other.RootKeyIDs()}}, Known{}, ErrRefused},
		"no pin":           {Pins{}, Known{}, ErrUnpinnedRoot},
		"first sight":      {Pins{TOFU: true}, Known{}, nil},
		"unlike the known": {Pins{}, first.Known(), ErrRefused},
	} {
		reader := &Reader{Source: server(s), Pins: c.pins, AllowExpired: allow}
		if _, err := read(t, reader, app, c.known); c.kind == nil && err != nil || !errors.Is(err, c.kind) {
			t.Errorf("%s: got %v, want %v", name, err, c.kind)
		}
	}
}

// Everything that is expired is named at once, with the flag that would accept it. Any other fault
// counts more; what cannot be determined counts less.
func TestAllThatIsExpiredIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	expire := func(roles ...string) func(*notarytest.Server, *notarytest.Repository) error {
		return func(_ *notarytest.Server, r *notarytest.Repository) (err error) {
			for _, role := range roles {
				err = errors.Join(err, r.Expire(role))
			}
			return err
		}
	}
	failing := func(status int, file string) func(s *notarytest.Server) {
		return func(s *notarytest.Server) {
			s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, file) {
					return false
				}
				w.WriteHeader(status)
				return true
			})
		}
	}
	for name, c := range map[string]struct {
		harm  func(s *notarytest.Server, r *notarytest.Repository) error
		then  func(s *notarytest.Server)
		allow []string
		kind  error
		want  string
		flag  string
	}{
		"one":                 {expire("targets"), nil, nil, ErrExpired, "role targets: trust data expired: since ", "=targets"},
		"some":                {expire("root", "targets/releases", "timestamp"), nil, nil, ErrExpired, "expired: root since 20", "=root,timestamp,targets/releases"},
		"but what is allowed": {expire("root", "targets", "timestamp"), nil, []string{"timestamp"}, ErrExpired, "expired: root since 20", "=root,targets"},
		"the certificate, too": {func(s *notarytest.Server, r *notarytest.Repository) error {
			return errors.Join(r.Recertify("", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)), r.Expire("snapshot"))
		}, nil, nil, ErrExpired, "expired: root-cert since 20", "=root-cert,snapshot"},
		"a bad signature counts more": {func(s *notarytest.Server, r *notarytest.Repository) error {
			return errors.Join(r.BadSignature("targets"), r.Expire("root"), r.Expire("timestamp"))
		}, nil, nil, ErrRefused, "role targets", ""},
		"a server that cannot sign counts less": {expire("root"), failing(http.StatusInternalServerError, "timestamp"), nil, ErrExpired, "role root", "=root"},
		"a file that is lost counts less":       {expire("timestamp"), func(s *notarytest.Server) { failing(http.StatusInternalServerError, "/snapshot.")(s) }, nil, ErrExpired, "role timestamp", "=timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := withOldDigest(t, s)
			must(t, c.harm(s, r))
			if c.then != nil {
				c.then(s)
			}
			reader := pinned(s, r)
			reader.AllowExpired = c.allow
			_, err := read(t, reader, app, Known{})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %v with %s", err, c.kind, c.want)
			}
			if c.flag == "" {
				return
			}
			if _, flag, _ := strings.Cut(err.Error(), "--allow-expired"); flag != c.flag {
				t.Errorf("got flag %s, want %s", flag, c.flag)
			}
			if c.then == nil {
				reader.AllowExpired = append(slices.Clone(c.allow), strings.Split(c.flag[1:], ",")...)
				_, err := read(t, reader, app, Known{})
				must(t, err)
			}
		})
	}
}

// Ages can be judged at another time than now.
func TestAgesAreJudgedAtATime(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	reader := pinned(s, r)
	reader.At = time.Now().Add(20 * 24 * time.Hour)
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrExpired) {
		t.Errorf("in 20 days: got %v, want %v", err, ErrExpired)
	}
	must(t, r.Expire("timestamp"))
	reader.At = time.Now().Add(-30 * 24 * time.Hour)
	if _, err := read(t, reader, app, Known{}); err != nil {
		t.Errorf("30 days ago: got %v, want no error", err)
	}
}

func TestCheckAllowExpired(t *testing.T) {
	t.Parallel()
	must(t, CheckAllowExpired([]string{RootCert, "root", "timestamp", "snapshot", "targets", Delegations, "targets/releases"}))
	for _, bad := range []string{"", "all", "target", "targets/", "Root"} {
		if CheckAllowExpired([]string{bad}) == nil {
			t.Errorf("%q: got no error, want one", bad)
		}
	}
}
