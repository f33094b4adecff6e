package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

func TestConfigurationIsStrict(t *testing.T) {
	t.Setenv("CONFIG_TEST", "from the environment")
	known := map[string]bool{"workers": true, "state": true, "plugin-config": true, "trust-pinning": true, "id": true}
	for name, c := range map[string]struct {
		in   string
		want string // in the error; empty: no error
	}{
		"all of it":          {"version: 1\nworkers: 3\nnotary: {a.example.com: https://n}\nrepositories: [a.example.com/x]\nexclude: ['*']\ntrust-pinning: {certs: {a: ['0000000000000000000000000000000000000000000000000000000000000001']}}\nplugin-config: {b: c}\nid: ${CONFIG_TEST}\n", ""},
		"no version":         {"workers: 3\n", "version: 1"},
		"a ledger":           {"version: 1\nledger: m.db\n", "give it on the command line, with --ledger"},
		"another version":    {"version: 2\n", "version: 1"},
		"an unknown key":     {"version: 1\n# comment\n\"wokers\" : 3\n", "line 3: wokers: unknown key\nhint: did you mean workers?"},
		"a part of a key":    {"version: 1\nstat: a.db\n", "line 2: stat: unknown key\nhint: did you mean state?"},
		"a key of no flag":   {"version: 1\nplain-http-host: [a.example]\n", "line 2: plain-http-host: unknown key\nhint: did you mean plain-http-hosts?"},
		"without a dash":     {"version: 1\ntrustpinning: a\n", "line 2: trustpinning: unknown key\nhint: did you mean trust-pinning?"},
		"as a variable":      {"version: 1\nPLUGIN_CONFIG: {a: b}\n", "unknown key\nhint: did you mean plugin-config?"},
		"in camel case":      {"version: 1\nkeys: [{acceptCert: a}, {timestampURL: a}]\n", "keys: entry 1: acceptCert: unknown key\nhint: did you mean accept-certificate?"},
		"like no key":        {"version: 1\nfrobnicate: 1\n", "line 2: frobnicate: unknown key\nhint: the keys are the names of the flags"},
		"an unknown key's":   {"version: 1\nkeys: [{plugn: a}]\n", "line 2: keys: entry 1: plugn: unknown key\nhint: did you mean plugin?"},
		"a key twice":        {"version: 1\nworkers: 3\nworkers: 4\n", "already set"},
		"a variable not set": {"version: 1\nid: ${NO_SUCH_VARIABLE_HERE}\n", "is not set"},
		"an unclosed brace":  {"version: 1\nid: '${CONFIG_TEST'\n", "closing brace"},
		"a map for a list":   {"version: 1\nrepositories: {a: {b: c}}\n", "single value"},
		"misspelt heading":   {"version: 1\ntrust-pinning: {cert: }\n", "names no pins"},
		"misspelt pins":      {"version: 1\ntrust-pinning: {cert: {a: ['1']}}\n", "names no pins"},
		"a list in a scalar": {"version: 1\nid: [[1]]\n", "single value"},
		"no YAML":            {"{", "line 1: did not find expected node content"},
		"a list at the top":  {"- version: 1\n", "a list is not what it takes"},
		"of one call":        {"version: 1\nwatch: 10m\n", "line 2: watch: give it on the command line; it is not for a configuration\nhint: give --watch on the command line"},
		"a lost ledger":      {"version: 1\nno-ledger: true\n", "hint: give --no-ledger"},
		"a merge":            {"version: 1\nmerge: true\n", "hint: give --merge"},
		"a dry run":          {"version: 1\ndry-run: true\n", "hint: give --dry-run"},
		"in the second key":  {"version: 1\nkeys:\n  # both\n  - plugin: a\n    id: b\n    repositories:\n      - a/b\n  - plugn: a\nworkers: 3\n", "line 8: keys: entry 2: plugn: unknown key"},
		"without indent":     {"version: 1\nkeys:\n- {plugin: a, id: b}\n- plugn: a\n", "line 4: keys: entry 2"},
		"an entry's flag":    {"version: 1\nkeys:\n- plugin: a\n  id: b\n  key-rate: x\n", "line 3: keys: entry 1: key-rate: --key-rate x: it takes a number"},
		"notary is no map":   {"version: 1\nnotary: https://n\n", "takes a map"},
	} {
		cfg, err := parseConfig([]byte(c.in), known, environment{})
		if c.want == "" {
			if err != nil || cfg.Notary["a.example.com"] != "https://n" || cfg.Flags["id"][0] != "from the environment" || cfg.Flags["plugin-config"][0] != "b=c" || cfg.TrustPinning == nil {
				t.Errorf("%s: got %+v, error %v, want all that the file says", name, cfg, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "json") || strings.Contains(err.Error(), "converting") {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
	}
}

// Only listed hosts are reached without TLS: credentials for others could be read on the way.
func TestPlainHTTPHostsAreNamedOneByOne(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 100)
	server := func(name string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- name + " " + r.Header.Get("Authorization")
			w.Header().Set("Www-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		t.Cleanup(srv.Close)
		return strings.Replace(strings.TrimPrefix(srv.URL, "http://"), "127.0.0.1", "localhost", 1)
	}
	listed, other := server("listed"), server("other")
	cfg, err := parseConfig([]byte("version: 1\nplain-http-hosts: ["+strings.ToUpper(listed)+"]\n"), nil, environment{})
	if err != nil {
		t.Fatal(err)
	}
	o := RemoteOptions{RegistryOptions: RegistryOptions{username: "me", password: "canary", known: true, RegistryLimit: 8}, Source: "server", CacheDir: "none", DockerTrust: "none"}
	for host, plain := range map[string]bool{listed: true, other: false} {
		r, err := ConnectServers(o, cfg, []string{host}, Access{ReadOnly: true, Hasty: true}, cli.Streams{In: strings.NewReader("")}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		repository, err := r.Registry.Repository(host + "/app")
		if err != nil {
			t.Fatal(err)
		}
		err = repository.CanPull(t.Context(), "").Err()
		if err == nil || strings.Contains(err.Error(), "plain-http-hosts") == plain {
			t.Errorf("%s, listed %v: got error %v, want one, of plain-http-hosts if not listed", host, plain, err)
		}
	}
	close(seen)
	sent := 0
	for request := range seen {
		if !strings.HasPrefix(request, "listed") {
			t.Errorf("got sent without TLS: %s, want the listed host alone", request)
		}
		sent++
	}
	if sent != 2 { // without credentials, and with them
		t.Errorf("got %d requests to the listed host, want 2", sent)
	}
	for _, wrong := range []string{"[http://localhost]", "true/x", "[a b]", "['']", "{a: b}", "[[a]]"} {
		if _, err := parseConfig([]byte("version: 1\nplain-http-hosts: "+wrong+"\n"), nil, environment{}); err == nil {
			t.Errorf("%s: got no error, want one", wrong)
		}
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	cfg := Config{Repositories: []string{"a.example.com/x", "a.example.com/t/y", "a.example.com/old-z", "b.example.com/x"}, Exclude: []string{"a.example.com/old-*"}}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "a.example.com/x a.example.com/t/y b.example.com/x"},
		{[]string{"a.example.com/*"}, "a.example.com/x"},
		{[]string{"a.example.com/**"}, "a.example.com/x a.example.com/t/y"},
		{[]string{"a.example.com/t/y", "a.example.com/**"}, "a.example.com/t/y a.example.com/x"},
		{[]string{"alpine"}, "docker.io/library/alpine"},
		{[]string{"c.example.com/*"}, ""},
		{[]string{"a.example.com/old-z"}, ""},
		{[]string{"a.example.com/{x*"}, ""},
		{[]string{"*/x"}, ""},
		{[]string{"a.example.com/x:v1"}, ""},
	} {
		o := SelectOptions{Discover: DiscoverList}
		var guns []dct.GUN
		sel, err := o.selectOf(c.args, cfg)
		if err == nil {
			_, err = sel.allHosts(cfg)
		}
		if err == nil {
			var candidates []dct.GUN
			candidates, err = listed(cfg)
			if err == nil {
				guns, err = sel.pick(candidates)
			}
		}
		if (err != nil) != (c.want == "") || err == nil && strings.Trim(fmt.Sprint(guns), "[]") != c.want {
			t.Errorf("%v: got %v, error %v, want %q", c.args, guns, err, c.want)
		}
	}
}

func TestMoves(t *testing.T) {
	t.Parallel()
	m, err := parseMirrors([]string{"docker.io/acme/app -> registry.acme.com/special", "docker.io/acme/* -> registry.acme.com/mirror/*", "old.example.com/* -> new.example.com/*"})
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"acme/app":            "registry.acme.com/special",
		"acme/web":            "registry.acme.com/mirror/web",
		"acme/web/api":        "registry.acme.com/mirror/web/api",
		"acmeother/web":       "docker.io/acmeother/web",
		"old.example.com/a/b": "new.example.com/a/b",
	} {
		gun, err := dct.ParseGUN(from)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.location(gun); got != want {
			t.Errorf("%s: got %s, want %s", from, got, want)
		}
	}
	for _, bad := range []string{"a", "a -> ", "a/* -> b/c", "a/b -> c/*", "a/*/b -> c/d", "a/b -> c"} {
		if _, err := parseMirrors([]string{bad}); err == nil {
			t.Errorf("%s: got no error, want one", bad)
		}
	}
}

// One switch decides the exit code, also for wrapped and joined errors.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{dct.ErrNothingRead, 1},
		{migrate.ErrKeyAstray, 1},
		{cli.Usage(errors.New("x")), 2},
		{fmt.Errorf("x: %w", notation.ErrFile), 2},
		{fmt.Errorf("%w: %w", migrate.ErrStopped, notation.ErrFile), 5}, // unavailable in the middle of a run
		{&state.FingerprintError{Fields: []string{"leaf"}}, 2},
		{cli.Exit(cli.ExitFailures), 3},
		{cli.Exit(cli.ExitDisagree), 4},
		{fmt.Errorf("x: %w", migrate.ErrStopped), 5},
		{&state.LockedError{Path: "x"}, 11},
		{fmt.Errorf("x: %w", context.Canceled), 130},
	} {
		if got := cli.ExitCode(c.err); got != c.want {
			t.Errorf("%v: got exit code %d, want %d", c.err, got, c.want)
		}
		// If a result was shown and the ledger could not be closed, the worse code counts.
		if got := cli.ExitCode(errors.Join(c.err, nil)); got != c.want {
			t.Errorf("%v joined: got exit code %d, want %d", c.err, got, c.want)
		}
	}
}

