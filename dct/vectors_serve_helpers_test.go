package dct

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// file ROLE TEXT [TIMES TEXT]... serves other bytes, repeated as often as said.
func (s *script) file(args []string) {
	raw := []byte(args[1])
	for rest := args[2:]; len(rest) >= 2; rest = rest[2:] {
		n, err := strconv.Atoi(rest[0])
		s.m.must(err)
		raw = append(raw, bytes.Repeat([]byte(rest[1]), n)...)
	}
	s.vouched(args[0], raw)
}

// swap ROLE OTHER serves the other's file as the role's.
func (s *script) swap(args []string) { s.vouched(args[0], s.m.files[args[1]]) }

// spoil ROLE damages the signatures, and nothing else.
func (s *script) spoil(args []string) {
	s.vouched(args[0], s.m.resigned(args[0], func(list []any) []any {
		for _, sig := range list {
			sig := sig.(map[string]any)
			sig["sig"] = strings.Repeat("A", len(sig["sig"].(string))-2) + "=="
		}
		return list
	}))
}

// withhold ROLE removes it from the snapshot.
func (s *script) withhold(args []string) {
	delete(s.m.meta("snapshot"), args[0])
	s.m.vouch()
}

// missing ROLE removes a file that is listed.
func (s *script) missing(args []string) { delete(s.m.files, args[0]) }

// stale ROLE serves another file, which nothing lists.
func (s *script) stale(args []string) {
	s.m.bump(args[0])
	s.m.put(args[0], s.m.sign(args[0]))
}

// http ROLE BEHAVIOUR sets how the server answers instead of the file.
func (s *script) http(args []string) {
	hook := behaviours[args[1]]
	if status, err := strconv.Atoi(args[1]); err == nil {
		hook = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Location", "https://elsewhere.example.com/\u009b31m\u202e")
			w.WriteHeader(status)
		}
	}
	if hook == nil {
		s.m.t.Fatalf("no such behaviour: %s", args[1])
	}
	raw := s.m.files[args[0]]
	s.m.served.hooks = map[string]http.HandlerFunc{args[0]: func(w http.ResponseWriter, r *http.Request) { hook(w, r, raw) }}
}

// mebibyte is a gzip file of 1 MiB of spaces. Such files can be concatenated.
var mebibyte = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20)) // into memory
	_ = z.Close()
	return b.Bytes()
})

// behaviours are servers that do more than serve wrong files. They end when the client
// disconnects.
var behaviours = map[string]func(w http.ResponseWriter, r *http.Request, raw []byte){
	"not-found": func(w http.ResponseWriter, r *http.Request, _ []byte) { notFound(w, r) },
	"endless": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		for chunk := bytes.Repeat([]byte(" "), 64<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	},
	"endless-after": func(w http.ResponseWriter, _ *http.Request, raw []byte) {
		for chunk := raw; ; chunk = bytes.Repeat([]byte(" "), 64<<10) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	},
	"gzip-bomb": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		for range 64 { // 64 MiB in 64 KiB; a client that does not decompress has to see an end
			if _, err := w.Write(mebibyte()); err != nil {
				return
			}
		}
	},
	"not-gzip": func(w http.ResponseWriter, _ *http.Request, raw []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(raw)
	},
	"stall": func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() },
	"stall-within": func(w http.ResponseWriter, r *http.Request, raw []byte) {
		_, _ = w.Write(raw[:len(raw)/2])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	},
	"trickle": func(w http.ResponseWriter, r *http.Request, raw []byte) {
		for i := range raw {
			_, _ = w.Write(raw[i : i+1])
			w.(http.Flusher).Flush()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	},
	"cut": func(w http.ResponseWriter, _ *http.Request, raw []byte) {
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		_, _ = w.Write(raw[:len(raw)/2])
		panic(http.ErrAbortHandler)
	},
	"half":    func(w http.ResponseWriter, _ *http.Request, raw []byte) { _, _ = w.Write(raw[:len(raw)/2]) },
	"nothing": func(http.ResponseWriter, *http.Request, []byte) {},
	"reset":   func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) },
	"page": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		_, _ = w.Write([]byte("<html>\x1b[31mhello"))
	},
}

// stallLimit is how long our transport waits for a silent server. It is long compared to a healthy
// answer on a busy machine.
const stallLimit = 600 * time.Millisecond

// sourceVia returns the repository as a source: in process, or by HTTP with net/http's transport
// or our own.
func sourceVia(t *testing.T, m *mint, via string) Source {
	t.Helper()
	if via == "" {
		return handled(m)
	}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	var rt http.RoundTripper = base
	if via == "transport" {
		ours, err := transport.New(transport.Options{Retries: -1, IdleBodyTimeout: stallLimit, ResponseHeaderTimeout: stallLimit})
		must(t, err)
		t.Cleanup(ours.CloseIdleConnections)
		rt = ours
	}
	client := &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Server{URL: func(string) string { return s.URL }, HTTP: func(string) Doer { return client }}
}
