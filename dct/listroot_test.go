package dct_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// The listed keys pin the root, and a root that its own keys have not signed is not listed.
func TestListedRootKeysPinTheRoot(t *testing.T) {
	t.Parallel()
	server, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	const name = "registry.example.com/team/app"
	repository, err := server.NewRepository(name)
	if err == nil {
		err = repository.Publish()
	}
	gun, parseErr := dct.ParseGUN(name)
	if err := errors.Join(err, parseErr); err != nil {
		t.Fatal(err)
	}
	source := &dct.Server{URL: func(string) string { return server.URL() }, HTTP: func(string) dct.Doer { return http.DefaultClient }}
	list := func() ([]dct.RootKey, error) {
		_, keys, err := (&dct.Reader{Source: source}).ListRoot(context.Background(), gun)
		return keys, err
	}
	keys, err := list()
	if err != nil || len(keys) != 1 || !slices.Equal([]string{keys[0].ID}, repository.RootKeyIDs()) || keys[0].Expires.IsZero() {
		t.Fatalf("got %+v, error %v, want the key %s with its certificate", keys, err, repository.RootKeyIDs())
	}
	for kind, pins := range map[string]dct.Pins{
		"certs":     {Certs: map[string][]string{name: {keys[0].ID}}},
		"root-keys": {RootKeys: map[string][]string{name: {keys[0].PublicID}}},
	} {
		reader := &dct.Reader{Source: source, Pins: pins}
		if _, err := reader.Read(context.Background(), gun, dct.Known{}); err != nil {
			t.Errorf("pinned by %s as listed: got %v, want it read", kind, err)
		}
		if _, again, err := reader.ListRoot(context.Background(), gun); err != nil || !again[0].Pinned {
			t.Errorf("pinned by %s and listed again: got %+v, error %v, want it pinned", kind, again, err)
		}
	}
	other := dct.Pins{Certs: map[string][]string{name: {strings.Repeat("0", 64)}}}
	if _, again, err := (&dct.Reader{Source: source, Pins: other}).ListRoot(context.Background(), gun); err != nil || again[0].Pinned || keys[0].Pinned {
		t.Errorf("another key is pinned, and none before: got %+v and %+v, error %v, want neither pinned", again, keys, err)
	}
	if err := repository.BadSignature("root"); err != nil {
		t.Fatal(err)
	}
	if keys, err := list(); !errors.Is(err, dct.ErrRefused) {
		t.Errorf("badly signed: got %+v, error %v, want %v", keys, err, dct.ErrRefused)
	}
}
