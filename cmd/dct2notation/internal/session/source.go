package session

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A trustSource is a kind of place to read trust data from, as --source names it.
type trustSource struct {
	name   string
	usage  string // how the flag spells it
	server bool   // a server: it has an address, credentials, a cache and a changefeed
	grows  bool   // what DCT signs later appears there
	dir    bool   // its place is a directory
	named  bool   // its place must be given

	check func(path string) error // checks that the place is of this kind; nil: it has no place
	open  func(r *Servers, place string) (dct.Source, error)
}

// SourceServer is the --source that sends requests to Notary servers.
const SourceServer = "server"

func trustSources() []trustSource {
	return []trustSource{
		{name: SourceServer, usage: "server", server: true, grows: true, open: (*Servers).openServer},
		{name: "docker", usage: "docker[:DIR] (docker's trust directory)", grows: true, dir: true, check: isDockerTrust, open: (*Servers).openDockerTrust},
		{name: "snapshot", usage: "snapshot:DIR", dir: true, named: true, check: isSnapshot, open: (*Servers).openSnapshot},
		{name: "dump", usage: "dump:FILE (an export of the server's table tuf_files)", named: true, check: isDump, open: (*Servers).openDump},
	}
}

// sourceUsage returns the values that --source accepts.
func sourceUsage() string {
	var all []string
	for _, s := range trustSources() {
		all = append(all, s.usage)
	}
	return strings.Join(all, ", ")
}

// source returns the trust source of --source, and its path; the zero value if it is unknown.
func (o *RemoteOptions) source() (s trustSource, place string) {
	name, place, _ := strings.Cut(o.Source, ":")
	all := trustSources()
	i := slices.IndexFunc(all, func(s trustSource) bool { return s.name == name })
	if i < 0 || place != "" && all[i].check == nil {
		return trustSource{}, ""
	}
	return all[i], place
}

// FromServer reports whether trust data is read from Notary servers.
func (o *RemoteOptions) FromServer() bool {
	s, _ := o.source()
	return s.server
}

// SourceGrows reports whether what DCT signs later appears where trust data is read.
func (o *RemoteOptions) SourceGrows() bool {
	s, _ := o.source()
	return s.grows
}

// DumpHelp is part of the help of the verbs that read trust data.
const DumpHelp = `
A dump is an export of the Notary server's table tuf_files, one row a line, with the columns
gun, role, version, sha256 and data in base64, separated by tabs; or JSON objects with these
members:

  MySQL       mysql -B -N notaryserver -e "SELECT gun, role, version, sha256, TO_BASE64(data)
                FROM tuf_files WHERE deleted_at IS NULL"
  PostgreSQL  psql notaryserver -At -F "$(printf '\t')" -c "SELECT gun, role, version, sha256,
                translate(encode(data, 'base64'), E'\n', '') FROM tuf_files WHERE deleted_at IS NULL"
  RethinkDB   rethinkdb export -e notaryserver.tuf_files --fields gun,role,version,sha256,data
                --format json, then jq -c '.[]'`

// notaryAdvice returns where the address of an unreachable or invalid Notary server comes from. If the registry is
// reached without TLS, it adds that this does not apply to the Notary server that docker's rule gives.
func (r *Servers) notaryAdvice(registry string) string {
	switch {
	case r.variable.holds(registry):
		return "its address is from " + serverVariable
	case r.variable.unused:
		return serverVariable + " is ignored, since several registries are named"
	}
	if _, configured := r.notary[registry]; !r.plain(registry) || configured || r.Opts.NotaryServer != "" {
		return ""
	}
	return "--plain-http and plain-http-hosts are for registries; a Notary server without TLS is named with --notary-server http://" + hostname(registry) + ":PORT"
}

// openSource opens what --source names.
func (r *Servers) openSource() (dct.Source, error) {
	s, place := r.Opts.source()
	if s.open == nil || s.named && place == "" {
		return nil, cli.Usage(fmt.Errorf("--source %s: it takes %s", safetext.Safe(r.Opts.Source, 100), sourceUsage()))
	}
	return s.open(r, place)
}

func (r *Servers) openServer(string) (dct.Source, error) {
	return &dct.Server{URL: r.NotaryURL, HTTP: r.notaryClient, Rescue: r.Opts.rescue, Advice: r.notaryAdvice, LoggedIn: r.LoggedIn}, nil
}

func (r *Servers) openDockerTrust(dir string) (dct.Source, error) {
	if dir == "" {
		return dct.DockerTrust{Dir: filepath.Join(cli.DockerDir(), "trust")}, nil
	}
	if err := isDockerTrust(dir); err != nil {
		return nil, cli.Usage(fmt.Errorf("--source docker: %w", err))
	}
	return dct.DockerTrust{Dir: dir}, nil
}

func (r *Servers) openSnapshot(dir string) (dct.Source, error) {
	snap, err := snapshot.Open(dir)
	if err != nil {
		return nil, cli.Usage(err)
	}
	judge, err := r.Opts.SnapshotJudge(r.Transport)
	if err != nil {
		_ = snap.Close() // only read from
		return nil, err
	}
	r.witness = snap.TimeAttestation(judge)
	return snap, nil
}

func (r *Servers) openDump(file string) (dct.Source, error) {
	d, err := dct.OpenDump(file)
	return d, cli.Usage(err)
}
