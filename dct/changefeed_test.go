package dct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

func TestChangesGoOnFromWhatWasRead(t *testing.T) {
	t.Parallel()
	s := notary(t)
	published(t, s, "a.example.com/one", nil, func(r *notarytest.Repository) { must(t, r.Sign("v1", sha("1"), 1)) })
	published(t, s, "a.example.com/two", nil, nil)
	all, changed, err := server(s).Changes(t.Context(), "a.example.com", nil)
	must(t, err)
	if want := "[{a.example.com/one false} {a.example.com/two false}]"; fmt.Sprint(changed) != want || fmt.Sprint(all.All()) != want {
		t.Errorf("at first: got %v of %v, want %s", changed, all.All(), want)
	}
	again, changed, err := server(s).Changes(t.Context(), "a.example.com", all)
	must(t, err)
	if len(changed) != 0 || len(again.All()) != 2 {
		t.Errorf("again: got %v of %v, want nothing of two", changed, again.All())
	}
	s.Delete("a.example.com/one")
	published(t, s, "a.example.com/three", nil, nil)
	more, changed, err := server(s).Changes(t.Context(), "a.example.com", again)
	must(t, err)
	if want := "[{a.example.com/one true} {a.example.com/three false}]"; fmt.Sprint(changed) != want || len(more.All()) != 3 {
		t.Errorf("more: got %v of %v, want %s of three", changed, more.All(), want)
	}
}

// feedOf serves records as a Notary server's changefeed does: those after change_id, and an error
// for an unknown id.
func feedOf(records func() []feedRecord) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		all := records()
		if id := r.URL.Query().Get("change_id"); id != "" {
			i := slices.IndexFunc(all, func(r feedRecord) bool { return r.ID == id })
			if i < 0 {
				w.WriteHeader(http.StatusBadRequest)
				return true
			}
			all = all[i+1:]
		}
		n, err := strconv.Atoi(r.URL.Query().Get("records"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		all = all[:min(n, len(all))]
		_ = json.NewEncoder(w).Encode(map[string]any{"count": len(all), "records": all}) // to a test
		return true
	}
}

// numbered makes update records with ids from 1, each of its own repository.
func numbered(n int) []feedRecord {
	var all []feedRecord
	for i := range n {
		all = append(all, feedRecord{fmt.Sprint(i + 1), fmt.Sprintf("a.example.com/r%d", i+1), sha(fmt.Sprint(i + 1)), "update"})
	}
	return all
}

