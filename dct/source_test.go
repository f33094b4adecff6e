package dct

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// A rotated repository with signers, and a plain one, as every source should give them.
func offlineScene(t *testing.T) (*notarytest.Server, map[string]*notarytest.Repository) {
	t.Helper()
	s := notary(t)
	repos := map[string]*notarytest.Repository{app: withOldDigest(t, s)}
	must(t, repos[app].RotateRoot())
	must(t, repos[app].RotateRoot())
	repos["docker.io/library/plain"] = one(t, s, "docker.io/library/plain")
	return s, repos
}

// same checks that a source returns what the server returns, for each repository.
func same(t *testing.T, s *notarytest.Server, repos map[string]*notarytest.Repository, source Source) {
	t.Helper()
	for name, r := range repos {
		want, err := read(t, pinned(s, r), name, Known{})
		must(t, err)
		reader := pinned(s, r)
		reader.Source = source
		got, err := read(t, reader, name, Known{})
		must(t, err)
		if show(got) != show(want) || got.Version("timestamp") != want.Version("timestamp") || len(got.Targets()) == 0 {
			t.Errorf("%s:\n%s, want\n%s", name, show(got), show(want))
		}
	}
	reader := &Reader{Source: source, Pins: Pins{TOFU: true}}
	if _, err := read(t, reader, "docker.io/library/none", Known{}); !errors.Is(err, ErrUnsigned) {
		t.Errorf("a repository that is not there: got %v, want %v", err, ErrUnsigned)
	}
}

// dockerTrust writes what docker would have kept.
func dockerTrust(t *testing.T, s *notarytest.Server, repos map[string]*notarytest.Repository) string {
	t.Helper()
	dir := t.TempDir()
	for name := range repos {
		for _, role := range s.Roles(name) {
			file := filepath.Join(dir, "tuf", filepath.FromSlash(name), "metadata", filepath.FromSlash(role)+".json")
			must(t, os.MkdirAll(filepath.Dir(file), 0o700))
			must(t, os.WriteFile(file, s.Raw(name, role), 0o600))
		}
	}
	return dir
}

// oddNames are names that are not valid for an image, sorted. Every source skips and reports them:
// they must not make other repositories fail, nor vanish.
var oddNames = []string{"", "a b/c", "docker.com/Notary", "test", "x:y"}

func TestDockerTrustGivesWhatTheServerGave(t *testing.T) {
	t.Parallel()
	s, repos := offlineScene(t)
	dir := dockerTrust(t, s, repos)
	same(t, s, repos, DockerTrust{dir})
	for _, name := range oddNames {
		must(t, os.MkdirAll(filepath.Join(dir, "tuf", filepath.FromSlash(name), "metadata"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "tuf", filepath.FromSlash(name), "metadata", "root.json"), nil, 0o600))
	}
	guns, odd, err := DockerTrust{dir}.GUNs()
	must(t, err)
	if fmt.Sprintf("%v %q", guns, odd) != fmt.Sprintf("[docker.io/library/plain %s] %q", app, oddNames) {
		t.Errorf("got GUNs %v, and %q, want two, and %q", guns, odd, oddNames)
	}
	if guns, _, err := (DockerTrust{t.TempDir()}).GUNs(); err != nil || len(guns) != 0 {
		t.Errorf("an empty directory: got %v, %v, want none", guns, err)
	}
}

