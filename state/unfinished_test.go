package state_test

import (
	"slices"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

func TestUnfinishedAreThoseWithSomethingLeft(t *testing.T) {
	t.Parallel()
	l, _ := newLedger(t)
	of := func(gun, digit string) state.Key {
		return state.Key{Repository: gun, Digest: "sha256:" + digit + "000000000000000000000000000000000000000000000000000000000000000", KeyName: "k"}
	}
	for _, gun := range []string{"a", "b", "c", "d"} {
		for _, digit := range []string{"1", "2"} {
			_, err := l.Plan([]state.Item{{Key: of(gun, digit), GUN: "gun/" + gun}})
			must(t, err)
		}
		must(t, l.Confirm(of(gun, "1"), "sha256:1", ""))
	}
	must(t, l.Confirm(of("a", "2"), "sha256:1", ""))
	must(t, l.Skip(of("b", "2"), "missing", ""))
	must(t, l.Fail(of("c", "2"), "transient", ""))
	got, err := l.Unfinished()
	if err != nil || !slices.Equal(got, []string{"gun/c", "gun/d"}) {
		t.Errorf("got %v, %v, want gun/c and gun/d", got, err)
	}
	got, err = l.Unfinished("missing", "other")
	if err != nil || !slices.Equal(got, []string{"gun/b", "gun/c", "gun/d"}) {
		t.Errorf("with what was missing: got %v, %v, want gun/b, gun/c and gun/d", got, err)
	}
}
