package transport

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryAfter reads the Retry-After header, in seconds or as a date. A date is compared with the server's own Date if
// it sends one, since its clock may differ from ours. The result is never negative; ok is false if the header is
// missing or meaningless.
//
// SPEC (RFC 9110, 10.2.3): Retry-After = HTTP-date / delay-seconds.
func retryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	if isDigits(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > math.MaxInt64/int64(time.Second) {
			// Longer than we can count is longer than anyone waits.
			return math.MaxInt64 / 2, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if server, err := http.ParseTime(h.Get("Date")); err == nil {
		now = server
	}
	return max(0, at.Sub(now)), true
}

func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
