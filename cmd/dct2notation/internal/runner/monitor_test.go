package runner

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// Metrics are served at the address in the flag, by default only on this machine.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o            Options
		code         int
		served, loud bool
	}{
		"a run":              {Options{}, cli.ExitDone, false, false},
		"a run that is seen": {Options{Metrics: "127.0.0.1:0"}, cli.ExitDone, true, false},
		"a watch, not seen":  {Options{Every: time.Minute, Metrics: "none"}, cli.ExitDone, false, false},
		"seen by all":        {Options{Metrics: ":0"}, cli.ExitDone, true, true},
		"no port":            {Options{Metrics: "127.0.0.1"}, cli.ExitUsage, false, false},
		"no such port":       {Options{Metrics: "127.0.0.1:x"}, cli.ExitUsage, false, false},
	} {
		var log bytes.Buffer
		m, stop, err := c.o.Monitored(slog.New(slog.NewTextHandler(&log, nil)))
		if cli.ExitCode(err) != c.code || (m != nil) != c.served || strings.Contains(log.String(), "other machines") != c.loud {
			t.Errorf("%s: got error %v, served %t, want exit code %d, served %t\n%s", name, err, m != nil, c.code, c.served, log.String())
		}
		if err == nil {
			stop()
		}
	}
}
