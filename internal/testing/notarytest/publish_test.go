package notarytest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/validation"
)

func TestNewRepositoryVerifiesInFourRequests(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TLS: true})
	r := repository(t, s, gun)
	if s.Requests() != 0 {
		t.Errorf("publishing: got %d requests, want 0", s.Requests())
	}
	l := mustLoad(t, s, gun)
	if s.Requests() != 4 {
		t.Errorf("reading: got %d requests, want 4", s.Requests())
	}
	if got := l.Root.Signed.Roles["root"].KeyIDs; !slices.Equal(got, r.RootKeyIDs()) {
		t.Errorf("got root keys %v, want those of RootKeyIDs: %v", got, r.RootKeyIDs())
	}
	for name, expiry := range map[string][2]time.Time{
		"root":      {l.Root.Signed.Expires, time.Now().AddDate(10, 0, 0)},
		"targets":   {l.Targets["targets"].Signed.Expires, time.Now().AddDate(3, 0, 0)},
		"timestamp": {l.Timestamp.Signed.Expires, time.Now().AddDate(0, 0, 14)},
	} {
		// Notary counts years of 365 days.
		if off := expiry[0].Sub(expiry[1]).Abs(); off > 5*24*time.Hour {
			t.Errorf("%s: got expiry %v, want about %v", name, expiry[0], expiry[1])
		}
	}
	if _, err := s.NewRepository(gun); err == nil {
		t.Error("got the same GUN initialized twice, want an error")
	}
}

func TestPinOfRootKeyIDsIsAccepted(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	pin := func(ids ...string) trustpinning.TrustPinConfig {
		return trustpinning.TrustPinConfig{DisableTOFU: true, Certs: map[string][]string{gun: ids}}
	}
	with := func(p trustpinning.TrustPinConfig) error {
		_, err := loadWith(s, gun, s.HTTPClient().Transport, storage.NewMemoryStore(nil), p)
		return err
	}
	must(t, with(pin(r.RootKeyIDs()...)))
	other := repository(t, s, "registry.example.com/other")
	if err := with(pin(other.RootKeyIDs()...)); err == nil {
		t.Error("the pin of another repository: got no error, want one")
	}
}

func TestTargetsWithoutSigners(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	must(t, r.Sign("v1", digest("v1"), 1))
	if got := mustLoad(t, s, gun).role(t, "v1"); got != "" {
		t.Errorf("before Publish: got v1 in %s, want it nowhere", got)
	}
	sign(t, r, "v2")
	l := mustLoad(t, s, gun)
	if l.role(t, "v1") != "targets" || l.role(t, "v2") != "targets" {
		t.Errorf("got v1 in %q, v2 in %q, want both in targets", l.role(t, "v1"), l.role(t, "v2"))
	}
	must(t, r.Remove("v1"))
	must(t, r.Publish())
	l = mustLoad(t, s, gun)
	if l.role(t, "v1") != "" || l.role(t, "v2") != "targets" {
		t.Errorf("got v1 in %q, v2 in %q, want v1 removed and v2 kept", l.role(t, "v1"), l.role(t, "v2"))
	}
}