// A feed is followed only while the server still has the very records that were read last.
// Otherwise everything is read anew.
func TestChangesStartOverUnlessTheLastRecordsAreThere(t *testing.T) {
	t.Parallel()
	update := func(id, name, sum string) feedRecord {
		return feedRecord{id, "a.example.com/" + name, sha(sum), "update"}
	}
	for name, c := range map[string]struct {
		then func(b []feedRecord, last int) []feedRecord
		want string // names of what changed, or all
	}{
		"nothing new":        {func(b []feedRecord, _ int) []feedRecord { return b }, ""},
		"one more":           {func(b []feedRecord, _ int) []feedRecord { return append(b, update("n", "fresh", "n")) }, "fresh"},
		"one of an old name": {func(b []feedRecord, _ int) []feedRecord { return append(b, update("n", "r1", "n")) }, "r1"},
		"one twice": {func(b []feedRecord, last int) []feedRecord {
			return append(b, feedRecord{"n", b[0].GUN, b[0].SHA256, "update"})
		}, "r1"},
		"one that is late":  {func(b []feedRecord, last int) []feedRecord { return slices.Insert(b, last, update("n", "late", "n")) }, "late"},
		"another id":        {func(b []feedRecord, last int) []feedRecord { b[last].ID = "n"; return b }, "all"},
		"another name":      {func(b []feedRecord, last int) []feedRecord { b[last].GUN = "a.example.com/other"; return b }, "all"},
		"another timestamp": {func(b []feedRecord, last int) []feedRecord { b[last].SHA256 = sha("n"); return b }, "all"},
		"another category":  {func(b []feedRecord, last int) []feedRecord { b[last].Category = "deletion"; return b }, "all"},
		"the last one gone": {func(b []feedRecord, last int) []feedRecord { return b[:last] }, "all"},
		"an earlier gone":   {func(b []feedRecord, last int) []feedRecord { return slices.Delete(b, last-1, last) }, "all"},
		"made anew": {func(b []feedRecord, _ int) []feedRecord {
			for i := range b {
				b[i].GUN, b[i].SHA256 = fmt.Sprintf("a.example.com/anew%d", i), sha("a"+fmt.Sprint(i))
			}
			return b
		}, "all"},
		"made anew, longer": {func([]feedRecord, int) []feedRecord {
			longer := numbered(3500)
			for i := range longer {
				longer[i].SHA256 = sha("a" + fmt.Sprint(i))
			}
			return longer
		}, "all"},
		"made anew, empty": {func([]feedRecord, int) []feedRecord { return nil }, "all"},
	} {
		for _, length := range []int{3, 2*tailLength + 3, 3 * changesPage} {
			t.Run(fmt.Sprintf("%s/%d", name, length), func(t *testing.T) {
				t.Parallel()
				s := notary(t)
				records := numbered(length)
				s.SetHook(feedOf(func() []feedRecord { return records }))
				before, _, err := server(s).Changes(t.Context(), "a.example.com", nil)
				must(t, err)
				records = c.then(slices.Clone(records), length-1)
				after, changed, err := server(s).Changes(t.Context(), "a.example.com", before)
				must(t, err)
				fresh, _, err := server(s).Changes(t.Context(), "a.example.com", nil)
				must(t, err)
				var names []string
				for _, one := range changed {
					names = append(names, strings.TrimPrefix(one.GUN, "a.example.com/"))
				}
				if c.want == "all" && !slices.Equal(changed, fresh.All()) {
					t.Errorf("got %d changed, want all %d", len(changed), len(fresh.All()))
				}
				if c.want != "all" && strings.Join(names, " ") != c.want {
					t.Errorf("got %v changed, want %q", names, c.want)
				}
				if c.want == "all" && !slices.Equal(after.All(), fresh.All()) || len(after.All()) != len(fresh.All()) {
					t.Errorf("got %d in all, want %d", len(after.All()), len(fresh.All()))
				}
			})
		}
	}
}

// Of two records of a repository, the one later in the feed counts, whenever each was seen.
func TestALateRecordOverrulesNoLaterOne(t *testing.T) {
	t.Parallel()
	s := notary(t)
	records := []feedRecord{{"1", "a.example.com/x", sha("1"), "update"}, {"3", "a.example.com/x", "", "deletion"}}
	s.SetHook(feedOf(func() []feedRecord { return records }))
	before, _, err := server(s).Changes(t.Context(), "a.example.com", nil)
	must(t, err)
	records = slices.Insert(records, 1, feedRecord{"2", "a.example.com/x", sha("2"), "update"})
	_, changed, err := server(s).Changes(t.Context(), "a.example.com", before)
	must(t, err)
	if fmt.Sprint(changed) != "[{a.example.com/x true}]" {
		t.Errorf("got %v, want it deleted", changed)
	}
}

func TestChangesOfWhatIsNoChangefeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"a web page":        {"<html>", "not a changefeed"},
		"nothing":           {"null", "not a changefeed"},
		"an empty object":   {"{}", "not a changefeed"},
		"another's answer":  {`{"status":"ok"}`, "not a changefeed"},
		"no records":        {`{"count":0}`, "not a changefeed"},
		"no count":          {`{"records":[]}`, "not a changefeed"},
		"half a page":       {`{"count":3,"records":[{"ID":"1","GUN":"a"}]}`, "3 records and has 1"},
		"circles":           {`{"count":1,"records":[{"ID":"","GUN":"a"}]}`, "pages repeat"},
		"one page for ever": {`{"count":2,"records":[{"ID":"1","GUN":"a"},{"ID":"2","GUN":"b"}]}`, "pages repeat"},
		"a large page":      {`{"count":0,"records":[]}` + strings.Repeat(" ", maxPage), "larger than"},
	} {
		s := notary(t)
		s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(c.body)); return true })
		if _, _, err := server(s).Changes(t.Context(), "a.example.com", nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	s := notary(t) // notary-server's answer if there are none
	s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(`{"count":0,"records":null}`))
		return true
	})
	if _, changed, err := server(s).Changes(t.Context(), "a.example.com", nil); err != nil || len(changed) != 0 {
		t.Errorf("no records: got %v, %v, want none", changed, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := server(s).Changes(ctx, "a.example.com", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
	s.Close()
	if _, _, err := server(s).Changes(t.Context(), "a.example.com", nil); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("not running: got %v, want a refused connection", err)
	}
}

// Only a server that refuses the changefeed, or a Notary server without one, withholds it. Then
// people may supply a list.
func TestWhoRefusesTheChangefeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code    int
		body    string
		refused bool
	}{
		"401":                         {401, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}`, true},
		"403":                         {403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`, true},
		"a proxy's 401":               {401, "<html>", false},
		"a proxy's 403":               {403, "<html>", false},
		"a 403 without a body":        {403, "", false},
		"a 403 with another code":     {403, `{"errors":[{"code":"DENIED"},{"code":"TOOMANYREQUESTS"}]}`, false},
		"a 403 in JSON of its own":    {403, `{"message":"blocked by policy"}`, false},
		"an old Notary server":        {404, `{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist."}]}`, true},
		"a proxy's 404":               {404, "<html>", false},
		"a 404 without a body":        {404, "", false},
		"a registry's 404":            {404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, false},
		"a server in trouble":         {503, "", false},
		"one with too many questions": {429, "", false},
	} {
		s := notary(t)
		s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.body))
			return true
		})
		_, _, err := server(s).Changes(t.Context(), "a.example.com", nil)
		if err == nil || errors.Is(err, ErrFeedRefused) != c.refused || c.refused && !strings.Contains(err.Error(), "--discover catalog") {
			t.Errorf("%s: got %v, want it refused: %t", name, err, c.refused)
		}
	}
}

// The same codes tell who refuses a token: neither a wrong password nor a proxy before the token
// server means that nobody may read the changefeed.
func TestWhoRefusesTheTokenForTheChangefeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer  errcode.ErrorResponse
		refused bool
	}{
		"its code":        {errcode.ErrorResponse{StatusCode: 401, Errors: errcode.Errors{{Code: "UNAUTHORIZED"}}}, true},
		"its other code":  {errcode.ErrorResponse{StatusCode: 403, Errors: errcode.Errors{{Code: "DENIED"}}}, true},
		"no code":         {errcode.ErrorResponse{StatusCode: 401}, false},
		"a proxy's 403":   {errcode.ErrorResponse{StatusCode: 403}, false},
		"another code":    {errcode.ErrorResponse{StatusCode: 403, Errors: errcode.Errors{{Code: "DENIED"}, {Code: "UNKNOWN"}}}, false},
		"another trouble": {errcode.ErrorResponse{StatusCode: 500, Errors: errcode.Errors{{Code: "UNAUTHORIZED"}}}, false},
	} {
		c.answer.Method, c.answer.URL = http.MethodGet, &url.URL{Scheme: "https", Host: "auth.example.com"}
		s := &Server{
			URL:  func(string) string { return "https://notary.example.com" },
			HTTP: func(string) Doer { return refusing{&c.answer} },
		}
		_, _, err := s.Changes(t.Context(), "a.example.com", nil)
		if err == nil || errors.Is(err, ErrFeedRefused) != c.refused {
			t.Errorf("%s: got %v, want it refused: %t", name, err, c.refused)
		}
	}
}

