package dct

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// notary starts a Notary v1 server that stops with the test.
func notary(t *testing.T) *notarytest.Server {
	t.Helper()
	s, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// published makes a repository with the given signers and publishes what sign stages.
func published(t *testing.T, s *notarytest.Server, gun string, signers []string, sign func(r *notarytest.Repository)) *notarytest.Repository {
	t.Helper()
	r, err := s.NewRepository(gun)
	must(t, err)
	for _, name := range signers {
		must(t, r.AddSigner(name))
	}
	if sign != nil {
		sign(r)
	}
	must(t, r.Publish())
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sha makes a digest's 64 digits from a short mark.
func sha(mark string) string {
	return strings.Repeat("0", 64-len(mark)) + mark
}

// notFound answers as notary-server does for what it does not have.
func notFound(w http.ResponseWriter, r *http.Request) {
	notFoundAs(`{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist.","detail":null}]}`)(w, r)
}

func notFoundAs(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(body))
	}
}

// pinned reads from the server with the repository's own root pinned.
func pinned(s *notarytest.Server, repos ...*notarytest.Repository) *Reader {
	pins := Pins{Certs: map[string][]string{}}
	for _, r := range repos {
		pins.Certs[r.GUN()] = r.RootKeyIDs()
	}
	return &Reader{Source: server(s), Pins: pins}
}

func server(s *notarytest.Server) *Server {
	client := &http.Client{Transport: http.DefaultTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Server{URL: func(string) string { return s.URL() }, HTTP: func(string) Doer { return client }}
}

func gun(t *testing.T, name string) GUN {
	t.Helper()
	g, err := ParseGUN(name)
	must(t, err)
	return g
}

func read(t *testing.T, r *Reader, name string, known Known) (*Repository, error) {
	t.Helper()
	return r.Read(context.Background(), gun(t, name), known)
}

// show lists targets and findings as the trust data has them.
func show(r *Repository) string {
	var lines []string
	for _, t := range r.Targets() {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", t.Tag(), strings.TrimLeft(t.Digest().Encoded(), "0"), t.Role(), strings.Join(append(t.Signers(), t.Flags()...), " "))))
	}
	for _, f := range r.Findings() {
		lines = append(lines, f.Tag+" "+f.Class+" "+f.Role)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
