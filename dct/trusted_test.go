package dct

import (
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// The trusted digest of each tag is the one that docker would have used (the table in README.md).
// What docker would not run is listed, not signed.
func TestTrustedTargetIsDockersChoice(t *testing.T) {
	t.Parallel()
	s := notary(t)
	const name = "registry.example.com/team/app"
	r := published(t, s, name, []string{"alice", "bob"}, nil)
	must(t, r.AddDelegation("targets/releases/nested", []string{""}))
	must(t, r.AddDelegation("targets/narrow", []string{"narrow-"}))
	sign := func(tag, digest string, roles ...string) { must(t, r.Sign(tag, sha(digest), 100, roles...)) }
	sign("v1", "a1", "targets/releases", "targets/alice")
	sign("v2", "a2", "targets")               // before delegations, as docker then did
	sign("v3", "a3", "targets/bob")           // nobody released it
	sign("both", "b1", "targets")             // and a newer one in releases
	sign("both", "b2", "targets/releases")    //
	sign("dispute", "d1", "targets/releases") // alice names another digest
	sign("dispute", "d2", "targets/alice")    //
	sign("nested", "e1", "targets")           // hidden by a role below releases
	sign("nested", "e2", "targets/releases/nested")
	sign("a/b/file.txt", "f1", "targets/releases") // no tag
	must(t, r.Publish())

	got, err := read(t, pinned(s, r), name, Known{})
	must(t, err)
	want := `a/b/file.txt invalid-target targets/releases
both b2 targets/releases roles-disagree
dispute d1 targets/releases roles-disagree
nested shadowed targets/releases/nested
v1 a1 targets/releases targets/alice
v2 a2 targets legacy-targets
v3 signer-only targets/bob`
	if show(got) != want {
		t.Errorf("got\n%s, want\n%s", show(got), want)
	}
	for _, target := range got.Targets() {
		if want := map[string]string{"both": "targets", "dispute": "targets/alice"}[target.Tag()]; want != "" {
			if others := target.Others(); len(others) != 1 || others[0].Role != want || others[0].Digest == target.Digest() {
				t.Errorf("%s: got %v in other roles, want another digest in %s", target.Tag(), others, want)
			}
		}
	}
	var roles []string
	for _, role := range got.Roles() {
		if len(role.Keys) == 0 || role.Keys[0].ID == "" || role.Threshold != 1 || role.Version > 0 == role.Expires.IsZero() {
			t.Errorf("got role %+v, want keys, a threshold of 1, and a date if it was published", role)
		}
		roles = append(roles, role.Name)
	}
	if want := "root snapshot targets targets/alice targets/bob targets/narrow targets/releases targets/releases/nested timestamp"; strings.Join(roles, " ") != want {
		t.Errorf("got the roles %v, want %s", roles, want)
	}
}

func TestTrustedTargetWithoutDelegations(t *testing.T) {
	t.Parallel()
	s := notary(t)
	const name = "registry.example.com/plain"
	r := published(t, s, name, nil, func(r *notarytest.Repository) {
		must(t, r.Sign("latest", sha("1"), 7))
		must(t, r.Sign("V1", sha("2"), 7))
		must(t, r.Sign("v1", sha("3"), 7))
	})
	got, err := read(t, pinned(s, r), name, Known{})
	must(t, err)
	if want := "V1 2 targets\nlatest 1 targets\nv1 3 targets"; show(got) != want {
		t.Errorf("got\n%s, want\n%s", show(got), want)
	}
	target := got.Targets()[0]
	if target.Size() != 7 || target.Version() != got.Version("targets") || target.Version() < 1 {
		t.Errorf("got target %+v, want size 7 and version %d", target, got.Version("targets"))
	}
}

// Invalid names and hashes are reported, not signed.
func TestOddTargetsAreNoTargets(t *testing.T) {
	t.Parallel()
	s := notary(t)
	const name = "registry.example.com/odd"
	r := published(t, s, name, nil, func(r *notarytest.Repository) { must(t, r.Sign("ok", sha("1"), 7)) })
	entry := func(length float64, hash, value string) map[string]any {
		return map[string]any{"length": length, "hashes": map[string]any{hash: value}}
	}
	const sum = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
	must(t, r.Tamper("targets", func(signed map[string]any) {
		targets := signed["targets"].(map[string]any)
		targets[""] = entry(5, "sha256", sum)
		targets["-x"] = entry(5, "sha256", sum)
		targets["bidi\u202e"] = entry(5, "sha256", sum)
		targets["short"] = entry(5, "sha256", "AAAA")
		targets["sha512"] = entry(5, "sha512", sum)
		targets["negative"] = entry(-5, "sha256", sum)
		targets["zero"] = entry(0, "sha256", sum)
	}, true))
	got, err := read(t, pinned(s, r), name, Known{})
	must(t, err)
	if len(got.Targets()) != 1 || len(got.Findings()) != 7 {
		t.Errorf("got\n%s, want 1 target and 7 findings", show(got))
	}
}