// refusing is a client that gets no token.
type refusing struct{ err error }

func (r refusing) Do(*http.Request) (*http.Response, error) { return nil, r.err }

// A feed that loops over several pages, or never ends, fails with an error that names the flag. A
// feed of exactly the permitted length is read.
func TestChangesHaveAnEnd(t *testing.T) {
	t.Parallel()
	s := notary(t)
	asked := 0
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		asked++
		id := map[string]string{"": "1", "1": "2", "2": "3", "3": "1"}[r.URL.Query().Get("change_id")]
		_, _ = fmt.Fprintf(w, `{"count":1,"records":[{"ID":%q,"GUN":"a.example.com/x"}]}`, id)
		return true
	})
	if _, _, err := server(s).Changes(t.Context(), "a.example.com", nil); err == nil || !strings.Contains(err.Error(), "pages repeat") || asked > 4 {
		t.Errorf("round: got %v after %d requests, want an error that says that pages repeat after at most 4", err, asked)
	}
	asked = 0
	s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		asked++
		_, _ = fmt.Fprintf(w, `{"count":1,"records":[{"ID":"%d","GUN":"a.example.com/x"}]}`, asked)
		return true
	})
	endless := server(s)
	endless.MaxRecords = 40
	if _, _, err := endless.Changes(t.Context(), "a.example.com", nil); err == nil || !strings.Contains(err.Error(), "--max-changefeed-records") || asked != 41 {
		t.Errorf("endless: got %v after %d requests, want an error that names the flag after 41", err, asked)
	}
	s.SetHook(feedOf(func() []feedRecord { return numbered(40) }))
	if _, changed, err := endless.Changes(t.Context(), "a.example.com", nil); err != nil || len(changed) != 40 {
		t.Errorf("as long as permitted: got %d, %v, want 40", len(changed), err)
	}
	s.SetHook(feedOf(func() []feedRecord { return numbered(41) }))
	if _, _, err := endless.Changes(t.Context(), "a.example.com", nil); err == nil {
		t.Error("one record more: got no error, want one")
	}
}

// A cache between us and the server gives the same answers until it is told not to. Then changes would be seen late,
// or never.
func TestACacheBetweenIsPassed(t *testing.T) {
	t.Parallel()
	s := notary(t)
	var mu sync.Mutex
	records, cached := numbered(2), map[string][]feedRecord{}
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return feedOf(func() []feedRecord {
			key := r.URL.String()
			if _, has := cached[key]; !has || r.Header.Get("Cache-Control") == "no-cache" {
				cached[key] = slices.Clone(records)
			}
			return cached[key]
		})(w, r)
	})
	before, _, err := server(s).Changes(t.Context(), "a.example.com", nil)
	must(t, err)
	mu.Lock()
	records = numbered(3)
	mu.Unlock()
	_, changed, err := server(s).Changes(t.Context(), "a.example.com", before)
	must(t, err)
	if want := "[{a.example.com/r3 false}]"; fmt.Sprint(changed) != want {
		t.Errorf("got %v, want %s", changed, want)
	}
}

func TestACacheDoesNotAnswerForTrustData(t *testing.T) {
	t.Parallel()
	s := notary(t)
	published(t, s, "a.example.com/one", nil, nil)
	gun, err := ParseGUN("a.example.com/one")
	must(t, err)
	var said atomic.Value
	s.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		said.Store(r.Header.Get("Cache-Control"))
		return false
	})
	_, err = server(s).File(t.Context(), gun, "timestamp", maxRoot)
	must(t, err)
	if said.Load() != "no-cache" {
		t.Errorf("got Cache-Control %q, want no-cache", said.Load())
	}
}
