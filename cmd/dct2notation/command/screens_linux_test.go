package command

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/dir"
	"golang.org/x/tools/txtar"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/ptytest"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// fleet is many similar repositories and a few different ones, with a key and no trust policy yet.
type fleet struct {
	t        *testing.T
	dir      string
	registry *registrytest.Registry
	notary   *notarytest.Server
	repos    map[string]*notarytest.Repository
}

func newFleet(t *testing.T, alike int) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), repos: map[string]*notarytest.Repository{}}
	was := dir.UserConfigDir
	t.Chdir(f.dir) // so that no line contains a folder of this run
	dir.UserConfigDir = filepath.Join(f.dir, "notation")
	t.Cleanup(func() { dir.UserConfigDir = was })
	var err error
	f.registry, err = registrytest.Start(registrytest.Options{Referrers: true})
	must(t, err)
	t.Cleanup(f.registry.Close)
	f.notary, err = notarytest.Start(notarytest.Options{})
	must(t, err)
	t.Cleanup(f.notary.Close)
	ca, err := pki.NewAuthority("fleet")
	must(t, err)
	id, err := ca.Issue("release", nil)
	must(t, err)
	key, err := id.Save(f.dir, "release")
	must(t, err)
	f.write("notation/signingkeys.json", fmt.Sprintf(`{"default":"release","keys":[{"name":"release","keyPath":%q,"certPath":%q}]}`, key.KeyFile, key.ChainFile))
	f.write("notation/truststore/x509/ca/fleet/root.pem", string(ca.CertificatePEM()))
	for i := range alike {
		f.publish(fmt.Sprintf("team/service-%03d", i), "1.0", "1.1")
	}
	f.configure()
	return f
}

// configure writes a configuration that names all repositories, and pins all but those given.
func (f *fleet) configure(unpinned ...string) {
	f.t.Helper()
	certs, names := "", ""
	for _, name := range slices.Sorted(maps.Keys(f.repos)) {
		r := f.repos[name]
		names += "  - " + r.GUN() + "\n"
		comment := ""
		for _, u := range unpinned {
			if u == name {
				comment = "# "
			}
		}
		certs += fmt.Sprintf("    %s%q: [%q]\n", comment, r.GUN(), r.RootKeyIDs()[0])
	}
	f.write("config.json", "{}")
	f.write("migration.yaml", fmt.Sprintf("version: 1\nnotary-server: %s\nplain-http: true\ndocker-trust: none\nkey: release\nregistry-config: %s\nstate: %s\nrepositories:\n%strust-pinning:\n  certs:\n%s",
		f.notary.URL(), "config.json", "ledger.db", names, certs))
}

func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fleet) write(name, content string) {
	f.t.Helper()
	must(f.t, os.MkdirAll(filepath.Dir(f.path(name)), 0o700))
	must(f.t, os.WriteFile(f.path(name), []byte(content), 0o600))
}

func (f *fleet) publish(name string, tags ...string) *notarytest.Repository {
	f.t.Helper()
	r, err := f.notary.NewRepository(f.registry.Host() + "/" + name)
	must(f.t, err)
	f.repos[name] = r
	for _, tag := range tags {
		d, err := f.registry.PutImage(name, tag, name+tag)
		must(f.t, err)
		must(f.t, r.Sign(tag, d.Digest.Encoded(), d.Size))
	}
	must(f.t, r.Publish())
	return r
}

// show runs a verb on a terminal with that many columns, and returns the final screen.
func (f *fleet) show(columns int, args ...string) (code int, text string) {
	f.t.Helper()
	text = ptytest.Capture(f.t, columns, func(terminal *os.File) {
		code = Main(context.Background(), nil, append(args[:1:1], append([]string{"--config", "migration.yaml"}, args[1:]...)...), cli.Streams{In: strings.NewReader(""), Out: terminal, Err: terminal})
	})
	var all []string
	for _, line := range strings.Split(erased.ReplaceAllString(text, ""), "\n") {
		all = append(all, strings.TrimRight(line[strings.LastIndexByte(line, '\r')+1:], " "))
	}
	return code, strings.TrimSuffix(strings.Join(all, "\n"), "\n")
}

var erased = regexp.MustCompile(`\\e\[[0-9]*[KJ]`)

