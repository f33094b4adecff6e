package session

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// sourceHelp tells what --source takes.
const sourceHelp = "where trust data is read: server, docker[:DIR] (docker's trust directory), snapshot:DIR, dump:FILE (an export of the server's table tuf_files)"

// DumpHelp is in the help of the verbs that read trust data.
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

// notaryAdvice tells where the address of a Notary server comes from that cannot be reached or
// is none, and who reaches a registry without TLS that this is not so of the Notary server that
// docker's rule gives.
func (r *Servers) notaryAdvice(registry string) string {
	switch {
	case r.variable.holds(registry):
		return "its address is from " + serverVariable
	case r.variable.unused:
		return serverVariable + " is set and not used, as several registries are named"
	}
	if _, configured := r.notary[registry]; !r.plain(registry) || configured || r.Opts.NotaryServer != "" {
		return ""
	}
	return "--plain-http and plain-http-hosts are for registries; a Notary server without TLS is named with --notary-server http://" + hostname(registry) + ":PORT"
}

// openSource opens what --source names.
func (r *Servers) openSource() (dct.Source, error) {
	kind, where, _ := strings.Cut(r.Opts.Source, ":")
	switch {
	case kind == "server" && where == "":
		return &dct.Server{URL: r.NotaryURL, HTTP: r.notaryClient, Rescue: r.Opts.rescue, Advice: r.notaryAdvice, LoggedIn: r.loggedIn}, nil
	case kind == "docker":
		if where == "" {
			where = filepath.Join(cli.DockerDir(), "trust")
		} else if err := isDockerTrust(where); err != nil {
			return nil, cli.Usage(fmt.Errorf("--source docker: %w", err))
		}
		return dct.DockerTrust{Dir: where}, nil
	case kind == "snapshot" && where != "":
		snap, err := snapshot.Open(where)
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
	case kind == "dump" && where != "":
		d, err := dct.OpenDump(where)
		return d, cli.Usage(err)
	}
	return nil, cli.Usage(fmt.Errorf("--source %s: it takes %s", safetext.Safe(r.Opts.Source, 100), strings.TrimPrefix(sourceHelp, "where trust data is read: ")))
}
