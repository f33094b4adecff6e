// Package servertest runs programs as servers on 127.0.0.1 for the duration of a test, and makes the certificates
// that they serve with.
package servertest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// startupTime is how long a server may take until it answers.
const startupTime = 20 * time.Second

// Serve starts a server on a free port of 127.0.0.1 and returns its host:port. command returns the command line for a
// port. The server is ready when it answers probe with any status, and ends with the test. Another process may take
// the port before the server uses it; then Serve tries again with another port.
func Serve(t testing.TB, client *http.Client, probe func(host string) string, command func(port int) *exec.Cmd) string {
	t.Helper()
	var last error
	for range 5 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		host := HostPort(port)
		if last = start(t, client, probe(host), command(port)); last == nil {
			return host
		}
	}
	t.Fatal(last)
	return ""
}

// HostPort returns the address of a server on that port.
func HostPort(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreePort returns a port of 127.0.0.1 that nobody used a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// start starts one server. Its error includes what the server wrote before it ended.
func start(t testing.TB, client *http.Client, probe string, c *exec.Cmd) error {
	t.Helper()
	log := &logBuffer{}
	c.Stdout, c.Stderr, c.SysProcAttr = log, log, UntilWeDie()
	if err := c.Start(); err != nil {
		t.Fatalf("starting %s: %v", c.Path, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // killed at the end, or seen by answers
		close(ended)
	}()
	stop := func() {
		_ = c.Process.Kill() // it may have ended already
		<-ended
	}
	if err := answers(client, probe, ended); err != nil {
		stop()
		return fmt.Errorf("starting %s: %w\n%s", strings.Join(c.Args, " "), err, log)
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", c.Path, log)
		}
	})
	return nil
}

// answers waits for an HTTP answer, whatever it says.
func answers(client *http.Client, probe string, ended <-chan struct{}) error {
	deadline := time.Now().Add(startupTime)
	for {
		resp, err := client.Get(probe)
		select {
		case <-ended: // then another server answered
			if err == nil {
				_ = resp.Body.Close()
			}
			return fmt.Errorf("it ended")
		default:
		}
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer in %s: %w", startupTime, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// logBuffer keeps the end of what a server writes. It may be read meanwhile.
type logBuffer struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.Len() > 64<<10 {
		l.kept.Reset()
	}
	return l.kept.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}

// A TLS certifies the servers of one test; no system trusts it.
type TLS struct {
	CAFile            string       // what clients are told to trust
	CertFile, KeyFile string       // of any server on 127.0.0.1
	Client            *http.Client // trusts those servers
}

// NewTLS makes an authority and one certificate under it, and writes both to files that are removed after the test.
func NewTLS(t testing.TB) *TLS {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.NewAuthority("e2e servers")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Issue("127.0.0.1", nil, pki.Server())
	if err != nil {
		t.Fatal(err)
	}
	files, err := server.Save(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	a := &TLS{CAFile: filepath.Join(dir, "ca.pem"), CertFile: files.ChainFile, KeyFile: files.KeyFile}
	WriteFile(t, a.CAFile, ca.CertificatePEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	a.Client = &http.Client{Transport: transport}
	return a
}

// WriteFile also makes the file's folder. Only the owner may read the file: it may contain a key.
func WriteFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