// A cached delegation that is not the one in the snapshot does not count.
func TestDockerTrustWithAStaleDelegationIsRefused(t *testing.T) {
	t.Parallel()
	s, repos := offlineScene(t)
	dir := dockerTrust(t, s, repos)
	must(t, repos[app].Sign("v2", sha("2"), 5))
	must(t, repos[app].Publish())
	for _, role := range []string{"snapshot", "timestamp"} {
		must(t, os.WriteFile(filepath.Join(dir, "tuf", filepath.FromSlash(app), "metadata", role+".json"), s.Raw(app, role), 0o600))
	}
	reader := pinned(s, repos[app])
	reader.Source = DockerTrust{dir}
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

// rows writes the server's table in one of the forms that databases export.
func rows(s *notarytest.Server, repos map[string]*notarytest.Repository, form func(gun, role string, v notarytest.Version) string) string {
	var lines []string
	for name := range repos {
		for _, role := range s.Roles(name) {
			for _, v := range s.History(name, role) {
				lines = append(lines, form(name, role, v))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func tabs(gun, role string, v notarytest.Version) string {
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s", gun, role, v.Number, v.SHA256, base64.StdEncoding.EncodeToString(v.Raw))
}

// brokenTabs breaks base64 into lines, of 76 digits as MySQL's TO_BASE64 does.
func brokenTabs(gun, role string, v notarytest.Version, digits int, end string) string {
	var lines []string
	for text := base64.StdEncoding.EncodeToString(v.Raw); text != ""; {
		n := min(digits, len(text))
		lines, text = append(lines, text[:n]), text[n:]
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s", gun, role, v.Number, v.SHA256, strings.Join(lines, end))
}

func openDump(t *testing.T, text string) (*Dump, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dump")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	d, err := OpenDump(file)
	if err == nil {
		t.Cleanup(func() { _ = d.Close() })
	}
	return d, err
}

func TestDumpGivesWhatTheServerGave(t *testing.T) {
	t.Parallel()
	s, repos := offlineScene(t)
	object := func(v any) string {
		raw, err := json.Marshal(v)
		must(t, err)
		return string(raw)
	}
	for name, text := range map[string]string{
		"PostgreSQL": rows(s, repos, tabs),
		"PostgreSQL, in hex": rows(s, repos, func(gun, role string, v notarytest.Version) string {
			return fmt.Sprintf("%s\t%s\t%d\t%s\t\\x%x", gun, role, v.Number, v.SHA256, v.Raw)
		}),
		"PostgreSQL's COPY, in hex": rows(s, repos, func(gun, role string, v notarytest.Version) string {
			return fmt.Sprintf("%s\t%s\t%d\t%s\t\\\\x%x", gun, role, v.Number, v.SHA256, v.Raw)
		}),
		"with a byte-order mark":           "\ufeff" + rows(s, repos, tabs),
		"with a byte-order mark and names": "\ufeffgun\trole\tversion\tsha256\tdata\n" + rows(s, repos, tabs),
		"MySQL, with a header and broken base64": "gun\trole\tversion\tsha256\tdata\n" + rows(s, repos, func(gun, role string, v notarytest.Version) string {
			return brokenTabs(gun, role, v, 76, `\n`)
		}),
		"base64 broken after every second digit": rows(s, repos, func(gun, role string, v notarytest.Version) string {
			return brokenTabs(gun, role, v, 2, `\n`)
		}),
		"JSON lines": rows(s, repos, func(gun, role string, v notarytest.Version) string {
			return object(map[string]any{"gun": gun, "role": role, "version": v.Number, "sha256": v.SHA256, "data": v.Raw})
		}),
		"JSON lines with broken base64": rows(s, repos, func(gun, role string, v notarytest.Version) string {
			text := brokenTabs(gun, role, v, 76, "\n")
			return object(map[string]any{"gun": gun, "role": role, "version": v.Number, "sha256": v.SHA256, "data": text[strings.LastIndexByte(text, '\t')+1:]})
		}),
		"RethinkDB": rows(s, repos, func(gun, role string, v notarytest.Version) string {
			return object(map[string]any{"gun": gun, "role": role, "version": v.Number, "sha256": v.SHA256, "data": map[string]any{"$reql_type$": "BINARY", "data": v.Raw}})
		}),
	} {
		for _, odd := range append([]string{"../../etc"}, oddNames...) {
			for _, role := range []string{"root", "targets"} {
				if strings.HasPrefix(text, "{") {
					text += object(map[string]any{"gun": odd, "role": role, "version": 1, "sha256": sha("1"), "data": "AAAA"}) + "\n"
				} else {
					text += odd + "\t" + role + "\t1\t" + sha("1") + "\tAAAA\n"
				}
			}
		}
		d, err := openDump(t, text)
		if err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
			continue
		}
		same(t, s, repos, d)
		guns, odd := d.GUNs()
		slices.Sort(odd)
		if want := slices.Insert(slices.Clone(oddNames), 1, "../../etc"); fmt.Sprintf("%v %q", guns, odd) != fmt.Sprintf("[docker.io/library/plain %s] %q", app, want) {
			t.Errorf("%s: got GUNs %v, and %q, want two, and %q", name, guns, odd, want)
		}
		// However it is written, a file may have as many bytes as the limit, and no more.
		for _, role := range s.Roles(app) {
			raw := s.Raw(app, role)
			got, err := d.File(t.Context(), gun(t, app), role, int64(len(raw)))
			if err != nil || !slices.Equal(got, raw) {
				t.Errorf("%s: %s within the limit: got %d bytes, %v, want %d", name, role, len(got), err, len(raw))
			}
			if _, err := d.File(t.Context(), gun(t, app), role, int64(len(raw)-1)); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %s beyond the limit: got %v, want %v", name, role, err, ErrRefused)
			}
		}
		// Its root chain is complete, so an earlier root leads to the newest.
		first, err := d.File(t.Context(), gun(t, app), "1.root", maxRoot)
		must(t, err)
		if _, err := read(t, &Reader{Source: d}, app, Known{Root: first}); err != nil {
			t.Errorf("%s: from the first root: got %v, want no error", name, err)
		}
	}
}

// Exports in unsupported forms are recognised by how they begin. The error gives the command for
// the right form.
func TestDumpInAnotherFormIsAnswered(t *testing.T) {
	t.Parallel()
	s, _ := offlineScene(t)
	row := s.History(app, "root")[0]
	joined := func(by, quote, data string) string {
		var quoted []string
		for _, field := range []string{app, "root", "1", row.SHA256, data} {
			quoted = append(quoted, quote+field+quote)
		}
		return strings.Join(quoted, by) + "\n"
	}
	text := base64.StdEncoding.EncodeToString(row.Raw)
	const mysql, psql, jq, redirect = "mysql -B -N notaryserver", "psql notaryserver -At -F", "jq -c '.[]'", "PowerShell"
	for name, c := range map[string]struct{ text, what, hint string }{
		"pg_dump": {"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.4\n\nSET statement_timeout = 0;\n" +
			"COPY public.tuf_files (id, created_at, updated_at, deleted_at, gun, role, version, data, sha256) FROM stdin;\n", "pg_dump", psql},
		"pg_dump -Fc":         {"PGDMP\x01\x0e\x00\x04\x08", "pg_dump", psql},
		"pg_dump --inserts":   {"SET client_encoding = 'UTF8';\nINSERT INTO public.tuf_files VALUES (1, '2020-01-01', '" + app + "');\n", "INSERT INTO", psql},
		"mysqldump":           {"-- MySQL dump 10.13  Distrib 8.0.33, for Linux (x86_64)\n--\n/*!40101 SET NAMES utf8 */;\nINSERT INTO `tuf_files` VALUES (1,'" + app + "');\n", "mysqldump", mysql},
		"mariadb-dump":        {"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.8-MariaDB\n", "mysqldump", mysql},
		"INSERT INTO alone":   {"INSERT INTO `tuf_files` (`gun`) VALUES ('" + app + "');\n", "INSERT INTO", mysql},
		"mysql without -B":    {"+------+------+\n| gun  | role |\n+------+------+\n", "table", mysql},
		"psql without -A":     {" gun | role | version | sha256 | data \n-----+------+---------+--------+------\n", "table", psql},
		"psql without -F":     {joined("|", "", text), "separated by |", psql},
		"CSV with a header":   {"gun,role,version,sha256,data\n" + joined(",", "", text), "CSV", psql},
		"CSV, quoted":         {"\"gun\",\"role\",\"version\",\"sha256\",\"data\"\n" + joined(",", "\"", text), "CSV", mysql},
		"CSV without header":  {joined(",", "", text), "CSV", psql},
		"CSV of all columns":  {"id,created_at,updated_at,deleted_at,gun,role,version,data,sha256\n", "CSV", psql},
		"a JSON array":        {"[\n" + `{"gun":"` + app + `"}` + "\n]\n", "JSON array", jq},
		"a JSON array, tight": {`[{"gun":"` + app + `"}]`, "JSON array", jq},
		"data as it is":       {joined("\t", "", string(row.Raw)), "not in base64", mysql},
		"all columns":         {"id\tcreated_at\tupdated_at\tdeleted_at\tgun\trole\tversion\tdata\tsha256\n", "9 columns", psql},
		"UTF-16":              {"\xff\xfeg\x00u\x00n\x00\t\x00", "UTF-16", redirect},
		"compressed":          {"\x1f\x8b\x08\x00\x00", "compressed", "gunzip"},
	} {
		_, err := openDump(t, c.text)
		if err == nil {
			t.Errorf("%s: got no error, want one", name)
			continue
		}
		what, hint, _ := strings.Cut(err.Error(), "\nhint: ")
		if !strings.Contains(what, c.what) || !strings.Contains(hint, c.hint) || strings.Contains(hint, "\n") {
			t.Errorf("%s: got %v, want %s with %s", name, err, c.what, c.hint)
		}
	}
}

func TestDamagedDumpIsRefused(t *testing.T) {
	t.Parallel()
	s, repos := offlineScene(t)
	good := rows(s, repos, tabs)
	line := tabs(app, "root", s.History(app, "root")[0])
	for name, text := range map[string]string{
		"nothing":              "",
		"a web page":           "<html>\n",
		"a column too few":     good + "a\tb\tc\td\n",
		"no number":            good + strings.Replace(line, "\t1\t", "\tone\t", 1) + "\n",
		"no hash":              good + app + "\troot\t1\tabc\tAAAA\n",
		"no repository's name": "root\t" + app + "\t1\t" + sha("1") + "\tAAAA\n",
		"two of one version":   good + app + "\troot\t1\t" + sha("1") + "\tAAAA\n",
		"a key twice":          `{"gun":"a","gun":"b"}` + "\n",
	} {
		if _, err := openDump(t, text); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
	_, err := openDump(t, strings.Replace(line, "\t1\t", "\t"+strings.Repeat("9", 41)+"\t", 1)+"\n")
	if err == nil || !strings.Contains(err.Error(), " "+strings.Repeat("9", 40)+"… ") {
		t.Errorf("a long number: got %v, want its first 40 digits", err)
	}
	// Data that does not match its row.
	d, err := openDump(t, strings.ReplaceAll(good, base64.StdEncoding.EncodeToString(s.Raw(app, "root")), "AAAA"))
	must(t, err)
	reader := pinned(s, repos[app])
	reader.Source = d
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) {
		t.Errorf("data of another row: got %v, want %v", err, ErrRefused)
	}
}
