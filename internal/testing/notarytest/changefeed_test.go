package notarytest

import (
	"encoding/json"
	"strings"
	"testing"
)

// feedOf reads a page of a changefeed and describes its records.
func feedOf(t *testing.T, s *Server, path, query string) (string, []change) {
	t.Helper()
	status, body := get(t, s.HTTPClient(), s.URL()+path+query)
	if status != 200 {
		t.Fatalf("%s: status %d: %s", query, status, body)
	}
	var page struct {
		Count   int
		Records []change
	}
	must(t, json.Unmarshal([]byte(body), &page))
	if page.Count != len(page.Records) {
		t.Errorf("%s: count %d of %d records", query, page.Count, len(page.Records))
	}
	if page.Count == 0 && !strings.Contains(body, `"records":null`) {
		t.Errorf("%s: an empty page is %s", query, body)
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
			t.Errorf("%s: records %q, want %q", query, got, want)
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
			t.Errorf("of one GUN, %s: records %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"", "?records=x", "?records=1&change_id=x"} {
		status, body := get(t, s.HTTPClient(), s.URL()+globalURL+query)
		if status != 400 || !strings.Contains(body, "INVALID_PARAMETERS") {
			t.Errorf("%q: status %d: %s", query, status, body)
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
		t.Fatalf("%d records, want 3", len(records))
	}
	stored := s.History("example.com/a", "timestamp")[0]
	update, deletion := records[2], records[1]
	if update.Category != "update" || update.SHA256 != stored.SHA256 || update.Version != 1 || update.CreatedAt.IsZero() {
		t.Errorf("the update is %+v", update)
	}
	if deletion.Category != "deletion" || deletion.GUN != "example.com/a" || deletion.SHA256 != "" {
		t.Errorf("the deletion is %+v", deletion)
	}
}