// differs lists what changes between two runs of the tests, with its replacement.
var differs = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`[0-9a-f]{64}`), strings.Repeat("d", 64)},
	{regexp.MustCompile(`[0-9a-f]{32}…`), strings.Repeat("d", 32) + "…"},
	{regexp.MustCompile(`certificate [0-9a-f]{12}`), "certificate cccccccccccc"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\d(T[0-9:.]+Z)?`), "DATE"},
	{regexp.MustCompile(`\d+ days`), "N days"},
	{regexp.MustCompile(`\d+\.\d s\b`), "0.0 s"},
}

// scrubbed returns the text without what changes between runs.
func (f *fleet) scrubbed(text string) string {
	text = strings.NewReplacer(f.registry.Host(), "registry.test:50", f.notary.Host(), "notary.test:4443").Replace(text)
	for _, d := range differs {
		text = d.from.ReplaceAllString(text, d.to)
	}
	return text
}

// The golden file has what a migration of real servers shows, from the plan to the verification, at
// two widths. Many repositories with the same problem take only a few lines.
func TestScreensOfRealServers(t *testing.T) {
	path, err := filepath.Abs(filepath.Join("testdata", "screens.txtar"))
	must(t, err)
	f := newFleet(t, 30)
	f.publish("team/unpinned", "1.0")
	must(t, f.publish("team/expired", "1.0").Expire("targets"))
	gone := f.publish("team/gone", "1.0", "1.1")
	must(t, gone.Sign("2.0", strings.Repeat("0", 64), 100))
	must(t, gone.Publish())
	f.publish("team/moved", "1.0", "1.1")
	_, err = f.registry.PutImage("team/moved", "1.1", "another")
	must(t, err)
	f.publish("team/other-root", "1.0")
	f.configure("team/unpinned")
	raw, err := os.ReadFile(f.path("migration.yaml"))
	must(t, err)
	f.write("migration.yaml", strings.ReplaceAll(string(raw), f.repos["team/other-root"].RootKeyIDs()[0], strings.Repeat("0", 64)))
	var got txtar.Archive
	shown := func(name string, most, code int, args ...string) {
		t.Helper()
		for _, columns := range []int{100, 160} {
			c, text := f.show(columns, args...)
			if c != code {
				t.Errorf("%s: got exit code %d, want %d:\n%s", name, c, code, text)
			}
			lines := strings.Split(text, "\n")
			if len(lines) > most {
				t.Errorf("%s, %d columns: got %d lines, want %d at most", name, columns, len(lines), most)
			}
			for _, line := range lines {
				if n := ptytest.Width(line); n > columns && !strings.HasPrefix(line, "next: ") && !strings.HasPrefix(line, "hint: ") {
					t.Errorf("%s, %d columns: got a line of %d: %s", name, columns, n, line)
				}
			}
			got.Files = append(got.Files, txtar.File{Name: fmt.Sprintf("%s, %d columns", name, columns), Data: []byte(f.scrubbed(text) + "\n")})
		}
	}
	shown("pins", 15, cli.ExitDone, "pins", f.registry.Host()+"/team/service-*", f.repos["team/unpinned"].GUN(), f.repos["team/other-root"].GUN())
	list := f.repos["team/unpinned"].GUN() + "\n"
	for i := range 30 {
		list += fmt.Sprintf("%s/absent/%02d\n", f.registry.Host(), i)
	}
	f.write("list.txt", list)
	shown("pins of many without trust data", 30, cli.ExitFailures, "pins", "--repositories-from", "list.txt")
	shown("pins of nothing else", 15, cli.ExitDone, "pins", f.registry.Host()+"/team/service-*")
	shown("plan", 45, cli.ExitFailures, "plan")
	code, text := f.show(100, "run")
	if code != cli.ExitFailures {
		t.Fatalf("got exit code %d, want %d:\n%s", code, cli.ExitFailures, text)
	}
	got.Files = append(got.Files, txtar.File{Name: "run, 100 columns", Data: []byte(f.scrubbed(text) + "\n")})
	shown("run again", 45, cli.ExitFailures, "run")
	shown("policy", 30, cli.ExitFailures, "policy", "notation", "-O", "trust")
	if _, text := f.show(100, "run", f.registry.Host()+"/team/service-*", f.repos["team/expired"].GUN()); !strings.Contains(text, "\nnext: NOTATION_CONFIG=trust dct2notation verify --ledger ") {
		t.Errorf("a run after policy: got\n%s\nwant it to go on with the trust policy that is there", text)
	}
	f.write("policy.json", strings.ReplaceAll(fmt.Sprintf(policyOf, "strict"), "ca:ground", "ca:fleet"))
	shown("verify", 45, cli.ExitDisagree, "verify", "--trust-policy", "policy.json")
	f.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if dies := regexp.MustCompile(`service-0[1-2]`).MatchString(r.URL.Path); dies {
			http.Error(w, "no disk", http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	shown("verify, the registry dies half way", 30, cli.ExitFailures, "verify", "--trust-policy", "policy.json", f.registry.Host()+"/team/service-*")
	f.registry.SetHook(nil)
	for _, one := range []struct {
		noColor string
		args    []string
		want    string
		colors  string // yes or no; empty: either
	}{
		{"", []string{"plan"}, "not read: expired", "yes"},
		{"", []string{"plan", "--color", "never"}, "not read: expired", "no"},
		{"1", []string{"plan"}, "not read: expired", "no"},
		{"1", []string{"plan", "--color", "always"}, "not read: expired", "yes"},
		// Where a terminal says "and more: -v", -v lists everything.
		{"", []string{"plan", "-v"}, "service-029  root pinned by config", ""},
		{"", []string{"pins", "-v"}, "service-029  root version 1  pinned", ""},
		{"", []string{"policy", "-v", "--force", "notation", "-O", "trust"}, "not complete: left out: repository " + f.registry.Host() + "/team/expired", ""},
	} {
		t.Setenv("NO_COLOR", one.noColor)
		_, text := f.show(100, one.args...)
		if !strings.Contains(text, one.want) || one.colors != "" && strings.Contains(text, `\e[3`) != (one.colors == "yes") {
			t.Errorf("%v, NO_COLOR=%s: got no %q, or colors where none are wanted or the other way:\n%s", one.args, one.noColor, one.want, text)
		}
	}
	shown("plan, wrong Notary server", 45, cli.ExitCannot, "plan", "--notary-server", "http://"+f.registry.Host()+"/wrong")
	if *update {
		must(t, os.WriteFile(path, txtar.Format(&got), 0o644))
		return
	}
	want, err := txtar.ParseFile(path)
	must(t, err)
	for i, file := range got.Files {
		if i >= len(want.Files) || string(want.Files[i].Data) != string(file.Data) {
			t.Errorf("%s: got\n%s\nwant what %s has; go test -update writes it", file.Name, file.Data, path)
		}
	}
}
