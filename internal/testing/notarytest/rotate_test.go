package notarytest

import (
	"fmt"
	"testing"

	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

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
		t.Error("the root key is still the old one")
	}
	l, err := loadWith(s, gun, s.HTTPClient().Transport, cache, trustpinning.TrustPinConfig{})
	must(t, err)
	if got := l.Root.Signed.Version; got != 4 {
		t.Errorf("root has version %d, want 4", got)
	}
	if got := l.role(t, "v1"); got != "targets" {
		t.Errorf("v1 is in %q", got)
	}
	for _, n := range []int{2, 3} {
		path := fmt.Sprintf("/v2/%s/_trust/tuf/%d.root.json", gun, n)
		if s.RequestsByPath()[path] != 1 {
			t.Errorf("%s was not fetched once: %v", path, s.RequestsByPath())
		}
	}
	history := s.History(gun, "root")
	if len(history) != 4 || string(history[0].Raw) != string(first) || history[3].Number != 4 {
		t.Errorf("history has %d roots", len(history))
	}
}

// TestForgedRootAfterRotationCanBeFollowed: a root that is signed again keeps its predecessor's
// signature too.
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
			t.Errorf("%s: status %d", name, status)
		}
	}
	if _, body := get(t, s.HTTPClient(), base+"timestamp.json"); body == string(old.Raw) {
		t.Error("the latest timestamp is still the first")
	}
	for _, name := range []string{"9.timestamp.json", "targets/a.json", "mirrors.json", "root." + old.SHA256 + ".json"} {
		if status, _ := get(t, s.HTTPClient(), base+name); status != 404 {
			t.Errorf("%s: status %d, want 404", name, status)
		}
	}
}