// The signed metadata is exactly what the configuration or the command line says.
func TestPairsAreTakenAsTheyStand(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"{ticket: 12345678}":             "ticket=12345678",
		"{build: 20261121093000}":        "build=20261121093000",
		"{note: 'a=1,b=2'}":              "note=a=1,b=2",
		"{note: 'one, two'}":             "note=one, two",
		"{note: '\"quoted\"'}":           "note=\"quoted\"",
		"{flag: true, uri: 'a=b;c=d,e'}": "flag=true uri=a=b;c=d,e",
	} {
		cfg, err := parseConfig([]byte("version: 1\nuser-metadata: "+in+"\nworkers: 1000000\n"), map[string]bool{"user-metadata": true, "workers": true}, environment{})
		if err != nil {
			t.Errorf("%s: got error %v, want none", in, err)
			continue
		}
		var o EngineOptions
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		o.Bind(flags)
		if err := cfg.setFlags(flags); err != nil || flags.Lookup("user-metadata").Value.String() != want || o.workers != 1_000_000 {
			t.Errorf("%s: got %v, %d workers, error %v, want %s, 1000000 workers", in, o.Metadata, o.workers, err, want)
		}
	}
	var o EngineOptions
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.Bind(flags)
	if err := flags.Parse([]string{"-m", "a=1,b=2", "-m", "c=", "--plugin-config", "x=y=z"}); err != nil || o.Metadata["a"] != "1,b=2" || len(o.Metadata) != 2 || o.pluginConfig["x"] != "y=z" {
		t.Errorf("got %v %v, error %v, want a=1,b=2 c= and x=y=z", o.Metadata, o.pluginConfig, err)
	}
	for _, bad := range []string{"a", "=b", ""} {
		if flags.Set("user-metadata", bad) == nil {
			t.Errorf("%q: got no error, want one", bad)
		}
	}
}

