package e2e

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	modversion "golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestDocumentsRun runs what the documents tell a reader to type, unchanged, against servers with
// the names in the text. A block of ```console is a session. A line that begins with "$ " is typed
// into a shell, up to the end of its here-document if it has one. The lines below it are the
// expected output, where "..." matches anything. One novice types the blocks of a document one
// after another; each document has its own novice.
func TestDocumentsRun(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	var documents []string
	for _, glob := range []string{"README.md", "docs/*.md", "docs/howto/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, paths...)
	}
	ran := 0
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sessions := console.FindAllStringSubmatch(string(text), -1)
		if len(sessions) == 0 {
			continue
		}
		ran += len(sessions)
		t.Run(strings.TrimPrefix(path, root+"/"), func(t *testing.T) {
			t.Parallel()
			novice := newNovice(t, string(text))
			for _, s := range sessions {
				novice.session(t, s[1])
			}
		})
	}
	if ran == 0 {
		t.Error("got no session in the documents, want those of README.md at least")
	}
}

var console = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")

// novice follows a document: a user with docker's and notation's folders, in a folder of his own,
// whose network has the hosts that documents name.
type novice struct {
	*home
	dir   string
	ports *strings.Replacer
}

// newNovice starts the servers: two Notary servers, two registries, and one for releases. Servers
// that the document itself starts get free ports.
func newNovice(t *testing.T, text string) *novice {
	t.Helper()
	r := &novice{home: newHome(t)}
	var ports []string
	for _, port := range slices.Compact(slices.Sorted(slices.Values(ownPort.FindAllString(text, -1)))) {
		free, err := servertest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		host, _, _ := strings.Cut(port, ":")
		ports = append(ports, port, host+":"+strconv.Itoa(free))
	}
	r.ports = strings.NewReplacer(ports...)
	r.dir = r.path("work")
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hub, hubImages := r.servers(t, "docker.io/acme/app", "docker.io/acme/web")
	own, ownImages := r.servers(t, "registry.example.com/team/app", "registry.example.com/team/web")
	proxy := startNetwork(t, r.path("ca.pem"), map[string]http.Handler{
		"notary.docker.io": hub, "registry-1.docker.io": hubImages, "docker.io": hubImages,
		"notary.example.com": own, "registry.example.com": ownImages,
		"github.com": releasePage(t),
	})
	// This proxy is the only way out. It refuses host names that do not exist.
	r.extra = append(r.extra, "HTTPS_PROXY="+proxy, "SSL_CERT_FILE="+r.path("ca.pem"), "CURL_CA_BUNDLE="+r.path("ca.pem"))
	r.shim(t)
	if strings.Contains(text, "$ go install ") {
		r.modules(t)
	}
	return r
}

// ownPort matches where a document starts a server itself.
var ownPort = regexp.MustCompile(`localhost:\d+`)

