package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// hasDocker reports whether there is a docker command with trust. run.sh finds out, and reports if
// there is none. Then docker is not compared, and the shapes that need it are left out.
var hasDocker = os.Getenv("DCT2NOTATION_E2E_DOCKER") == "yes"

// reader is a user who reads a repository with the real tools. What the tools remember between
// calls belongs to this reader alone.
type reader struct {
	t    testing.TB
	url  string
	tls  *servertest.TLS
	gun  string
	home *home
}

func newReader(t testing.TB, notary *notaryServer, gun string) *reader {
	t.Helper()
	return &reader{t, notary.url, notary.tls, gun, newHome(t)}
}

// docker runs the docker command, which has no daemon and needs none.
func (h *home) docker(t testing.TB, notaryURL string, tls *servertest.TLS, args ...string) result {
	t.Helper()
	server, err := url.Parse(notaryURL)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(tls.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, h.path("docker", "tls", server.Host, "ca.crt"), ca)
	user := *h
	user.extra = append(slices.Clone(h.extra),
		"DOCKER_CONTENT_TRUST=1", "DOCKER_CONTENT_TRUST_SERVER="+notaryURL, "DOCKER_HOST=unix://"+h.path("no-daemon.sock"),
		"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=e2e-passphrase", "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=e2e-passphrase")
	return user.run(t, "docker", args...)
}

func (r *reader) docker(args ...string) result {
	r.t.Helper()
	return r.home.docker(r.t, r.url, r.tls, args...)
}

// row is what a tool reports about a tag: a digest in hex, which may be missing, and the role or
// the signers.
type row struct{ digest, by string }

// listPattern matches a line of notary list: name, digest, size, role. A name may be anything.
var listPattern = regexp.MustCompile(`^(.*?)\s*(?:\s([0-9a-f]{64}))?\s+-?\d+\s+(targets\S*)\s*$`)

// notary runs the notary command. pins is its configuration; if empty, it trusts on first use.
func (r *reader) notary(pins string, args ...string) result {
	r.t.Helper()
	global := []string{"-s", r.url, "-d", r.home.path("notary"), "--tlscacert", r.tls.CAFile}
	if pins != "" {
		global = append(global, "-c", pins)
	}
	return r.home.run(r.t, "notary", append(global, args...)...)
}

// list returns what the notary command lists with docker's order of roles: targets/releases, then
// targets.
func (r *reader) list(pins string) map[string]row {
	r.t.Helper()
	said := r.notary(pins, "list", r.gun, "-r", "targets/releases", "-r", "targets")
	rows := map[string]row{}
	for line := range strings.Lines(said.stdout) {
		if m := listPattern.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			rows[m[1]] = row{m[2], m[3]}
		}
	}
	return rows
}

// lookup returns the digest in hex that notary lookup prints, which asks targets first.
func (r *reader) lookup(pins, tag string) string {
	r.t.Helper()
	said := r.notary(pins, "lookup", r.gun, tag)
	if f := strings.Fields(said.stdout); said.code == 0 && len(f) == 3 && f[0] == tag {
		return strings.TrimPrefix(f[1], "sha256:")
	}
	return ""
}

// inspect returns what docker trust inspect shows for each tag: one or more rows.
func (r *reader) inspect() map[string][]row {
	r.t.Helper()
	said := r.docker("trust", "inspect", r.gun)
	var shown []struct {
		SignedTags []struct {
			SignedTag, Digest string
			Signers           []string
		}
	}
	if err := json.Unmarshal([]byte(said.stdout), &shown); err != nil {
		r.t.Fatalf("reading what docker says: %v: %s", err, said)
	}
	rows := map[string][]row{}
	for _, one := range shown {
		for _, tag := range one.SignedTags {
			slices.Sort(tag.Signers)
			rows[tag.SignedTag] = append(rows[tag.SignedTag], row{tag.Digest, strings.Join(tag.Signers, ", ")})
		}
	}
	return rows
}

var pullPattern = regexp.MustCompile(`(?m)^Pull \(1 of 1\): .*@sha256:([0-9a-f]{64})$`)

// pull returns the digest that docker pull requests. Docker prints it before it contacts the
// daemon, which does not exist. Without a digest, it returns the reason why docker refuses.
func (r *reader) pull(tag string) (digest, refusal string) {
	r.t.Helper()
	said := r.docker("pull", r.gun+":"+tag)
	if m := pullPattern.FindStringSubmatch(said.stdout); m != nil {
		return m[1], ""
	}
	if said.code == 0 {
		r.t.Fatalf("docker pulls without a digest: %s", said)
	}
	return "", strings.TrimSpace(said.stderr)
}