func TestSignersSignLikeDocker(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	sign(t, r, "old") // before there are delegations
	must(t, r.AddSigner("alice"))
	must(t, r.AddSigner("bob"))
	sign(t, r, "v1")
	sign(t, r, "bob-only", "targets/bob")
	l := mustLoad(t, s, gun)
	for tag, want := range map[string]string{"old": "targets", "v1": "targets/releases", "bob-only": ""} {
		if got := l.role(t, tag); got != want {
			t.Errorf("%s: got docker find it in %q, want %q", tag, got, want)
		}
	}
	for _, role := range []data.RoleName{"targets/alice", "targets/bob", releases} {
		if l.TargetMeta(role, "v1") == nil {
			t.Errorf("got no v1 in %s, want it there", role)
		}
	}
	if l.TargetMeta("targets", "v1") != nil {
		t.Error("got v1 in targets too, want it not there")
	}
	declared := l.Targets["targets"].Signed.Delegations.Roles
	for _, role := range declared {
		if want := map[data.RoleName]int{releases: 2}[role.Name]; want != 0 && len(role.KeyIDs) != want {
			t.Errorf("%s: got %d keys, want one of each signer", role.Name, len(role.KeyIDs))
		}
		if !slices.Equal(role.Paths, []string{""}) {
			t.Errorf("%s: got paths %q, want any", role.Name, role.Paths)
		}
	}
	must(t, r.Remove("v1"))
	must(t, r.Publish())
	if got := mustLoad(t, s, gun).role(t, "v1"); got != "" {
		t.Errorf("got v1 still in %s, want it nowhere", got)
	}
}

func TestDelegationsNestedAndRestricted(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	must(t, r.AddDelegation("targets/releases", []string{""}))
	must(t, r.AddDelegation("targets/qa", []string{"qa-"}))
	must(t, r.AddDelegation("targets/releases/nested", []string{"n-"}))
	sign(t, r, "n-1", "targets/releases/nested")
	sign(t, r, "qa-1")
	sign(t, r, "v1")
	l := mustLoad(t, s, gun)
	if l.TargetMeta("targets/releases/nested", "n-1") == nil {
		t.Error("got n-1 not signed by the nested role, want it signed")
	}
	if l.TargetMeta("targets/qa", "qa-1") == nil || l.TargetMeta(releases, "qa-1") == nil {
		t.Error("got qa-1 missing, want it in both roles that admit it")
	}
	if l.TargetMeta("targets/qa", "v1") != nil || l.TargetMeta(releases, "v1") == nil {
		t.Error("got v1 elsewhere, want it in the one role that admits it")
	}
	must(t, r.Sign("v1", digest("v1"), 1, "targets/qa"))
	if err := r.Publish(); err == nil {
		t.Error("a role signed outside its paths: got no error, want one")
	}
}

// TestClientPublishesOverHTTPS follows the docker client: forms, server keys, deletion.
func TestClientPublishesOverHTTPS(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TLS: true})
	rt := s.HTTPClient().Transport
	remote, err := storage.NewNotaryServerStore(s.URL(), gun, rt)
	must(t, err)
	keys := newKeyring()
	c, err := client.NewRepository(gun, s.URL(), remote, storage.NewMemoryStore(nil),
		trustpinning.TrustPinConfig{}, keys, changelist.NewMemChangelist())
	must(t, err)
	root, err := keys.Create("root", gun, data.ECDSAKey)
	must(t, err)
	must(t, c.Initialize([]string{root.ID()}, "snapshot"))
	signer, err := keys.Create("targets/alice", gun, data.ED25519Key)
	must(t, err)
	must(t, c.AddDelegation(releases, []data.PublicKey{signer}, []string{""}))
	hashes := data.Hashes{"sha256": make([]byte, 32)}
	must(t, c.AddTarget(&client.Target{Name: "v1", Hashes: hashes, Length: 1}, releases))
	must(t, c.Publish())
	must(t, c.RotateKey("snapshot", true, nil))

	if l := mustLoad(t, s, gun); l.TargetMeta(releases, "v1") == nil || l.Root.Signed.Version != 2 {
		t.Errorf("got a root of version %d, want v1 in targets/releases and version 2", l.Root.Signed.Version)
	}
	// Once the repository is published, the server continues with the key that the root names.
	named := mustLoad(t, s, gun).Root.Signed.Roles["snapshot"].KeyIDs
	raw, err := remote.GetKey("snapshot")
	must(t, err)
	key, err := data.UnmarshalPublicKey(raw)
	must(t, err)
	if !slices.Equal(named, []string{key.ID()}) {
		t.Errorf("got snapshot key %s from the server, want what root names: %v", key.ID(), named)
	}
	// The client may also keep the snapshot key; it then uploads the snapshot itself.
	must(t, c.RotateKey("snapshot", false, nil))
	mustLoad(t, s, gun)
	if err := remote.Set("root", s.Raw(gun, "root")); !isBadHierarchy(err) {
		t.Errorf("publishing without the snapshot: got %T %v, want ErrBadHierarchy", err, err)
	}
	must(t, remote.RemoveAll())
	if _, err := load(s, gun); err == nil {
		t.Error("got the GUN after DELETE, want it gone")
	}
}

