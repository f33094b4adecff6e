package monitor

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A pass that could not read a repository, or did not reach it, leaves its problems as they were,
// shows nothing as good, and makes nothing fresh.
func TestWhatWasNotComparedIsNotShownAsWell(t *testing.T) {
	t.Parallel()
	const app = "registry.example.com/app"
	rows := func(class string, n string) string {
		return `dct2notation_verify_rows{class="` + class + `",repository="` + app + `"} ` + n
	}
	const (
		compared = `dct2notation_verify_compared_timestamp_seconds{repository="` + app + `"} `
		first    = "1.7672256e+09"
		unread   = `dct2notation_verify_unread{class="unknown",repository="` + app + `"} 1`
		signed   = `dct2notation_verify_certificate_expires_timestamp_seconds{repository="` + app + `"} 2e+09`
	)
	for name, c := range map[string]struct {
		second      func(m *Monitor)
		shown, gone []string
	}{
		"read": {
			func(m *Monitor) {
				m.Compared(Comparison{Repository: app, Rows: map[string]int{"agree": 4}, Whole: true})
				m.Ended("complete", true, true)
			},
			[]string{rows("agree", "4"), rows("untrusted", "0"), rows("dct-only", "0"), compared + "1.7672292e+09"}, []string{"verify_unread", "verify_certificate"},
		},
		"not read": {
			func(m *Monitor) {
				m.Compared(Comparison{Repository: app, Unread: "unknown"})
				m.Ended("incomplete", false, true)
			},
			[]string{rows("agree", "0"), rows("untrusted", "1"), unread, compared + first, signed}, nil,
		},
		"read in part": {
			func(m *Monitor) {
				m.Compared(Comparison{Repository: app, Rows: map[string]int{"agree": 3, "unknown": 1}, Unread: "unknown"})
				m.Ended("incomplete", false, true)
			},
			[]string{rows("agree", "3"), rows("unknown", "1"), unread, compared + first}, nil,
		},
		"a pass that did not come to it": {
			func(m *Monitor) { m.Ended("error", false, false) },
			[]string{rows("agree", "0"), rows("untrusted", "1"), unread, compared + first, "dct2notation_pass_incomplete 1"}, nil,
		},
		"not there any more": {
			func(m *Monitor) { m.Ended("complete", true, true) },
			nil, []string{"verify_rows", "verify_unread", "verify_compared", "verify_trust_data"},
		},
	} {
		m, clock := fixed(time.Hour)
		m.o.Fine, m.o.Counted = []string{"agree"}, []string{"dct-only"}
		m.Began()
		m.Compared(Comparison{
			Repository: app, Rows: map[string]int{"agree": 5, "untrusted": 1}, Whole: true,
			Expires: map[string]time.Time{"targets/alice": time.Unix(1.9e9, 0), "targets/bob": time.Unix(1.8e9, 0)}, Signed: time.Unix(2e9, 0),
		})
		m.Ended("disagree", true, true)
		clock.pass(time.Hour)
		m.Began()
		c.second(m)
		_, body := get(t, m, "GET", "/metrics")
		for _, line := range c.shown {
			if !strings.Contains(body, "\n"+line+"\n") {
				t.Errorf("%s: not shown: %s", name, line)
			}
		}
		for _, part := range c.gone {
			if strings.Contains(body, "dct2notation_"+part) {
				t.Errorf("%s: shown: %s", name, part)
			}
		}
		if t.Failed() {
			t.Log(body)
		}
	}
}

// A tag that enters a class is new there for a day, even if another left it in the same pass, and
// whether or not a pass in between could look.
func TestTagsThatAreNewInAClass(t *testing.T) {
	t.Parallel()
	type tags = map[string]string
	pass := func(read bool, all tags) Comparison {
		c := Comparison{Repository: "a", Whole: read, Rows: map[string]int{}, Tags: all}
		for _, class := range all {
			c.Rows[class]++
		}
		if !read {
			c.Unread = "unknown"
		}
		return c
	}
	unread := Comparison{Repository: "a", Unread: "unknown"}
	before := pass(true, tags{"old": "dct-only", "v1": "agree", "v2": "agree"})
	for name, c := range map[string]struct {
		then []Comparison
		wait time.Duration
		want string
	}{
		"as before":                      {[]Comparison{before}, 0, "0"},
		"one more":                       {[]Comparison{pass(true, tags{"old": "dct-only", "v1": "dct-only", "v2": "agree"})}, 0, "1"},
		"one for another":                {[]Comparison{pass(true, tags{"old": "agree", "v1": "dct-only", "v2": "agree"})}, 0, "1"},
		"mended":                         {[]Comparison{pass(true, tags{"old": "agree", "v1": "dct-only"}), pass(true, tags{"old": "agree", "v1": "agree"})}, 0, "0"},
		"after a day":                    {[]Comparison{pass(true, tags{"old": "agree", "v1": "dct-only"})}, 24 * time.Hour, "0"},
		"a pass between that saw none":   {[]Comparison{unread, before}, 0, "0"},
		"a tag that was unknown between": {[]Comparison{pass(false, tags{"old": "unknown", "v1": "agree"}), before}, 0, "0"},
		"tags not listed between":        {[]Comparison{{Repository: "a", Unread: "unknown", Rows: map[string]int{"agree": 1}, Tags: tags{"v1": "agree"}}, before}, 0, "0"},
		"one for another, in part":       {[]Comparison{pass(false, tags{"old": "agree", "v1": "dct-only", "v2": "unknown"})}, 0, "1"},
		"back after it was mended":       {[]Comparison{pass(true, tags{"old": "agree"}), before}, 0, "1"},
		"of another class":               {[]Comparison{pass(true, tags{"old": "untrusted", "v1": "untrusted"})}, 0, "0"},
	} {
		m, clock := fixed(time.Hour)
		m.o.Fine, m.o.Counted = []string{"agree"}, []string{"dct-only"}
		for _, one := range append([]Comparison{before}, c.then...) {
			clock.pass(time.Hour)
			m.Began()
			m.Compared(one)
			m.Ended("complete", one.Whole, true)
		}
		clock.pass(c.wait)
		line := `dct2notation_verify_new_rows{class="dct-only",repository="a"} ` + c.want
		if _, body := get(t, m, "GET", "/metrics"); !strings.Contains(body, line+"\n") {
			t.Errorf("%s: got\n%s\nwant %s", name, body, line)
		}
	}
}

