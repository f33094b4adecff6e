package dct

import (
	"strings"
	"testing"
	"time"
)

// A delegation speaks for the names that its paths allow and for no other, also where its
// file is validly signed.
func TestDelegationSpeaksOnlyForItsPaths(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := published(t, s, app, nil, nil)
	must(t, r.Sign("v1", sha("1"), 9))
	must(t, r.Publish())
	must(t, r.AddDelegation("targets/releases", []string{"rc-"}))
	must(t, r.Sign("rc-1", sha("2"), 9, "targets/releases"))
	must(t, r.Publish())
	must(t, r.Tamper("targets/releases", func(signed map[string]any) {
		targets := signed["targets"].(map[string]any)
		targets["v1"], targets["v9"] = targets["rc-1"], targets["rc-1"]
	}, true))
	got, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	want := "rc-1 2 targets/releases\nv1 1 targets legacy-targets\nv9 unreachable-target targets/releases"
	if show(got) != want {
		t.Errorf("got\n%s\nwant\n%s", show(got), want)
	}
}

// Fields of the roles in a root are fields, whatever the role is called.
func TestGateKnowsTheFieldsOfRoles(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"root", "targets", "snapshot", "meta"} {
		in := `{"signed":{"roles":{"` + role + `":{"KeyIDs":[],"keyids":["a"],"threshold":1}}}}`
		if err := gate([]byte(in)); err == nil || !strings.Contains(err.Error(), "differs") {
			t.Errorf("%s: %v", role, err)
		}
	}
	if gate([]byte(`{"signed":{"version":-9007199254740992}}`)) == nil {
		t.Error("-2^53 accepted")
	}
}

// The certificate of the root is a date like the others: a target does not outlive it.
func TestTargetDoesNotOutliveTheRootCertificate(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	soon := time.Now().Add(time.Hour)
	must(t, r.Recertify("", time.Now().Add(-time.Hour), soon))
	got, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	if target := got.Targets()[0]; target.Check(soon.Add(-time.Minute)) != nil || target.Check(soon.Add(time.Minute)) == nil {
		t.Errorf("valid until %s", soon)
	}
}
