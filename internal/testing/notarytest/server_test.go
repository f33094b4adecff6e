package notarytest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustpinning"
)

const rootPath = "/v2/" + gun + "/_trust/tuf/root.json"

// tokenFor requests a token as the challenge says, with name:password or "".
func tokenFor(t *testing.T, s *Server, login string, scopes ...string) (int, string) {
	t.Helper()
	address := s.URL() + tokenPath + "?" + url.Values{"service": {tokenService}, "scope": scopes}.Encode()
	var header []string
	if login != "" {
		header = []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(login))}
	}
	status, body := get(t, s.HTTPClient(), address, header...)
	var answer struct{ Token string }
	if status == 200 {
		must(t, json.Unmarshal([]byte(body), &answer))
	}
	return status, "Bearer " + answer.Token
}

// withToken sends a token with each request.
type withToken struct {
	http.RoundTripper
	token string
}

func (b withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", b.token)
	return b.RoundTripper.RoundTrip(r)
}

func TestTokenChallengeNamesTheScope(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TLS: true, Token: true})
	repository(t, s, gun)
	for _, c := range []struct{ method, path, scope string }{
		{"GET", rootPath, "repository:" + gun + ":pull"},
		{"GET", "/v2/" + gun + "/_trust/changefeed?records=1", "repository:" + gun + ":pull"},
		{"POST", "/v2/" + gun + "/_trust/tuf/", "repository:" + gun + ":pull,push"},
		{"DELETE", "/v2/" + gun + "/_trust/tuf/", "repository:" + gun + ":*"},
		{"GET", "/v2/", "registry:catalog:*"},
		{"GET", globalURL + "?records=1", "registry:catalog:*"},
	} {
		request, err := http.NewRequest(c.method, s.URL()+c.path, nil)
		must(t, err)
		response, err := s.HTTPClient().Do(request)
		must(t, err)
		_ = response.Body.Close()
		want := fmt.Sprintf(`Bearer realm="%s/auth/token",service="notarytest",scope="%s"`, s.URL(), c.scope)
		if got := response.Header.Get("Www-Authenticate"); response.StatusCode != 401 || got != want {
			t.Errorf("%s %s: got %d %s, want 401 %s", c.method, c.path, response.StatusCode, got, want)
		}
	}
	if len(s.GUNs()) != 1 {
		t.Errorf("DELETE without a token: got GUNs %v, want 1", s.GUNs())
	}
}

func TestTokensOpenWhatTheyWereGivenFor(t *testing.T) {
	t.Parallel()
	const pull, all = "repository:" + gun + ":pull,push", "registry:catalog:*"
	for _, c := range []struct {
		name        string
		users       map[string]string
		login       string
		status      int // of the token endpoint
		read, query int // status of reading the GUN, and of the global changefeed
	}{
		{"anybody may pull", nil, "", 200, 200, 401},
		{"unknown user", nil, "ann:x", 401, 401, 401},
		{"user", map[string]string{"ann": "pw"}, "ann:pw", 200, 200, 200},
		{"wrong password", map[string]string{"ann": "pw"}, "ann:no", 401, 401, 401},
		{"nobody", map[string]string{"ann": "pw"}, "", 401, 401, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Token: true, Users: c.users})
			repository(t, s, gun)
			status, token := tokenFor(t, s, c.login, pull+" "+all)
			if status != c.status {
				t.Errorf("token endpoint: got %d, want %d", status, c.status)
			}
			client := s.HTTPClient()
			if got, _ := get(t, client, s.URL()+rootPath, "Authorization", token); got != c.read {
				t.Errorf("root.json: got %d, want %d", got, c.read)
			}
			if got, _ := get(t, client, s.URL()+globalURL+"?records=1", "Authorization", token); got != c.query {
				t.Errorf("changefeed: got %d, want %d", got, c.query)
			}
			other := strings.Replace(rootPath, "app", "other", 1)
			if got, _ := get(t, client, s.URL()+other, "Authorization", token); got != 401 {
				t.Errorf("another GUN: got %d, want 401", got)
			}
		})
	}
}

