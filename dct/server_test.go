package dct

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Logging in is advised only where that helps.
func TestHintsOfRefusalsFollowTheCause(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status   int
		loggedIn bool
		hint     string
	}{
		{401, false, "log in with docker login"}, {403, false, "log in with docker login"},
		{401, true, "log in again with docker login"}, {403, true, "have the right granted"},
	} {
		s := notary(t)
		r := one(t, s, app)
		s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(c.status); return true })
		reader := pinned(s, r)
		reader.Source.(*Server).LoggedIn = func(string) bool { return c.loggedIn }
		_, err := read(t, reader, app, Known{})
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "\nhint: ") || !strings.Contains(err.Error(), c.hint) || c.loggedIn && strings.Contains(err.Error(), "log in with") {
			t.Errorf("%d, logged in %v: got %v, want %v with %q", c.status, c.loggedIn, err, ErrDenied, c.hint)
		}
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	s := &Server{URL: func(string) string { return strings.Replace(plain.URL, "http://", "https://", 1) }, HTTP: func(string) Doer { return http.DefaultClient }}
	if _, err := s.File(t.Context(), gun(t, app), "root", 100); err == nil || !strings.Contains(err.Error(), "\nhint: it answers without TLS: its address begins with http://") {
		t.Errorf("without TLS: got %v, want an error with a hint that says it", err)
	}
}

