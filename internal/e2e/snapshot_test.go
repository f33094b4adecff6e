package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
	"github.com/dct2notation/dct2notation/internal/testing/tsatest"
)

// TestNotationAcceptsSignedSnapshots has the real notation command judge what snapshot --sign made.
// It also has snapshot verify judge what the notation command signed in the same layout.
func TestNotationAcceptsSignedSnapshots(t *testing.T) {
	t.Parallel()
	tsa, err := tsatest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tsa.Close)
	s := newStory(t, startNotary(t, nil), startOlareg(t), "app")
	s.extra = append(s.extra, "NOTATION_EXPERIMENTAL=1")
	s.addKey(t, "release", issue(t, s.ca, "release", pki.EC256))
	root := s.path("tsa.pem")
	servertest.WriteFile(t, root, tsa.RootPEM())
	// This policy accepts no signature without a timestamp.
	servertest.WriteFile(t, s.path("notation", "truststore", "x509", "tsa", "e2e", "root.crt"), tsa.RootPEM())
	s.writeJSON(t, "trustpolicy.json", map[string]any{
		"version": "1.0",
		"trustPolicies": []any{map[string]any{
			"name": "e2e", "registryScopes": []string{s.gun}, "trustStores": []string{"ca:e2e", "tsa:e2e"}, "trustedIdentities": []string{"*"},
			"signatureVerification": map[string]string{"level": "strict"},
		}},
	})
	stamp := []string{"--timestamp-url", tsa.URL(), "--timestamp-root-cert", root}
	s.exits(t, 0, "snapshot", append(stamp, "-O", "saved", "--sign", "--key", "release", s.gun)...)
	reference := s.path("saved") + "@" + s.manifestIn(t, "saved")
	s.must(t, "notation", "verify", "--oci-layout", "--scope", s.gun, reference)
	if r := s.must(t, "notation", "verify", "--oci-layout", "--scope", s.gun, "-m", "io.dct2notation.gun="+s.gun, reference); !strings.Contains(r.stdout, "Successfully verified") {
		t.Errorf("got %s, want \"Successfully verified\"", r)
	}
	if r := s.run(t, "notation", "verify", "--oci-layout", "--scope", s.gun, "-m", "io.dct2notation.gun=other", reference); r.code == 0 {
		t.Errorf("notation: got exit code 0, want it refused: %s", r)
	}
	s.snapshotIsSigned(t, "saved", 1)

	// Notation's signature counts as well, and stays when the snapshot is saved again.
	s.exits(t, 0, "snapshot", "-O", "theirs", s.gun)
	theirs := s.path("theirs") + "@" + s.manifestIn(t, "theirs")
	s.must(t, "notation", append([]string{"sign", "--oci-layout"}, append(stamp, theirs)...)...)
	s.exits(t, 0, "snapshot", "-O", "theirs", s.gun)
	s.snapshotIsSigned(t, "theirs", 1)
}

// manifestIn returns the digest of the manifest of the only repository in a snapshot.
func (s *story) manifestIn(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(s.path(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct {
			Digest, ArtifactType string
		}
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	for _, m := range index.Manifests {
		if m.ArtifactType == "application/vnd.dct2notation.snapshot.v1" {
			return m.Digest
		}
	}
	t.Fatalf("no repository in %s", raw)
	return ""
}

// snapshotIsSigned checks that our own verifier trusts a snapshot's signature.
func (s *story) snapshotIsSigned(t *testing.T, dir string, count int) {
	t.Helper()
	var report struct {
		Repositories []struct {
			Signature struct {
				Count   int
				Trusted bool
				At      time.Time
			}
		}
	}
	decode(t, s.must(t, "dct2notation", "snapshot", "verify", "--trust-pinning", s.pins, "--snapshot-trust-policy", s.path("notation", "trustpolicy.json"), "-o", "json", dir), &report)
	if len(report.Repositories) != 1 {
		t.Fatalf("got %+v, want 1 repository", report)
	}
	if sig := report.Repositories[0].Signature; sig.Count != count || !sig.Trusted || time.Since(sig.At) > 5*time.Minute {
		t.Errorf("%s: got %+v, want %d signatures, trusted, at now", dir, sig, count)
	}
}