func TestAnonymousTokenReadsAndDoesNotPublish(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TLS: true, Token: true})
	r := repository(t, s, gun)
	sign(t, r, "v1")
	_, token := tokenFor(t, s, "", "repository:"+gun+":pull,push")
	rt := withToken{s.HTTPClient().Transport, token}
	l, err := loadWith(s, gun, rt, storage.NewMemoryStore(nil), trustpinning.TrustPinConfig{})
	must(t, err)
	if got := l.role(t, "v1"); got != "targets" {
		t.Errorf("got v1 in %q, want targets", got)
	}
	remote, err := storage.NewNotaryServerStore(s.URL(), gun, rt)
	must(t, err)
	if err := remote.RemoveAll(); err == nil {
		t.Error("an anonymous token: got RemoveAll done, want an error")
	}
	if err := remote.Set("targets", s.Raw(gun, "targets")); !is[storage.ErrServerUnavailable](err) {
		t.Errorf("publishing: got error %v, want a 401", err)
	}
}

func TestHookAnswersAndMayBlock(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	repository(t, s, gun)
	stalled := make(chan struct{})
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/timestamp.json"):
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case strings.HasSuffix(r.URL.Path, "/stall.json"):
			close(stalled)
			<-r.Context().Done()
			return true
		}
		return false
	})
	if _, err := load(s, gun); !is[storage.ErrServerUnavailable](err) {
		t.Errorf("got %T %v, want the hook's 503", err, err)
	}
	if s.Requests() == 0 {
		t.Error("got what the hook answered not counted, want it counted")
	}
	gone := make(chan error, 1)
	go func() {
		response, err := s.HTTPClient().Get(s.URL() + "/v2/" + gun + "/_trust/tuf/stall.json")
		if err == nil {
			_ = response.Body.Close()
		}
		gone <- err
	}()
	<-stalled
	s.SetHook(nil) // the hanging hook must not block this
	mustLoad(t, s, gun)
	s.Close()
	if err := <-gone; err == nil {
		t.Error("got the stalled request answered, want an error")
	}
	s.Close() // a second Close is harmless
}

func TestLatencyIsAddedToEachRequest(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	s := start(t, Options{Latency: delay})
	repository(t, s, gun)
	before := time.Now()
	mustLoad(t, s, gun)
	if took := time.Since(before); took < 4*delay {
		t.Errorf("four requests: got %v, want at least %v", took, 4*delay)
	}
}

func TestTLSNeedsTheServersAuthority(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TLS: true})
	if !strings.HasPrefix(s.URL(), "https://"+s.Host()) || len(s.CAPEM()) == 0 {
		t.Errorf("got URL %s, %d bytes of CA, want https://%s and some", s.URL(), len(s.CAPEM()), s.Host())
	}
	if status, body := get(t, s.HTTPClient(), s.URL()+"/v2/"); status != 200 || body != "{}" {
		t.Errorf("ping: got %d %s, want 200 {}", status, body)
	}
	response, err := (&http.Client{Transport: &http.Transport{}}).Get(s.URL() + "/v2/")
	if err == nil {
		_ = response.Body.Close()
		t.Error("a client without the authority: got no error, want one")
	}
	if got := s.Requests(); got != 1 {
		t.Errorf("got %d requests counted, want 1", got)
	}
}

func TestRoutesAreThoseOfNotaryServer(t *testing.T) {
	t.Parallel()
	const base = "/v2/" + gun + "/_trust/"
	for request, want := range map[string]route{
		"GET /v2/":                                {kind: ping},
		"GET /v2/_trust/changefeed":               {kind: feedOfAll},
		"GET " + base + "changefeed":              {feed, gun, ""},
		"GET " + base + "tuf/targets/a/b.json":    {fetch, gun, "targets/a/b"},
		"POST " + base + "tuf/":                   {publish, gun, ""},
		"DELETE " + base + "tuf/":                 {erase, gun, ""},
		"GET " + base + "tuf/timestamp.key":       {askKey, gun, "timestamp"},
		"POST " + base + "tuf/snapshot.key":       {newKey, gun, "snapshot"},
		"GET " + base + "tuf/targets.key":         {},
		"PUT " + base + "tuf/root.json":           {},
		"GET /v2/a*b/_trust/tuf/root.json":        {},
		"GET /v2//_trust/tuf/root.json":           {},
		"GET /v2/a/_trust/b/_trust/tuf/root.json": {fetch, "a/_trust/b", "root"},
		"GET /": {},
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := routeOf(method, path); got != want {
			t.Errorf("%s: got %+v, want %+v", request, got, want)
		}
	}
}

