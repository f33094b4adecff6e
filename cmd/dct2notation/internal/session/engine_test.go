package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// Pinned authorities are compared by the file's certificates, wherever it is and whatever else it
// contains.
func TestPinnedAuthoritiesAreComparedByContent(t *testing.T) {
	t.Parallel()
	one, err := pki.NewAuthority("one")
	must(t, err)
	two, err := pki.NewAuthority("two")
	must(t, err)
	write := func(content ...string) string {
		path := filepath.Join(t.TempDir(), "ca.pem")
		must(t, os.WriteFile(path, []byte(strings.Join(content, "")), 0o600))
		got, err := thumbprints(path)
		must(t, err)
		return got
	}
	a, b := string(one.CertificatePEM()), string(two.CertificatePEM())
	first := write(a)
	for name, c := range map[string]struct {
		content []string
		same    bool
	}{
		"the same elsewhere": {[]string{a}, true}, "with a comment": {[]string{"# ours\n", a}, true}, "twice": {[]string{a, a}, true},
		"another": {[]string{b}, false}, "one more": {[]string{a, b}, false},
	} {
		if got := write(c.content...); (got == first) != c.same {
			t.Errorf("%s: got %s and %s, want them the same: %t", name, first, got, c.same)
		}
	}
	if write(a, b) != write(b, a) {
		t.Error("their order makes a difference")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
