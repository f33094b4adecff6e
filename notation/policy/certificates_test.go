package policy

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Certificates that have expired, soon expire or are not valid yet are reported.
func TestAgeOfCertificatesIsTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		from, to time.Time
		want     string
	}{
		{now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), ""},
		{now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1), "has expired"},
		{now.AddDate(-1, 0, 0), now.AddDate(0, 0, 1), "expires soon"},
		{now.AddDate(0, 0, 1), now.AddDate(1, 0, 0), "not valid yet"},
	} {
		var b bytes.Buffer
		NewMigrated(slog.New(slog.NewTextHandler(&b, nil))).tellAge("release", []*x509.Certificate{{NotBefore: c.from, NotAfter: c.to}}, false, now)
		if got := b.String(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("from %v to %v: got %q, want it to say %q", c.from, c.to, got, c.want)
		}
	}
}
