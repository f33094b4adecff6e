package transport

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// longestBackoff bounds a wait of our own choice. A wait that the server asks for is honoured in full.
const longestBackoff = 30 * time.Second

// A verdict says what to do after one try.
type verdict struct {
	again  bool          // the request may be repeated
	wait   time.Duration // before it is
	pause  bool          // the wait applies to every request to this host
	asked  bool          // the server asked for the wait
	reason string        // for people: "429 Too Many Requests, Retry-After 10s"
}

// judge decides what to do after try number try (0 is the first). Exactly one of resp and err is set.
func judge(req *http.Request, resp *http.Response, err error, try int) verdict {
	v := verdict{wait: backoff(try)}
	if err != nil {
		// A host that cannot be reached at all is left to the caller, who knows whether its name was ever right.
		// Retry here only what was once connected.
		v.again = repeatable(req) && Transient(err) && !Unreachable(err) && req.Context().Err() == nil
		v.reason = brief(err)
		return v
	}
	v.reason = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		// The server rejected the request before acting on it, so any request may be sent again if we still have its
		// body.
		v.again = replayable(req)
		v.pause = resp.StatusCode == http.StatusTooManyRequests
		if after, ok := retryAfter(resp.Header, time.Now()); ok {
			v.wait, v.pause, v.asked = after, true, true
			v.reason += ", Retry-After " + after.Round(time.Second).String()
		}
	case http.StatusRequestTimeout, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusGatewayTimeout:
		v.again = repeatable(req)
	}
	return v
}

// repeatable reports whether sending req twice has the effect of sending it once, so that
// it may be repeated although the first try may have arrived.
func repeatable(req *http.Request) bool {
	if !replayable(req) {
		return false
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	case http.MethodPost:
		// Starting an upload: a second session costs the registry a file that it cleans up itself. A request that
		// carries a whole blob is not repeated: registries are not used to that, and its sender has another way.
		return strings.HasSuffix(req.URL.Path, "/blobs/uploads/") && (req.Body == nil || req.Body == http.NoBody)
	}
	return false
}

// replayable reports whether the body, if any, can be read a second time.
func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// backoff is 1 s, 2 s, 4 s ... up to longestBackoff, each between three and five quarters
// of that, so that workers that failed together do not come back together.
func backoff(try int) time.Duration {
	d := min(time.Second<<min(try, 10), longestBackoff)
	return d*3/4 + rand.N(d/2)
}

// brief names a network failure in a few words, without addresses.
func brief(err error) string {
	switch {
	case isTimeout(err):
		return "timeout"
	case isReset(err):
		return "connection lost"
	}
	return "network error"
}
