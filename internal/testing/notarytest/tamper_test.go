package notarytest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// is reports whether an error is of a type; notary returns some by value and some by pointer.
func is[E error](err error) bool {
	var want E
	return errors.As(err, &want)
}

// prepared is a repository with v1 in targets, and newer in targets/alice and targets/releases.
func prepared(t *testing.T, s *Server) *Repository {
	t.Helper()
	r := repository(t, s, gun)
	sign(t, r, "v1")
	must(t, r.AddSigner("alice"))
	sign(t, r, "v2")
	return r
}

func TestTamperingFailsTheClientAsInTheFacts(t *testing.T) {
	t.Parallel()
	rollBack := func(signed map[string]any) { signed["version"] = 0 }
	for name, c := range map[string]struct {
		tamper func(*Repository) error
		seen   func(error) bool
	}{
		"expired root":             {func(r *Repository) error { return r.Expire("root") }, is[signed.ErrExpired]},
		"expired targets":          {func(r *Repository) error { return r.Expire("targets") }, is[signed.ErrExpired]},
		"expired snapshot":         {func(r *Repository) error { return r.Expire("snapshot") }, is[signed.ErrExpired]},
		"expired timestamp":        {func(r *Repository) error { return r.Expire("timestamp") }, is[signed.ErrExpired]},
		"bad signature, root":      {func(r *Repository) error { return r.BadSignature("root") }, is[*trustpinning.ErrValidationFail]},
		"bad signature, targets":   {func(r *Repository) error { return r.BadSignature("targets") }, is[signed.ErrRoleThreshold]},
		"bad signature, snapshot":  {func(r *Repository) error { return r.BadSignature("snapshot") }, is[signed.ErrRoleThreshold]},
		"bad signature, timestamp": {func(r *Repository) error { return r.BadSignature("timestamp") }, is[signed.ErrRoleThreshold]},
		"threshold of targets":     {func(r *Repository) error { return r.Threshold("targets", 2) }, is[signed.ErrRoleThreshold]},
		"edited, not resigned":     {func(r *Repository) error { return r.Tamper("targets", rollBack, false) }, is[signed.ErrRoleThreshold]},
		"edited and resigned":      {func(r *Repository) error { return r.Tamper("targets", rollBack, true) }, is[data.ErrInvalidMetadata]},
		"targets not in snapshot":  {func(r *Repository) error { return r.DropFromSnapshot("targets") }, is[data.ErrInvalidMetadata]},
		"certificate expired": {func(r *Repository) error {
			return r.Recertify("", time.Now().AddDate(-10, 0, 0), time.Now().AddDate(0, 0, -1))
		}, is[*trustpinning.ErrValidationFail]},
		"certificate of another GUN": {func(r *Repository) error {
			return r.Recertify("registry.example.com/other", time.Now(), time.Now().AddDate(1, 0, 0))
		}, is[*trustpinning.ErrValidationFail]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{})
			r := prepared(t, s)
			must(t, c.tamper(r))
			if _, err := load(s, gun); !c.seen(err) {
				t.Errorf("got error %T %v, want that of the tamper", err, err)
			}
		})
	}
}

// TestTamperedDelegationIsSilentlyIgnored shows the trap for which these fixtures exist: the client
// does not fail, and the old digest in targets wins.
func TestTamperedDelegationIsSilentlyIgnored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper  func(*Repository) error
		invalid bool // the client records that the file did not verify
	}{
		"expired":         {func(r *Repository) error { return r.Expire("targets/releases") }, true},
		"bad signature":   {func(r *Repository) error { return r.BadSignature("targets/releases") }, true},
		"under threshold": {func(r *Repository) error { return r.Threshold("targets/releases", 2) }, true},
		"withheld":        {func(r *Repository) error { return r.DropFromSnapshot("targets/releases") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{})
			r := prepared(t, s)
			must(t, c.tamper(r))
			l := mustLoad(t, s, gun)
			if l.Targets[releases] != nil || l.Targets["targets/alice"] == nil {
				t.Errorf("got targets/releases %t, targets/alice %t, want false, true", l.Targets[releases] != nil, l.Targets["targets/alice"] != nil)
			}
			if got := l.invalid.Targets[releases] != nil; got != c.invalid {
				t.Errorf("got known as invalid: %t, want %t", got, c.invalid)
			}
			if l.role(t, "v1") != "targets" || l.role(t, "v2") != "" {
				t.Errorf("got v1 in %q, v2 in %q, want docker to fall back to targets", l.role(t, "v1"), l.role(t, "v2"))
			}
		})
	}
}

