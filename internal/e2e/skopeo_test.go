package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestSnapshotSurvivesSkopeo copies saved trust data with the real skopeo, as people do for an
// archive: to another directory, to a registry, and back from there. The copies verify with the
// same pins, and another save continues from them.
func TestSnapshotSurvivesSkopeo(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	registry := startDockerRegistry(t, nil, "", "")
	plain, signers := notary.init(t, registry.host+"/plain"), notary.init(t, registry.host+"/signers")
	plain.sign("v1", registry.push(t, "plain", "one"))
	signers.addSigner("alice")
	signers.sign("v1", registry.push(t, "signers", "two"), "targets/alice", "targets/releases")
	m := &migration{home: newHome(t), registry: registry, notary: notary, pins: pinFile(t, plain, signers)}
	saved := m.save(t, "saved", plain.gun, signers.gun)
	if saved.Added != 2 {
		t.Fatalf("got saved %+v, want 2 added", saved)
	}

	directory, back, archive := m.path("directory"), m.path("back"), registry.host+"/archive/trust-data:"
	for _, name := range layoutNames(t, m.path("saved")) {
		m.skopeo(t, "oci:"+m.path("saved")+":"+name, "oci:"+directory+":"+name)
		m.skopeo(t, "oci:"+directory+":"+name, "docker://"+archive+name)
		m.skopeo(t, "docker://"+archive+name, "oci:"+back+":"+name)
	}
	want := m.must(t, "dct2notation", "snapshot", "verify", "--trust-pinning", m.pins, m.path("saved")).stdout
	for _, copied := range []string{directory, back} {
		if got := m.must(t, "dct2notation", "snapshot", "verify", "--trust-pinning", m.pins, copied).stdout; got != want {
			t.Errorf("%s: got verified as\n%s\nwant\n%s", copied, got, want)
		}
	}
	if again := m.save(t, "back", plain.gun, signers.gun); again.Unchanged != 2 {
		t.Errorf("saved again from the copy: got %+v, want 2 unchanged", again)
	}
}

// saved are the counts that snapshot reports.
type saved struct{ Added, Changed, Unchanged, Kept, Failed int }

func (m *migration) save(t testing.TB, dir string, guns ...string) saved {
	t.Helper()
	line := []string{"snapshot", "-O", m.path(dir), "-o", "json", "--notary-server", m.notary.url, "--trust-pinning", m.pins}
	var s saved
	decode(t, m.must(t, "dct2notation", append(line, guns...)...), &s)
	return s
}

func (h *home) skopeo(t testing.TB, from, to string) {
	t.Helper()
	h.must(t, "skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
}

// layoutNames returns the references in an OCI image layout.
func layoutNames(t testing.TB, dir string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct {
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range index.Manifests {
		names = append(names, m.Annotations["org.opencontainers.image.ref.name"])
	}
	return names
}