func TestServerAnswersAreExplained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hook func(w http.ResponseWriter, r *http.Request)
		kind error
		hint string
	}{
		"404 of Notary": {notFound, ErrUnsigned, ""},
		"404":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, ErrNotNotary, "check the Notary URL"},
		"404 page":      {http.NotFound, ErrNotNotary, "check the Notary URL"},
		"404 of a web page": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte("<html>METADATA_NOT_FOUND</html>"))
		}, ErrNotNotary, "check the Notary URL"},
		"404 of a registry":             {notFoundAs(`{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`), ErrNotNotary, "check the Notary URL"},
		"404 of Notary and another":     {notFoundAs(`{"errors":[{"code":"METADATA_NOT_FOUND"},{"code":"NAME_UNKNOWN"}]}`), ErrNotNotary, ""},
		"404 with no errors":            {notFoundAs(`{"errors":[]}`), ErrNotNotary, ""},
		"404 with the code elsewhere":   {notFoundAs(`{"code":"METADATA_NOT_FOUND"}`), ErrNotNotary, ""},
		"404 of Notary, followed":       {notFoundAs(`{"errors":[{"code":"METADATA_NOT_FOUND"}]}{}`), ErrNotNotary, ""},
		"404 of Notary, cut":            {notFoundAs(`{"errors":[{"code":"METADATA_NOT_FOUND"}`), ErrNotNotary, ""},
		"404 of Notary, and far larger": {notFoundAs(`{"errors":[{"code":"METADATA_NOT_FOUND","detail":"` + strings.Repeat("x", 1<<20) + `"}]}`), ErrNotNotary, ""},
		"METADATA_NOT_FOUND with 400": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"errors":[{"code":"METADATA_NOT_FOUND"}]}`))
		}, ErrNotNotary, ""},
		"401": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, ErrDenied, "docker login"},
		"403": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, ErrDenied, "docker login"},
		"429": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, ErrUnavailable, ""},
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, ErrUnavailable, ""},
		"301": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://new.example.com/", http.StatusMovedPermanently)
		}, ErrNotNotary, "new.example.com"},
		"a web page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<!DOCTYPE html><html>")) }, ErrNotNotary, "check the Notary URL"},
		"too large":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxRoot+1)) }, ErrRefused, ""},
		"no JSON":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, ErrRefused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := notary(t)
			r := one(t, s, app)
			s.SetHook(func(w http.ResponseWriter, r *http.Request) bool { c.hook(w, r); return true })
			reader, from := pinned(s, r), server(s)
			from.Advice = func(registry string) string { return "another way to " + registry }
			reader.Source = from
			_, err := read(t, reader, app, Known{})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.hint)
			}
			// Another way is suggested only where no Notary server can be reached.
			if want := errors.Is(c.kind, ErrUnavailable) || errors.Is(c.kind, ErrNotNotary); strings.HasSuffix(err.Error(), " another way to registry.example.com") != want {
				t.Errorf("got %v, want the advice: %t", err, want)
			}
		})
	}
}

// A cold read asks for root, timestamp, snapshot, targets and each published delegation.
func TestColdReadCostsFourRequestsAndTheDelegations(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	before := s.Requests()
	_, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	if n := s.Requests() - before; n != 6 {
		t.Errorf("got %d requests, want 6", n)
	}
}

// All files of a repository together may have exactly MaxBytes bytes. More is an error that names
// the flag, and says nothing against the signatures.
func TestTheFilesOfARepositoryAreBoundedTogether(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	all := int64(0)
	for _, role := range s.Roles(app) {
		all += int64(len(s.Raw(app, role)))
	}
	reader := pinned(s, r)
	for _, cache := range []Cache{nil, fileCache(t)} {
		reader.Cache = cache
		reader.MaxBytes = all - 1
		if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--max-trust-data") {
			t.Errorf("one byte less than it has: got %v, want %v and the flag", err, ErrTooLarge)
		}
		reader.MaxBytes = all
		if _, err := read(t, reader, app, Known{}); err != nil {
			t.Errorf("as many as it has: got %v, want no error", err)
		}
		reader.MaxBytes = all - 1
		if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("from what was kept: got %v, want %v", err, ErrTooLarge)
		}
	}
	// Older roots count too.
	known := rootOf(s)
	for range 3 {
		must(t, r.Tamper("root", func(map[string]any) {}, true))
	}
	reader.Cache, reader.MaxBytes = nil, all+100
	if _, err := read(t, reader, app, known); !errors.Is(err, ErrTooLarge) {
		t.Errorf("roots in between: got %v, want %v", err, ErrTooLarge)
	}
}

// A server that never finishes one repository, or its changefeed, is given up after a time limit.
// The error names the flag and is not the caller's own timeout.
func TestReadingHasATime(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	for _, where := range []string{"/root.json", "/targets.", "/changefeed"} {
		s.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, where) {
				<-r.Context().Done()
				return true
			}
			return false
		})
		reader := pinned(s, r)
		reader.MaxTime = 100 * time.Millisecond
		_, err := read(t, reader, app, Known{})
		if where == "/changefeed" {
			source := server(s)
			source.MaxTime = reader.MaxTime
			_, _, err = source.Changes(t.Context(), "a.example.com", nil)
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "--notary-timeout") {
			t.Errorf("%s: got %v, want an error that names the flag", where, err)
		}
		if where != "/changefeed" && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", where, err, ErrUnavailable)
		}
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	s.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := pinned(s, r).Read(ctx, gun(t, app), Known{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestParseGUN(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"alpine":                               "docker.io/library/alpine",
		"index.docker.io/library/a":            "docker.io/library/a",
		"user/app":                             "docker.io/user/app",
		"localhost:5000/foo":                   "localhost:5000/foo",
		"Reg.Example.com/foo":                  "Reg.Example.com/foo",
		"../../x":                              "",
		"reg.example.com/../x":                 "",
		"reg/Foo":                              "",
		"reg.example.com/foo*":                 "",
		"reg.example.com/a//b":                 "",
		"reg.example.com/a\x00b":               "",
		"reg.example.com/a:v1":                 "",
		"my_reg.example.com/a":                 "",
		"reg.example.com/a?b":                  "",
		strings.Repeat("a", 300):               "",
		"reg.example.com/a@sha256:" + sha("1"): "",
	} {
		got, err := ParseGUN(in)
		if want == "" && err == nil || want != "" && (err != nil || got.String() != want) {
			t.Errorf("ParseGUN(%q): got %s, %v, want %q", in, got, err, want)
		}
	}
	// The order is that of the names.
	names := []string{"a.io/b", "a.io/b-c", "a.io/b/c", "a.io.b/b", "a.io:1/a", "a-b.io/a"}
	for _, a := range names {
		for _, b := range names {
			if got, want := gun(t, a).Compare(gun(t, b)), strings.Compare(a, b); got != want {
				t.Errorf("%s and %s: got %d, want %d", a, b, got, want)
			}
		}
	}
	// The library's error repeats the name: both are shortened.
	long := "reg.example.com/" + strings.Repeat("A", 1000)
	_, err := ParseGUN(long)
	name, why, _ := strings.Cut(strings.TrimPrefix(fmt.Sprint(err), "repository "), ": ")
	why, _, _ = strings.Cut(why, "\nhint: ")
	if name != long[:256]+"…" || utf8.RuneCountInString(why) != 401 || !strings.HasSuffix(why, "A…") {
		t.Errorf("a long name: got %v, want it and the reason cut", err)
	}
}

// Hostile text from a server does not reach a terminal.
func TestErrorsEscapeWhatServersSay(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "https://x/\x1b]0;owned\a")
		w.WriteHeader(http.StatusMovedPermanently)
		return true
	})
	_, err := read(t, pinned(s, r), app, Known{})
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\a") {
		t.Errorf("got %q, want an error without control characters", err)
	}
}

// A server that can no longer sign timestamps answers 500 for the latest, but still has it by its
// hash.
func TestRescueFindsTheTimestampByItsHash(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := withOldDigest(t, s)
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/timestamp.json") {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	reader := pinned(s, r)
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without: got %v, want %v", err, ErrUnavailable)
	}
	rescue := server(s)
	rescue.Rescue = true
	reader.Source = rescue
	got, err := read(t, reader, app, Known{})
	must(t, err)
	if len(got.Targets()) != 1 {
		t.Errorf("got\n%s, want 1 target", show(got))
	}
	// An old timestamp from the feed is a rollback, as from anywhere else.
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/changefeed") {
			return false
		}
		_, _ = fmt.Fprintf(w, `{"count":1,"records":[{"ID":"1","GUN":%q,"SHA256":%q,"Category":"update"}]}`, app, s.History(app, "timestamp")[0].SHA256)
		return true
	})
	if _, err := read(t, reader, app, got.Known()); !errors.Is(err, ErrRefused) {
		t.Errorf("an old timestamp: got %v, want %v", err, ErrRefused)
	}
	if _, err := read(t, reader, "registry.example.com/none", Known{}); err == nil {
		t.Error("a repository that is not there: got no error, want one")
	}
}

// No error shows a password from the Notary server's URL.
func TestErrorsOfTheServerHoldNoPassword(t *testing.T) {
	t.Parallel()
	s := notary(t)
	one(t, s, app)
	for kind, answer := range map[string]func(w http.ResponseWriter){
		"html": func(w http.ResponseWriter) { w.Header().Set("Content-Type", "Text/HTML; charset=utf-8") },
		"500":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"418":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		"cut":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { answer(w); return true })
		source := server(s)
		source.URL = func(string) string { return strings.Replace(s.URL(), "://", "://me:canary-5f3c@", 1) }
		_, err := read(t, &Reader{Source: source}, app, Known{})
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want an error without the password", kind, err)
		}
	}
}