// servers starts a Notary server and a registry. Their repositories have two signed tags each,
// which docker has pulled on this machine.
func (r *novice) servers(t *testing.T, repositories ...string) (notary, images http.Handler) {
	t.Helper()
	n, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	g, err := registrytest.Start(registrytest.Options{Referrers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	for _, name := range repositories {
		_, path, _ := strings.Cut(name, "/")
		p, err := n.NewRepository(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"1.0", "1.1"} {
			image, err := g.PutImage(path, tag, name+tag)
			if err == nil {
				err = p.Sign(tag, image.Digest.Encoded(), image.Size)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Publish(); err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
			servertest.WriteFile(t, r.path("docker", "trust", "tuf", name, "metadata", role+".json"), n.Raw(name, role))
		}
	}
	target, err := url.Parse(g.URL())
	if err != nil {
		t.Fatal(err)
	}
	return n, &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host
	}}
}

// shim puts another make before the machine's. It prints what it would do, in this repository:
// .ci/run makes what the documents make. Its sudo gives no rights, and installs into a folder of
// the novice.
func (r *novice) shim(t *testing.T) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, r.path("bin", "make"), fmt.Appendf(nil, "#!/bin/sh\nPATH=%s exec make -C '%s' -n \"$@\" >/dev/null\n", os.Getenv("PATH"), root))
	servertest.WriteFile(t, r.path("bin", "sudo"), fmt.Appendf(nil, "#!/bin/sh\n[ \"$1 $3\" = 'install /usr/local/bin/' ] && exec install \"$2\" '%s'\n", r.path("bin")))
	for _, name := range []string{"make", "sudo"} {
		if err := os.Chmod(r.path("bin", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.extra = append(r.extra, "PATH="+strings.Join([]string{r.path("bin"), bin, os.Getenv("PATH")}, ":"))
}

// modules publishes this repository as version 0.1.0 of its Go module, for `go install`. Its
// requirements come from the modules that building it has fetched. What is installed goes to the
// folder of make's shim.
func (r *novice) modules(t *testing.T) {
	t.Helper()
	const module, version = "github.com/dct2notation/dct2notation", "v0.1.0"
	root := filepath.Join("..", "..")
	published := r.path("modules", module, "@v")
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	info := []byte(`{"Version":"` + version + `","Time":"2026-12-01T00:00:00Z"}`)
	for name, content := range map[string][]byte{"list": []byte(version + "\n"), version + ".info": info, version + ".mod": gomod} {
		servertest.WriteFile(t, filepath.Join(published, name), content)
	}
	file, err := os.Create(filepath.Join(published, version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := modzip.CreateFromDir(file, modversion.Version{Path: module, Version: version}, root); err != nil {
		t.Fatalf("making a module of the repository: %v", err)
	}
	settings, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(string(settings), "\n")
	r.extra = append(r.extra, "GOMODCACHE="+r.path("modcache"), "GOCACHE="+have[1], "GOFLAGS=-modcacherw -trimpath", "CGO_ENABLED=0", "GOSUMDB=off",
		"GOPROXY=file://"+r.path("modules")+",file://"+filepath.Join(have[0], "cache", "download")+","+have[2], "GOBIN="+r.path("bin"))
}

// session types the commands of a block and compares what they print.
func (r *novice) session(t *testing.T, text string) {
	t.Helper()
	for i, part := range strings.Split("\n"+r.ports.Replace(text), "\n$ ") {
		if i == 0 {
			if strings.TrimSpace(part) != "" {
				t.Fatalf("got %q before the first command of a session, want a line that begins with $", part)
			}
			continue
		}
		lines := strings.Split(strings.TrimRight(part, "\n"), "\n")
		command := lines[0]
		lines = lines[1:]
		for strings.HasSuffix(command, `\`) && len(lines) > 0 {
			command, lines = command+"\n"+lines[0], lines[1:]
		}
		if strings.HasSuffix(command, "<<'END'") {
			command, lines = command+"\n"+strings.Join(lines[:slices.Index(lines, "END")+1], "\n"), lines[slices.Index(lines, "END")+1:]
		}
		// Variables and the folder are kept from one command to the next.
		c := r.command("bash", "-c", `set -a; [ -e "$HOME/.session" ] && . "$HOME/.session"; `+command+"\nstatus=$?\n"+
			`{ export -p; printf 'cd %q\n' "$PWD"; } >"$HOME/.session"; exit $status`)
		c.Dir, c.SysProcAttr = r.dir, &syscall.SysProcAttr{Setpgid: true}
		out, err := c.CombinedOutput()
		t.Cleanup(func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }) // what it left running
		if err != nil {
			t.Fatalf("$ %s\n%sgot %v, want exit code 0", command, out, err)
		}
		if !printed(lines).MatchString(strings.TrimRight(string(out), "\n")) {
			t.Errorf("$ %s\ngot\n%s\nwant\n%s", command, out, strings.Join(lines, "\n"))
		}
	}
}

// printed returns a pattern that matches what the lines of a document show.
func printed(lines []string) *regexp.Regexp {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for i, line := range lines {
		if line == "..." {
			pattern.WriteString(`(?s:.*?)`)
			if i+1 < len(lines) {
				pattern.WriteString(`(?:\A|\n|)`)
			}
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`))
		if i+1 < len(lines) {
			pattern.WriteString(`\n?`)
		}
	}
	return regexp.MustCompile(pattern.String() + `\z`)
}

// startNetwork starts a proxy on 127.0.0.1 that acts as each of the hosts, over TLS with a
// certificate of an authority that it writes to a file. It returns the proxy's URL.
func startNetwork(t *testing.T, caFile string, hosts map[string]http.Handler) string {
	t.Helper()
	ca, err := pki.NewAuthority("the network of a novice")
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, caFile, ca.CertificatePEM())
	var names []string
	for name := range hosts {
		names = append(names, name)
	}
	identity, err := ca.Issue("hosts", nil, pki.Server(names...))
	if err != nil {
		t.Fatal(err)
	}
	inside := &connections{arrived: make(chan net.Conn), done: make(chan struct{})}
	quiet := log.New(io.Discard, "", 0)
	servers := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			hosts[req.TLS.ServerName].ServeHTTP(w, req)
		}),
		ReadHeaderTimeout: time.Minute, ErrorLog: quiet,
	}
	proxy := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if name, _, _ := strings.Cut(req.Host, ":"); req.Method != http.MethodConnect || hosts[name] == nil {
				http.Error(w, "no such host here: "+req.Host, http.StatusBadGateway)
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			if _, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err == nil {
				inside.arrived <- tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{identity.TLS()}})
			}
		}),
		ReadHeaderTimeout: time.Minute, ErrorLog: quiet,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inside.addr = listener.Addr()
	go servers.Serve(inside)
	go proxy.Serve(listener)
	t.Cleanup(func() { proxy.Close(); servers.Close() })
	return "http://" + listener.Addr().String()
}

// connections is a listener for the connections that a proxy has accepted.
type connections struct {
	arrived chan net.Conn
	done    chan struct{}
	addr    net.Addr
}

func (c *connections) Accept() (net.Conn, error) {
	select {
	case conn := <-c.arrived:
		return conn, nil
	case <-c.done:
		return nil, net.ErrClosed
	}
}

func (c *connections) Close() error   { close(c.done); return nil }
func (c *connections) Addr() net.Addr { return c.addr }

// releases serves the archive for Linux and its checksums at the address of releases, with the
// present program.
func releasePage(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	const name = "dct2notation_linux_amd64.tar.gz"
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	program, err := os.ReadFile(filepath.Join(bin, "dct2notation"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	zipped := gzip.NewWriter(io.MultiWriter(file, sum))
	archive := tar.NewWriter(zipped)
	err = archive.WriteHeader(&tar.Header{Name: "dct2notation", Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = archive.Write(program)
	}
	for _, c := range []io.Closer{archive, zipped} {
		if closed := c.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, filepath.Join(dir, "SHA256SUMS"), fmt.Appendf(nil, "%x  %s\n", sum.Sum(nil), name))
	return http.StripPrefix("/dct2notation/dct2notation/releases/latest/download", http.FileServer(http.Dir(dir)))
}
