package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestMigrationOverTLSWithLogin is the plain case with real parts: a Notary server and a registry
// with their own authority, a registry that requires the password that docker login stored, a run
// that is killed, the same command again, and both tools as judges.
func TestMigrationOverTLSWithLogin(t *testing.T) {
	t.Parallel()
	const images = 24
	tls := servertest.NewTLS(t)
	notary := startNotary(t, tls)
	registry := startDockerRegistry(t, tls, "ann", "p:ss word")
	gun := registry.host + "/team/app"
	p := notary.init(t, gun)
	var pushed []ocispec.Descriptor
	want := map[string]class{}
	for i := range images {
		tag := fmt.Sprintf("v%d", i)
		pushed = append(pushed, registry.push(t, "team/app", tag, tag))
		p.sign(tag, pushed[i])
		want[tag] = class{"agree", true}
	}
	m := &migration{home: newHome(t), registry: registry, notary: notary, pins: pinFile(t, p)}
	ca := newAuthority(t, "ours")
	m.trust(t, ca)
	m.login(t)
	var kms *kmstest.Plugin
	kms, m.key = installKMS(t, m.home, issue(t, ca, "release", pki.EC256), kmstest.Behaviour{Delay: map[string]int{"generate-signature": 60}})

	m.killHalfWay(t, kms, gun, images/2)
	got := m.runCounts(t, gun)
	if got["failed"]+got["skipped"] != 0 || got["signed"] == 0 || got["signed"] == images {
		t.Errorf("the second run: got %v, want the rest signed: the first one was killed half way", got)
	}
	if got = m.runCounts(t, gun); got["already"] != images {
		t.Errorf("the third run: got %v, want %d already", got, images)
	}
	for _, image := range pushed {
		if n := m.signatures(t, gun+"@"+image.Digest.String()); n != 1 {
			t.Errorf("%s: got %d signatures, want 1", image.Digest, n)
		}
	}
	m.verify(t, 0, gun, want)
	if r := m.notationVerify(t, gun+"@"+pushed[0].Digest.String(), "-m", "io.dct2notation.tag.v0=targets"); r.code != 0 {
		t.Errorf("notation: got exit code %d, want 0: %s", r.code, r)
	}
}

// TestWrongPasswordSignsNothing shows that the registry of the test above does require the
// password, and that a refusal is found before the key is used.
func TestWrongPasswordSignsNothing(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	registry := startDockerRegistry(t, nil, "ann", "right")
	gun := registry.host + "/app"
	p := notary.init(t, gun)
	p.sign("v1", registry.push(t, "app", "one", "v1"))
	registry.password = "wrong"
	m := &migration{home: newHome(t), registry: registry, notary: notary, pins: pinFile(t, p)}
	m.login(t)
	var kms *kmstest.Plugin
	kms, m.key = installKMS(t, m.home, issue(t, newAuthority(t, "ours"), "release", pki.EC256), kmstest.Behaviour{})
	if r := m.dct2notation(t, "run", gun); r.code != 3 {
		t.Errorf("got exit code %d, want 3: %s", r.code, r)
	}
	calls, err := kms.Calls("generate-signature")
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) > 1 { // the first call requests the certificate, and signs no image
		t.Errorf("got %d key operations, want at most 1: nothing can be pushed", len(calls))
	}
}

// login writes what docker login would write. The notation command reads the same file.
func (m *migration) login(t testing.TB) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"auths": map[string]any{
		m.registry.host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(m.registry.user + ":" + m.registry.password))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, m.path("docker", "config.json"), raw)
}

// killHalfWay starts a run with one worker and kills it once the key has made that many signatures.
func (m *migration) killHalfWay(t testing.TB, kms *kmstest.Plugin, gun string, signed int) {
	t.Helper()
	c := m.command("dct2notation", m.line("run", "--workers", "1", gun)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		calls, err := kms.Calls("generate-signature")
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) >= signed {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("got %d signatures in a minute, want %d", len(calls), signed)
			break
		}
	}
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if c.Wait() == nil {
		t.Error("got the run ended before it was killed, want it running")
	}
}