// feedOf reads a page of a changefeed and describes its records.
func feedOf(t *testing.T, s *Server, path, query string) (string, []change) {
	t.Helper()
	status, body := get(t, s.HTTPClient(), s.URL()+path+query)
	if status != 200 {
		t.Fatalf("%s: got status %d, want 200: %s", query, status, body)
	}
	var page struct {
		Count   int
		Records []change
	}
	must(t, json.Unmarshal([]byte(body), &page))
	if page.Count != len(page.Records) {
		t.Errorf("%s: got count %d, want %d, of the records", query, page.Count, len(page.Records))
	}
	if page.Count == 0 && !strings.Contains(body, `"records":null`) {
		t.Errorf("%s: got an empty page %s, want records null", query, body)
	}
	var ids []string
	for _, c := range page.Records {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " "), page.Records
}

func TestChangefeedPages(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	a := repository(t, s, "example.com/a") // 1
	repository(t, s, "example.com/b")      // 2
	sign(t, a, "v1")                       // 3
	s.Delete("example.com/b")              // 4
	s.Delete("example.com/b")              // nothing
	sign(t, a, "v2")                       // 5
	for query, want := range map[string]string{
		"?records=100":              "1 2 3 4 5",
		"?records=0":                "1 2 3 4 5",
		"?records=2":                "1 2",
		"?records=2&change_id=0":    "1 2",
		"?records=2&change_id=2":    "3 4",
		"?records=2&change_id=4":    "5",
		"?records=2&change_id=5":    "",
		"?records=2&change_id=77":   "",
		"?records=1&change_id=-1":   "5",
		"?records=-2":               "",
		"?records=-2&change_id=-1":  "4 5",
		"?records=-2&change_id=4":   "2 3",
		"?records=-10&change_id=77": "1 2 3 4 5",
	} {
		if got, _ := feedOf(t, s, globalURL, query); got != want {
			t.Errorf("%s: got records %q, want %q", query, got, want)
		}
	}
	one := "/v2/example.com/a/_trust/changefeed"
	for query, want := range map[string]string{
		"?records=100":             "1 3 5",
		"?records=1&change_id=1":   "3",
		"?records=1&change_id=-1":  "5",
		"?records=-2&change_id=-1": "3 5",
	} {
		if got, _ := feedOf(t, s, one, query); got != want {
			t.Errorf("of one GUN, %s: got records %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"", "?records=x", "?records=1&change_id=x"} {
		status, body := get(t, s.HTTPClient(), s.URL()+globalURL+query)
		if status != 400 || !strings.Contains(body, "INVALID_PARAMETERS") {
			t.Errorf("%q: got status %d, want 400 with INVALID_PARAMETERS: %s", query, status, body)
		}
	}
}

func TestChangefeedRecordsNameTheTimestamp(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	repository(t, s, "example.com/a")
	s.Delete("example.com/a")
	repository(t, s, "example.com/a")
	_, records := feedOf(t, s, globalURL, "?records=10")
	if len(records) != 3 {
		t.Fatalf("got %d records, want 3", len(records))
	}
	stored := s.History("example.com/a", "timestamp")[0]
	update, deletion := records[2], records[1]
	if update.Category != "update" || update.SHA256 != stored.SHA256 || update.Version != 1 || update.CreatedAt.IsZero() {
		t.Errorf("got %+v, want an update to version 1 with hash %s", update, stored.SHA256)
	}
	if deletion.Category != "deletion" || deletion.GUN != "example.com/a" || deletion.SHA256 != "" {
		t.Errorf("got %+v, want a deletion of example.com/a without a hash", deletion)
	}
}