// One Notary server may serve several registries. Each of its names is reported once, however often
// it is read.
func TestChangefeedOfTwoRegistriesNamesEachOnce(t *testing.T) {
	t.Parallel()
	s, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, name := range []string{"a.example.com/x", "b.example.com/x", "b.example.com/y", "test"} {
		r, err := s.NewRepository(name)
		if err == nil {
			err = r.Publish()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := RemoteOptions{NotaryServer: s.URL(), RegistryOptions: RegistryOptions{RegistryLimit: 8}, Source: "server", CacheDir: "none", DockerTrust: "none", NotaryLimit: 1, maxRecords: 100, maxRead: time.Minute}
	so := SelectOptions{Discover: discoverChangefeed}
	log := slog.New(slog.DiscardHandler)
	f, err := Connect(t.Context(), o, so, Config{}, []string{"a.example.com/**", "b.example.com/**"}, Access{ReadOnly: true}, cli.Streams{In: strings.NewReader("")}, log)
	if err != nil {
		t.Fatal(err)
	}
	sel, err := so.selectOf([]string{"a.example.com/**", "b.example.com/**"}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.discover(t.Context(), discoverChangefeed, sel, Config{}, nil)
	if err != nil || len(found.guns) != 3 || len(found.odd) != 1 || len(f.GUNs) != 3 {
		t.Errorf("got %v, odd %v, error %v, want 3 repositories and 1 odd name", found.guns, found.odd, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