// A repository that was never compared as a whole shows that, for an alert on how long ago it was.
func TestNeverComparedIsShown(t *testing.T) {
	t.Parallel()
	m, _ := fixed(time.Hour)
	m.Began()
	m.Compared(Comparison{Repository: "a", Unread: "unknown"})
	m.Ended("incomplete", false, true)
	if _, body := get(t, m, "GET", "/metrics"); !strings.Contains(body, `dct2notation_verify_compared_timestamp_seconds{repository="a"} 0`) {
		t.Errorf("got\n%s\nwant 0 for when it was compared", body)
	}
}

var metricName = regexp.MustCompile(`\bdct2notation_[a-z0-9_]+`)

// The rules, the dashboard and the documentation name only metrics that exist.
func TestDeployedNamesExist(t *testing.T) {
	t.Parallel()
	m, _ := fixed(time.Hour)
	descs := make(chan *prometheus.Desc, 1000)
	m.registry.Describe(descs)
	close(descs)
	exist := map[string]bool{}
	for d := range descs {
		exist[metricName.FindString(d.String())] = true
	}
	const ended = "dct2notation_verify_ended_timestamp_seconds"
	written := map[string]bool{ended: true} // by report -o prometheus
	root := filepath.Join("..", "..")
	for _, file := range []string{"deploy/prometheus/dct2notation.rules.yaml", "deploy/grafana/dct2notation.json"} {
		raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		names := metricName.FindAllString(string(raw), -1)
		if len(names) < 5 {
			t.Errorf("%s: got %d names of metrics, want more", file, len(names))
		}
		for _, name := range names {
			if !exist[name] && !written[name] {
				t.Errorf("%s: got %s, want the name of a metric", file, name)
			}
		}
	}
	// A file of metrics says that all is well until it is replaced, so its age must raise an alert.
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "dct2notation.rules.yaml"))
	if err != nil || !strings.Contains(string(raw), "time() - "+ended) {
		t.Errorf("got no alert on the age of %s, %v, want one", ended, err)
	}
	// The table there writes names without their prefix.
	raw, err = os.ReadFile(filepath.Join(root, "docs", "reference", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(exist)) {
		short := strings.TrimPrefix(name, prefix)
		if name != "" && !strings.Contains(string(raw), "`"+short) && !strings.Contains(short, "timestamp_seconds") {
			t.Errorf("docs/reference/metrics.md: got no %s, want it", short)
		}
	}
}

var absent = regexp.MustCompile(`absent\((dct2notation_[a-z0-9_]+)\)`)

// The alert that nobody compares looks at what only a comparison shows. Otherwise a watch of run keeps it silent when
// that of verify is gone.
func TestTheAlertThatNobodyComparesIgnoresRun(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "dct2notation.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := absent.FindAllStringSubmatch(string(raw), -1)
	if len(found) == 0 {
		t.Fatal("got no alert on what is absent, want one")
	}
	run, _ := fixed(time.Hour)
	run.Began()
	run.Read("a", map[string]time.Time{"root": time.Unix(2e9, 0)})
	run.Ended("complete", true, true)
	verify, _ := fixed(time.Hour)
	verify.Began()
	verify.Compared(Comparison{Repository: "a", Unread: "unknown"})
	_, ofRun := get(t, run, "GET", "/metrics")
	_, ofVerify := get(t, verify, "GET", "/metrics")
	for _, m := range found {
		if strings.Contains(ofRun, "\n"+m[1]) || !strings.Contains(ofVerify, "\n"+m[1]) {
			t.Errorf("absent(%s): want a metric that verify --watch shows, and run --watch does not", m[1])
		}
	}
}
