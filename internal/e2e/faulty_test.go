package e2e

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// faulty is a registry that fails a fraction of requests at random, in the ways of registries and
// of proxies in front of them.
type faulty struct {
	on    atomic.Bool
	oneIn int

	mu   sync.Mutex
	seen map[string]int // how often each fault occurred
}

// trouble spoils one request.
type trouble func(w http.ResponseWriter, r *http.Request, next http.Handler)

var troubles = map[string]trouble{
	"429, at once again":       refusing(http.StatusTooManyRequests, "0"),
	"429, again in a second":   refusing(http.StatusTooManyRequests, "1"),
	"500":                      refusing(http.StatusInternalServerError, ""),
	"502":                      refusing(http.StatusBadGateway, ""),
	"503, at once again":       refusing(http.StatusServiceUnavailable, "0"),
	"503 though it was done":   doneAndRefused,
	"reset":                    func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
	"reset though it was done": func(_ http.ResponseWriter, r *http.Request, next http.Handler) { registrytest.LoseAnswer(r, next) },
	"half an answer":           halfAnswer,
}

var troubleNames = slices.Sorted(maps.Keys(troubles))

// hook is for registrytest. It passes unspoilt requests to the next hook.
func (f *faulty) hook(behind registrytest.Hook) registrytest.Hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if !f.on.Load() || rand.N(f.oneIn) != 0 {
			return behind(w, r, next)
		}
		name := troubleNames[rand.N(len(troubleNames))]
		f.mu.Lock()
		f.seen[name]++
		f.mu.Unlock()
		troubles[name](w, r, next)
		return true
	}
}

// count counts the faults by kind.
func (f *faulty) count() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.seen)
}

func refusing(status int, retryAfter string) trouble {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "not now", status)
	}
}

func doneAndRefused(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	refusing(http.StatusServiceUnavailable, "0")(w, r, next)
}

// halfAnswer carries out the request, promises the whole answer and sends half of it.
func halfAnswer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	whole := httptest.NewRecorder()
	next.ServeHTTP(whole, r)
	maps.Copy(w.Header(), whole.Header())
	w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
	w.WriteHeader(whole.Code)
	_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2]) // whether the client gets it no longer matters
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// throttling has the refusals of a key's service in every form that plugins use. The numbers are
// prime, so that they do not keep coinciding.
var throttling = []kmstest.Fault{
	{Command: "generate-signature", Kind: kmstest.Throttled, Every: 37},
	{Command: "generate-signature", Kind: kmstest.ThrottledAzure, Every: 41},
	{Command: "generate-signature", Kind: kmstest.ThrottledText, Every: 43},
	{Command: "generate-signature", Kind: kmstest.LogLineThenJSON, Every: 47},
	{Command: "generate-signature", Kind: kmstest.TimeoutCode, Every: 53},
}
