package e2e

import (
	"regexp"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// author makes one repository what its shape says, with the images of its registry, which have
// names such as "one" and "two".
type author struct {
	*publisher
	registry *registry
	reader   *reader
	images   map[string]ocispec.Descriptor
	pins     map[string]any // what readers are told to trust; nil: the final root
}

// image returns an image, pushed on first use. "gone" is in another repository, and "list" is an
// index of images.
func (a *author) image(name string) ocispec.Descriptor {
	a.t.Helper()
	if _, ok := a.images[name]; !ok {
		switch repository := strings.TrimPrefix(a.gun, a.registry.host+"/"); name {
		case "gone":
			a.images[name] = a.registry.push(a.t, "elsewhere", name)
		case "list":
			a.images[name] = a.registry.pushIndex(a.t, repository, a.image("one"), a.image("two"))
		default:
			a.images[name] = a.registry.push(a.t, repository, name)
		}
	}
	return a.images[name]
}

// names returns the images' names by the hex of their digests.
func (a *author) names() map[string]string {
	names := map[string]string{}
	for name, image := range a.images {
		names[image.Digest.Encoded()] = name
	}
	return names
}

// tag signs one tag in targets, or in the given roles.
func (a *author) tag(tag, image string, roles ...string) {
	a.t.Helper()
	a.sign(tag, a.image(image), roles...)
}

// addhash signs a digest that no image has.
func (a *author) addhash(args ...string) {
	a.t.Helper()
	a.notary(append([]string{"addhash", "-p", a.gun}, args...)...)
}

// rotate gives a role a new key. For root, notary asks for confirmation.
func (a *author) rotate(role string, flags ...string) {
	a.t.Helper()
	a.home.input = "yes\n"
	a.notary(append([]string{"key", "rotate", a.gun, role}, flags...)...)
	a.home.input = ""
	a.notary("list", a.gun) // here notary notices a new root
}

// unassign removes a person's key from a role.
func (a *author) unassign(role, name string) {
	a.t.Helper()
	a.notary("delegation", "remove", "-p", a.gun, role, a.keyOf("targets/"+name))
}

// dropRole removes a role with its keys.
func (a *author) dropRole(role string) {
	a.t.Helper()
	a.notary("delegation", "remove", "-p", "-y", a.gun, role)
}

var keyPattern = regexp.MustCompile(`[0-9a-f]{64}`)

// keyOf returns the first key of a delegation.
func (a *author) keyOf(role string) string {
	a.t.Helper()
	for line := range strings.Lines(a.notary("delegation", "list", a.gun)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == role {
			return keyPattern.FindString(line)
		}
	}
	a.t.Fatalf("notary lists no key of %s", role)
	return ""
}

// rootKey makes the key of a root, and returns its file.
func (a *author) rootKey(name string) string {
	a.t.Helper()
	a.notary("key", "generate", "ecdsa", "--role", "root", "-o", a.home.path(name))
	return a.home.path(name + "-key.pem")
}

// look has the reader's tools read the repository in its present state, and remember it.
func (a *author) look() {
	a.t.Helper()
	a.reader.list(pinFile(a.t, a.publisher))
	if hasDocker {
		a.reader.inspect()
	}
}

// leave makes the reader look for the server where there is none.
func (a *author) leave() {
	a.t.Helper()
	port, err := servertest.FreePort()
	if err != nil {
		a.t.Fatal(err)
	}
	a.reader.url = "https://" + servertest.HostPort(port)
}

// pin tells readers to trust the present root, whatever happens to it later.
func (a *author) pin() {
	a.t.Helper()
	a.pins = map[string]any{"certs": map[string][]string{a.gun: a.rootKeyIDs()}}
}

// docker runs a docker trust command. Signing needs a daemon, so notary does that.
func (a *author) docker(args ...string) {
	a.t.Helper()
	if r := a.home.docker(a.t, a.server.url, a.server.tls, append([]string{"trust"}, args...)...); r.code != 0 {
		a.t.Fatalf("exit code %d: %s", r.code, r)
	}
}

// publish makes the repository what its shape says.
func (a *author) publish(s shape) {
	a.t.Helper()
	if !s.begins {
		a.notary("init", "-p", a.gun)
		a.rotate("snapshot", "-r") // docker's default
	}
	s.publish(a)
	if a.pins == nil {
		a.pin()
	}
}

// pinFile returns what readers are told about the root; empty: nothing.
func (a *author) pinFile(pinned string) string {
	a.t.Helper()
	if pinned != byConfig {
		return ""
	}
	return writePinning(a.t, a.pins)
}

// newAuthor makes a repository without trust data.
func newAuthor(t testing.TB, notary *notaryServer, registry *registry, name string) *author {
	t.Helper()
	gun := registry.host + "/" + name
	p := &publisher{t: t, server: notary, gun: gun, home: newHome(t)}
	p.home.extra = passphrases
	return &author{publisher: p, registry: registry, reader: newReader(t, notary, gun), images: map[string]ocispec.Descriptor{}}
}
