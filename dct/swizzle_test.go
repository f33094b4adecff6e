package dct

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/testutils"
)

// A swizzled repository is one that notary's own test tool has changed, served by a lying
// server: it gives what it has of a role, whatever hash was asked for.
type swizzled struct {
	*testutils.MetadataSwizzler
}

var swizzledRoles = []data.RoleName{"root", "timestamp", "snapshot", "targets", "targets/releases", "targets/a"}

// newSwizzled makes a repository whose files are all of version 5, so that older ones are
// possible, with v1 in each role that can name it.
func newSwizzled(t *testing.T) swizzled {
	t.Helper()
	repo, keys, err := testutils.EmptyRepo(app, "targets/releases", "targets/a")
	must(t, err)
	for i, role := range swizzledRoles[3:] {
		if role != data.CanonicalTargetsRole {
			_, err := repo.InitTargets(role)
			must(t, err)
		}
		sum := make([]byte, 32)
		sum[31] = byte(i + 1)
		repo.Targets[role].Signed.Targets["v1"] = data.FileMeta{Length: 9, Hashes: data.Hashes{"sha256": sum}}
	}
	meta, err := testutils.SignAndSerialize(repo)
	must(t, err)
	s := swizzled{testutils.NewMetadataSwizzler(app, meta, keys)}
	for _, role := range []data.RoleName{"root", "targets", "targets/releases", "targets/a"} {
		must(t, s.OffsetMetadataVersion(role, 4))
	}
	must(t, s.UpdateSnapshotHashes())
	must(t, s.OffsetMetadataVersion("snapshot", 4))
	must(t, s.UpdateTimestampHash())
	must(t, s.OffsetMetadataVersion("timestamp", 4))
	return s
}

func (s swizzled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, file, _ := strings.Cut(r.URL.Path, "/_trust/tuf/")
	raw, err := s.MetadataCache.GetSized(withoutHash(strings.TrimSuffix(file, ".json")), storage.NoSizeLimit)
	if err != nil {
		notFound(w, r)
		return
	}
	_, _ = w.Write(raw) // into memory
}

// vouch has the files that list the role's follow it, as the next versions of themselves.
func (s swizzled) vouch(role data.RoleName) error {
	if role == data.CanonicalTimestampRole {
		return nil
	}
	if role != data.CanonicalSnapshotRole {
		if err := s.UpdateSnapshotHashes(role); err != nil {
			return err
		}
		if err := s.OffsetMetadataVersion("snapshot", 1); err != nil {
			return err
		}
	}
	if err := s.UpdateTimestampHash(); err != nil {
		return err
	}
	return s.OffsetMetadataVersion("timestamp", 1)
}

// copied is an equal repository with the same keys. They are for one goroutine.
func (s swizzled) copied(t *testing.T) swizzled {
	t.Helper()
	c := swizzled{testutils.NewMetadataSwizzler(s.Gun, nil, s.CryptoService)}
	c.Roles = s.Roles
	for _, name := range append([]data.RoleName{"1.root"}, swizzledRoles...) {
		must(t, c.MetadataCache.Set(name.String(), s.raw(t, name)))
	}
	return c
}

func (s swizzled) raw(t *testing.T, name data.RoleName) []byte {
	t.Helper()
	raw, err := s.MetadataCache.GetSized(name.String(), storage.NoSizeLimit)
	must(t, err)
	return raw
}

// TestSwizzledMetadataIsRefused runs every mutator of notary's tuf/testutils over every
// role, with and without the files around following, read with nothing known but a pin,
// with a known root, and with known versions.
func TestSwizzledMetadataIsRefused(t *testing.T) {
	t.Parallel()
	all := mutations()
	for _, e := range swizzleExceptions {
		if !slices.ContainsFunc(all, func(m mutation) bool { return m.name == e.mutation }) {
			t.Errorf("an exception is made for %s, which nothing runs", e.mutation)
		}
	}
	for _, role := range swizzledRoles {
		t.Run(role.String(), func(t *testing.T) {
			t.Parallel()
			base := newSwizzled(t)
			healthy, err := read(t, &Reader{Source: handled(base), Pins: Pins{TOFU: true}}, app, Known{})
			must(t, err)
			for _, m := range all {
				for _, vouched := range []bool{false, true} {
					if m.applies(role, vouched) {
						t.Run(m.name+"/"+around(vouched), func(t *testing.T) { swizzleOnce(t, base.copied(t), healthy, m, role, vouched) })
					}
				}
			}
		})
	}
}

func around(vouched bool) string {
	if vouched {
		return "vouched for"
	}
	return "alone"
}

// swizzleOnce makes one change and reads the result with different things known.
func swizzleOnce(t *testing.T, s swizzled, healthy *Repository, m mutation, role data.RoleName, vouched bool) {
	root := s.raw(t, "root")
	must(t, m.mutate(s, role))
	if vouched {
		must(t, s.vouch(m.file(role)))
	}
	for state, c := range map[string]struct {
		pins  Pins
		known Known
	}{
		"cold":     {pins: Pins{Certs: map[string][]string{app: healthy.RootKeyIDs()}}},
		"root":     {known: Known{Root: root}},
		"versions": {known: healthy.Known()},
	} {
		t.Run(state, func(t *testing.T) {
			got, err := read(t, &Reader{Source: handled(s), Pins: c.pins}, app, c.known)
			roles, kind := m.expected(role, vouched, state)
			if kind != nil {
				wantError(t, got, err, kind, roles...)
				return
			}
			must(t, err)
			if v := got.Targets()[0]; v.Tag() != "v1" || v.Role() == "targets" && m.drops != role || v.Check(time.Now()) != nil {
				t.Errorf("accepted with\n%s", show(got))
			}
		})
	}
}