func TestServerRefusesBadPublications(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	r := repository(t, s, gun)
	sign(t, r, "v1")
	old, current := s.History(gun, "targets")[0].Raw, s.Raw(gun, "targets")
	repository(t, s, "registry.example.com/other")
	alien := s.Raw("registry.example.com/other", "targets")
	remote, err := storage.NewNotaryServerStore(s.URL(), gun, http.DefaultTransport)
	must(t, err)
	for name, upload := range map[string][]byte{
		"an older version":       old,
		"the same version":       current,
		"another's signature":    alien,
		"no JSON":                []byte("{"),
		"nothing that is signed": []byte(`{"signatures":[]}`),
	} {
		if err := remote.Set("targets", upload); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
	if err := remote.Set("targets/no such", current); err == nil {
		t.Error("an invalid role: got no error, want one")
	}
	if err := remote.Set("targets", alien); !isBadTargets(err) {
		t.Errorf("got error %T, want validation.ErrBadTargets", err)
	}
	if string(s.Raw(gun, "targets")) != string(current) {
		t.Error("got what is stored changed by a refused publication, want it as before")
	}
}

func isBadTargets(err error) bool {
	_, ok := errors.AsType[validation.ErrBadTargets](err)
	return ok
}

func isBadHierarchy(err error) bool {
	_, ok := errors.AsType[validation.ErrBadHierarchy](err)
	return ok
}

func TestParallelPublishersAndReaders(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprintf("registry.example.com/team/app%d", i)
			r, err := s.NewRepository(name)
			if err != nil {
				t.Error(err)
				return
			}
			var one sync.WaitGroup
			for j := range 3 {
				one.Go(func() {
					if err := r.Sign(fmt.Sprintf("v%d", j), digest("x"), 1); err != nil {
						t.Error(err)
					}
					if err := r.Publish(); err != nil {
						t.Error(err)
					}
				})
			}
			one.Wait()
			l, err := load(s, name)
			if err != nil {
				t.Error(err)
				return
			}
			if n := len(l.Targets["targets"].Signed.Targets); n != 3 {
				t.Errorf("%s: got %d targets, want 3", name, n)
			}
		})
	}
	all.Wait()
	if n := len(s.GUNs()); n != 8 {
		t.Errorf("got %d GUNs stored, want 8", n)
	}
}

func TestTenThousandTargetsInOnePublish(t *testing.T) {
	t.Parallel()
	const many = 10_000
	s := start(t, Options{})
	r := repository(t, s, gun)
	must(t, r.AddSigner("alice"))
	for i := range many {
		must(t, r.Sign(fmt.Sprintf("v%d", i), digest("x"), 1, "targets/releases"))
	}
	must(t, r.Publish())
	if n := len(mustLoad(t, s, gun).Targets[releases].Signed.Targets); n != many {
		t.Errorf("got %d targets, want %d", n, many)
	}
}

// BenchmarkNewRepository measures what publishing a thousand small repositories depends on.
func BenchmarkNewRepository(b *testing.B) {
	s := start(b, Options{})
	for i := 0; b.Loop(); i++ {
		r := repository(b, s, fmt.Sprintf("registry.example.com/team/app%d", i))
		must(b, r.AddSigner("alice"))
		sign(b, r, "v1")
	}
}
