package dct

import (
	"errors"
	"testing"
)

// Failures of a Notary host count only in a row, and refusals only if it let no repository in.
func TestHostIsGivenUpOnlyAfterFailuresInARow(t *testing.T) {
	t.Parallel()
	gun, err := ParseGUN("registry.example.com/team/app")
	if err != nil {
		t.Fatal(err)
	}
	h := NewHosts()
	for range 3 {
		for range hostPatience - 1 {
			h.note(gun, ErrUnavailable)
		}
		h.note(gun, nil)
	}
	for range 2 * hostPatience {
		h.note(gun, ErrDenied) // of some repositories, where others are readable
		h.note(gun, ErrUnsigned)
	}
	if err := h.closed(gun); err != nil {
		t.Errorf("given up: got %v, want no error", err)
	}
	for range hostPatience {
		h.note(gun, ErrNotNotary)
	}
	if !errors.Is(h.closed(gun), ErrNotNotary) {
		t.Errorf("got %v, want %v, as it is given up", h.closed(gun), ErrNotNotary)
	}
}

// A snapshot goes on after a refused repository, but not after a refused login.
func TestARefusedLoginIsOfTheHost(t *testing.T) {
	t.Parallel()
	gun, err := ParseGUN("registry.example.com/team/app")
	if err != nil {
		t.Fatal(err)
	}
	for why, given := range map[error]bool{error(&Error{Kind: ErrDenied, Err: errors.New("403")}): false, error(&Error{Kind: ErrDenied, Err: loginRefused{errors.New("401")}}): true} {
		h := NewHosts()
		h.ByRepository = true
		for range hostPatience {
			h.note(gun, why)
		}
		if got := h.closed(gun) != nil; got != given {
			t.Errorf("%v: got the host given up %t, want %t", why, got, given)
		}
	}
}
