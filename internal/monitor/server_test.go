package monitor

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, m *Monitor, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.pages().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestPagesAreTwoAndOnlyRead(t *testing.T) {
	t.Parallel()
	m, _ := fixed(time.Minute)
	for request, want := range map[string]int{
		"GET /metrics": 200, "HEAD /metrics": 200, "GET /healthz": 200, "HEAD /healthz": 200,
		"POST /metrics": 405, "DELETE /healthz": 405, "GET /": 404, "GET /metrics/": 404, "GET /debug/pprof/": 404, "POST /": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		if got, _ := get(t, m, method, path); got != want {
			t.Errorf("%s: %d, want %d", request, got, want)
		}
	}
	m.Over("the ledger is gone")
	if code, body := get(t, m, "GET", "/healthz"); code != 503 || !strings.Contains(body, "the ledger is gone") {
		t.Errorf("after the end: %d %s", code, body)
	}
}

// What is reported is shown, under the names that docs/reference/metrics.md lists.
func TestMetricsShowWhatWasTold(t *testing.T) {
	t.Parallel()
	m, c := fixed(10 * time.Minute)
	m.SetKeys(func() []Key { return []Key{{Name: "release", Expires: time.Unix(2e9, 0), Calls: 7, Throttled: 2}} })
	m.SetLedger(func() (Ledger, bool) { return Ledger{Bytes: 4096, Stages: map[string]int{"confirmed": 5}}, true })
	m.Began()
	m.Known(3)
	m.Item("signed", "")
	m.Item("failed", "denied")
	m.Read("registry.example.com/app", map[string]time.Time{"root": time.Unix(1.9e9, 0), "targets/alice": time.Unix(1.8e9, 0), "targets/bob": time.Unix(1.7e9, 0)})
	m.Unread("registry.example.com/other", "transient", false)
	m.Request("registry", 404)
	m.Request("registry", 0)
	m.Waits("429 Too Many Requests", 90*time.Second)
	m.KeyFailed("release", "denied")
	c.pass(2 * time.Second)
	m.Ended("incomplete", false, true)
	_, body := get(t, m, "GET", "/metrics")
	for _, line := range []string{
		`dct2notation_items_total{class="",result="signed"} 1`,
		`dct2notation_items_total{class="denied",result="failed"} 1`,
		`dct2notation_repositories_unread_total{class="transient"} 1`,
		`dct2notation_requests_total{server="registry",status="4xx"} 1`,
		`dct2notation_requests_total{server="registry",status="none"} 1`,
		`dct2notation_waits_total{reason="429 Too Many Requests"} 1`,
		`dct2notation_wait_seconds_total{reason="429 Too Many Requests"} 90`,
		`dct2notation_key_failures_total{class="denied",key="release"} 1`,
		`dct2notation_key_operations_total{key="release"} 7`,
		`dct2notation_key_throttled_total{key="release"} 2`,
		`dct2notation_certificate_expires_timestamp_seconds{key="release"} 2e+09`,
		`dct2notation_trust_data_expires_timestamp_seconds{role="delegations"} 1.7e+09`,
		`dct2notation_trust_data_expires_timestamp_seconds{role="root"} 1.9e+09`,
		`dct2notation_ledger_size_bytes 4096`, `dct2notation_ledger_items{stage="confirmed"} 5`,
		`dct2notation_passes_total{outcome="incomplete"} 1`,
		`dct2notation_pass_items_known 3`, `dct2notation_pass_items_done 2`, `dct2notation_pass_duration_seconds 2`,
		`dct2notation_pass_running 0`, `dct2notation_pass_interval_seconds 600`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("not shown: %s", line)
		}
	}
	if !strings.Contains(body, "dct2notation_pass_complete_timestamp_seconds 0\n") || !strings.Contains(body, "dct2notation_pass_incomplete 1\n") {
		t.Errorf("a pass was not complete, and none was before: %s", body)
	}
	m.Began()
	m.Ended("complete", true, true)
	if _, body := get(t, m, "GET", "/metrics"); strings.Contains(body, "dct2notation_pass_complete_timestamp_seconds 0\n") || !strings.Contains(body, "dct2notation_pass_incomplete 0\n") {
		t.Error("a complete pass is not shown")
	}
	// Ten thousand repositories must not become labels, nor must signers.
	if strings.Contains(body, "example.com") || strings.Contains(body, "alice") {
		t.Error("names are shown")
	}
}

// An alert on growth, or on time since the last complete pass, needs a value to start from.
func TestMetricsAreThereBeforeAnythingHappens(t *testing.T) {
	t.Parallel()
	m := New(Options{Outcomes: []string{"complete", "error"}, Results: map[string][]string{"signed": {""}, "failed": {"denied", "full"}}, Unread: []string{"transient"}})
	_, body := get(t, m, "GET", "/metrics")
	for _, name := range []string{
		`passes_total{outcome="complete"}`, `passes_total{outcome="error"}`, `items_total{class="",result="signed"}`, `items_total{class="denied",result="failed"}`,
		`items_total{class="full",result="failed"}`, `repositories_unread_total{class="transient"}`, `requests_total{server="notary",status="5xx"}`,
		`pass_complete_timestamp_seconds`, `pass_incomplete`, `pass_running`,
	} {
		if !strings.Contains(body, "dct2notation_"+name+" 0\n") {
			t.Errorf("not shown: %s", name)
		}
	}
}

// Dates are kept only of repositories that still exist.
func TestDatesOfRepositoriesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	m, c := fixed(time.Minute)
	soon := time.Unix(1.7e9, 0)
	m.Began()
	for _, name := range []string{"deleted", "unread", "unsigned", "feed"} {
		m.Read(name, map[string]time.Time{"targets": soon})
	}
	m.Ended("complete", true, true)
	pass := func(all bool, do func()) {
		c.pass(time.Minute)
		m.Began()
		do()
		m.Ended("complete", true, all)
	}
	pass(false, func() {}) // a changefeed named nothing
	if len(m.dates) != 4 {
		t.Errorf("after a pass over what changed: %v", m.dates)
	}
	pass(true, func() {
		m.Unread("unread", "transient", false)
		m.Unread("unsigned", "unsigned", true)
		m.Read("feed", nil)
	})
	if got := slices.Sorted(maps.Keys(m.dates)); !slices.Equal(got, []string{"feed", "unread"}) {
		t.Errorf("left: %v", got)
	}
	if !m.soonest()["targets"].Equal(soon) {
		t.Errorf("soonest %v", m.soonest())
	}
}

func TestServerEndsWithTheRun(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := fixed(time.Minute)
	stop := m.Serve(l)
	response, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(response.Body)
	_ = response.Body.Close()
	// A connection that never asks, and one that is kept open, do not keep the server from ending.
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the end took %s", took)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("somebody listens still")
	}
}

func TestPublicIsWhatOthersCanReach(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "0.0.0.0:0": true, ":0": true} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if Public(l) != want {
			t.Errorf("%s: public %t", address, !want)
		}
		_ = l.Close()
	}
}
