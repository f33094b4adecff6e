package cluster

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// names is a proxy that resolves host names which only it knows. Images can then have realistic
// names instead of addresses, which clients treat differently. A process gets its address as
// HTTPS_PROXY, and can reach nothing else through it.
type names struct {
	hosts map[string]string // host and port to address; complete before the first request
	*httptest.Server
}

func newNames(t *testing.T) *names {
	t.Helper()
	n := &names{hosts: map[string]string{}}
	n.Server = httptest.NewServer(n)
	t.Cleanup(n.Close)
	return n
}

func (n *names) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := n.hosts[r.Host]
	if r.Method != http.MethodConnect || address == "" {
		http.Error(w, r.Host+" is not in this world", http.StatusBadGateway)
		return
	}
	there, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		there.Close()
		return
	}
	io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	go pipe(there, here)
	go pipe(here, there)
}

func pipe(to, from net.Conn) {
	io.Copy(to, from)
	to.Close()
}

// serve serves a plain HTTP server under a name, with TLS.
func (n *names) serve(t *testing.T, tls *authority, host, behind string) {
	t.Helper()
	target, err := url.Parse(behind)
	must(t, err)
	s := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = host
	}})
	s.TLS = tls.server(t, host)
	s.StartTLS()
	t.Cleanup(s.Close)
	n.hosts[host+":443"] = s.Listener.Addr().String()
}