// Whoever holds the keys can say anything, consistently.
func TestResignedFileIsBelieved(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := prepared(t, s)
	cache := storage.NewMemoryStore(nil)
	warm := func() (loaded, error) {
		return loadWith(s, gun, s.HTTPClient().Transport, cache, trustpinning.TrustPinConfig{})
	}
	before, err := warm()
	must(t, err)
	must(t, r.Tamper("targets/releases", func(signed map[string]any) {
		targets := signed["targets"].(map[string]any)
		targets["forged"] = targets["v2"]
	}, true))
	after, err := warm()
	must(t, err)
	if after.TargetMeta(releases, "forged") == nil {
		t.Error("got the forged target not believed, want it believed")
	}
	if was, is := before.Targets[releases].Signed.Version, after.Targets[releases].Signed.Version; is != was+1 {
		t.Errorf("got version %d, want %d", is, was+1)
	}
	// What verifies can be the base of another publication.
	sign(t, r, "v3")
	if got := mustLoad(t, s, gun).role(t, "v3"); got != "targets/releases" {
		t.Errorf("got v3 in %q, want targets/releases", got)
	}
}

func TestReplacedBytesAreVouchedFor(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := prepared(t, s)
	must(t, r.Replace("targets/releases", []byte("<html>")))
	if _, err := load(s, gun); err == nil {
		t.Error("got HTML read, want an error")
	}
	// The snapshot knew the hash, so the client got as far as parsing.
	if is[data.ErrMismatchedChecksum](r.Publish()) {
		t.Error("got snapshot and file apart, want them to fit together")
	}
	s.Put(gun, "targets/releases", 99, []byte("anything"))
	if string(s.Raw(gun, "targets/releases")) != "anything" {
		t.Errorf("got bytes %q after Put, want %q", s.Raw(gun, "targets/releases"), "anything")
	}
}

// All files come from somebody else's repository of the same name. They are accepted on first use,
// and refused by whoever knows the old root.
func TestSwappedRepository(t *testing.T) {
	t.Parallel()
	s, attacker := start(t, Options{}), start(t, Options{})
	prepared(t, s)
	cache := storage.NewMemoryStore(nil)
	_, err := loadWith(s, gun, s.HTTPClient().Transport, cache, trustpinning.TrustPinConfig{})
	must(t, err)
	sign(t, repository(t, attacker, gun), "evil")
	for _, role := range attacker.Roles(gun) {
		s.Put(gun, role, 9, attacker.Raw(gun, role))
	}
	if got := mustLoad(t, s, gun).role(t, "evil"); got != "targets" {
		t.Errorf("on first use: got evil in %q, want targets", got)
	}
	_, err = loadWith(s, gun, s.HTTPClient().Transport, cache, trustpinning.TrustPinConfig{})
	if !is[*trustpinning.ErrRootRotationFail](err) {
		t.Errorf("who knows the old root: got %T %v, want ErrRootRotationFail", err, err)
	}
}

// The snapshot and timestamp that follow a replaced root are signed with the keys that it names, so
// that the client gets as far as the targets.
func TestReplacedRootBringsItsKeys(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	repository(t, s, gun)
	old := s.Raw(gun, "root")
	s.Delete(gun)
	r := repository(t, s, gun)
	must(t, r.Replace("root", old))
	_, err := load(s, gun)
	var threshold signed.ErrRoleThreshold
	if !errors.As(err, &threshold) || !strings.Contains(err.Error(), "targets") {
		t.Errorf("got %T %v, want the signature on targets refused", err, err)
	}
}

func TestHelpersSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	for name, err := range map[string]error{
		"role without a file": r.Expire("targets/nobody"),
		"unknown role":        r.Threshold("targets/nobody", 2),
		"not in snapshot":     r.DropFromSnapshot("targets/nobody"),
		"no SHA-256":          r.Sign("v1", "abcd", 1),
		"no paths":            r.AddDelegation("targets/a", nil),
		"no such parent":      r.AddDelegation("targets/a/b", []string{""}),
	} {
		if err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
	// None of it may have left a trace.
	must(t, r.Publish())
	mustLoad(t, s, gun)
}

func TestRootRotationIsFollowedFromVersionOne(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	sign(t, r, "v1")
	first := s.Raw(gun, "root")
	cache := storage.NewMemoryStore(map[data.RoleName][]byte{"root": first})
	before := r.RootKeyIDs()[0]
	for range 3 {
		must(t, r.RotateRoot())
	}
	if r.RootKeyIDs()[0] == before {
		t.Errorf("got the root key %s as before, want a new one", before)
	}
	var fetched sync.Map
	s.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if _, twice := fetched.LoadOrStore(r.URL.Path, true); twice && strings.HasSuffix(r.URL.Path, ".root.json") {
			t.Errorf("got %s fetched twice, want it once", r.URL.Path)
		}
		return false
	})
	l, err := loadWith(s, gun, s.HTTPClient().Transport, cache, trustpinning.TrustPinConfig{})
	must(t, err)
	if got := l.Root.Signed.Version; got != 4 {
		t.Errorf("got root version %d, want 4", got)
	}
	if got := l.role(t, "v1"); got != "targets" {
		t.Errorf("got v1 in %q, want targets", got)
	}
	for _, n := range []int{2, 3} {
		path := fmt.Sprintf("/v2/%s/_trust/tuf/%d.root.json", gun, n)
		if _, once := fetched.Load(path); !once {
			t.Errorf("got %s not fetched, want it once", path)
		}
	}
	history := s.History(gun, "root")
	if len(history) != 4 || string(history[0].Raw) != string(first) || history[3].Number != 4 {
		t.Errorf("got %d roots in the history, want 4, the first as it was", len(history))
	}
}

// A root that is signed again keeps its predecessor's signature too.
func TestForgedRootAfterRotationCanBeFollowed(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	cache := storage.NewMemoryStore(map[data.RoleName][]byte{"root": s.Raw(gun, "root")})
	must(t, r.RotateRoot())
	must(t, r.Expire("root"))
	_, err := loadWith(s, gun, s.HTTPClient().Transport, cache, trustpinning.TrustPinConfig{})
	if !is[signed.ErrExpired](err) {
		t.Errorf("got %T %v, want ErrExpired at the end of the chain", err, err)
	}
}

func TestOldTimestampIsServedByVersionAndChecksum(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	old := s.History(gun, "timestamp")[0]
	sign(t, r, "v1")
	base := s.URL() + "/v2/" + gun + "/_trust/tuf/"
	for _, name := range []string{"1.timestamp.json", "timestamp." + old.SHA256 + ".json"} {
		if status, body := get(t, s.HTTPClient(), base+name); status != 200 || body != string(old.Raw) {
			t.Errorf("%s: got status %d, want 200 and the old bytes", name, status)
		}
	}
	if _, body := get(t, s.HTTPClient(), base+"timestamp.json"); body == string(old.Raw) {
		t.Error("got the first timestamp as the latest, want a new one")
	}
	for _, name := range []string{"9.timestamp.json", "targets/a.json", "mirrors.json", "root." + old.SHA256 + ".json"} {
		if status, _ := get(t, s.HTTPClient(), base+name); status != 404 {
			t.Errorf("%s: got status %d, want 404", name, status)
		}
	}
}
