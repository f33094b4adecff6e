package dct

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/notarytest"
)

func TestChangesGoOnFromTheirPosition(t *testing.T) {
	t.Parallel()
	s := notary(t)
	published(t, s, "a.example.com/one", nil, func(r *notarytest.Repository) { must(t, r.Sign("v1", sha("1"), 1)) })
	published(t, s, "a.example.com/two", nil, nil)
	all, position, err := server(s).Changes(t.Context(), "a.example.com", "")
	must(t, err)
	if fmt.Sprint(all) != "[{a.example.com/one false} {a.example.com/two false}]" || position == "" {
		t.Errorf("%v up to %s", all, position)
	}
	again, same, err := server(s).Changes(t.Context(), "a.example.com", position)
	must(t, err)
	if len(again) != 0 || same != position {
		t.Errorf("again: %v up to %s", again, same)
	}
	s.Delete("a.example.com/one")
	published(t, s, "a.example.com/three", nil, nil)
	more, _, err := server(s).Changes(t.Context(), "a.example.com", position)
	must(t, err)
	if fmt.Sprint(more) != "[{a.example.com/one true} {a.example.com/three false}]" {
		t.Errorf("more: %v", more)
	}
}

func TestChangesOfWhatIsNoChangefeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"a web page":  {"<html>", "no changefeed"},
		"half a page": {`{"count":3,"records":[{"ID":"1","GUN":"a"}]}`, "3 records and has 1"},
		"circles":     {`{"count":1,"records":[{"ID":"","GUN":"a"}]}`, "circles"},
	} {
		s := notary(t)
		s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(c.body)); return true })
		if _, _, err := server(s).Changes(t.Context(), "a.example.com", ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := notary(t)
	s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true })
	if _, _, err := server(s).Changes(t.Context(), "a.example.com", ""); err == nil || !strings.Contains(err.Error(), "--discover catalog") {
		t.Errorf("forbidden: %v", err)
	}
}
