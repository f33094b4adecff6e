package command

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go/dir"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// naming has an envelope name the plugin that is to verify it.
func naming(plugin string) func(*signature.SignRequest) {
	return func(r *signature.SignRequest) {
		r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes,
			signature.Attribute{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: plugin})
	}
}

// A snapshotOf a place's trust data has signatures attached by hand, as anybody can who has the
// directory.
func (g *ground) snapshotWith(dirName string, p *place, by ...func(manifest ocispec.Descriptor) []byte) {
	g.t.Helper()
	code, _, said := g.main("snapshot", "-O", g.path(dirName), p.trust.GUN())
	if code != cli.ExitDone {
		g.t.Fatalf("snapshot: exit code %d: %s", code, said)
	}
	raw, err := os.ReadFile(g.path(dirName + "/index.json"))
	must(g.t, err)
	var index ocispec.Index
	must(g.t, json.Unmarshal(raw, &index))
	blob := func(raw []byte) {
		g.write(filepath.Join(dirName, "blobs", "sha256", digest.FromBytes(raw).Encoded()), raw)
	}
	saved := index.Manifests[0]
	for _, sign := range by {
		envelope := sign(saved)
		manifest, desc, err := registry.PackSignature(saved, p.mediaType, envelope, map[string]string{
			ocispec.AnnotationCreated: time.Now().Format(time.RFC3339), "io.cncf.notary.x509chain.thumbprint#S256": "[]"})
		must(g.t, err)
		blob(envelope)
		blob(manifest)
		blob([]byte("{}"))
		desc.Annotations = nil
		index.Manifests = append(index.Manifests, desc)
	}
	g.writeJSON(dirName+"/index.json", index)
}

// Whoever can attach a signature names a program in it. Notation's own verifier would start it, from
// notation's folder of plugins or, as the name is joined to a path, from anywhere. No verb does, at any
// level of the trust policy, whether the signer's certificate is trusted or not.
func TestNothingThatASignatureNamesIsStarted(t *testing.T) {
	g := newGround(t)
	was := dir.UserLibexecDir
	dir.UserLibexecDir = g.path("libexec")
	t.Cleanup(func() { dir.UserLibexecDir = was })
	started := g.path("started")
	program := fmt.Appendf(nil, "#!/bin/sh\necho \"$0\" >> %q\n", started)
	for _, at := range []string{"libexec/plugins/x/notation-x", "evil/evil"} {
		must(t, os.MkdirAll(filepath.Dir(g.path(at)), 0o755))
		must(t, os.WriteFile(g.path(at), program, 0o755))
	}
	names := []string{"x", "../../evil"}
	p := g.places[0]
	var signatures []func(ocispec.Descriptor) []byte
	for _, name := range names {
		for _, by := range []*pki.Identity{g.stranger, g.twin, g.intruder, g.old} {
			signatures = append(signatures, func(d ocispec.Descriptor) []byte { return p.envelope(by, d, naming(name)) })
		}
	}
	for _, sign := range signatures {
		p.push(p.marks[0].Descriptor, sign(p.marks[0].Descriptor))
	}
	g.snapshotWith("archive", p, signatures...)
	for _, level := range levels {
		policy := g.path(level + ".json")
		for verb, args := range map[string][]string{
			"verify": {"--trust-policy", policy, p.trust.GUN()},
			"ready":  {"--trust-policy", policy, "--date", time.Now().Add(time.Hour * 48).Format(time.DateOnly), "--no-ledger", "--snapshot", g.path("archive"), p.trust.GUN()},
			"plan":   {"--source", "snapshot:" + g.path("archive"), "--snapshot-trust-policy", policy, "--allow-expired", "timestamp", p.trust.GUN()},
		} {
			if code, _, said := g.main(verb, args...); code == cli.ExitCannot || code == cli.ExitUsage {
				t.Errorf("%s at level %s: exit code %d: %s", verb, level, code, said)
			}
		}
		code, out, said := g.mainOf([]string{"snapshot", "verify"}, "--snapshot-trust-policy", policy, g.path("archive"))
		if code == cli.ExitUsage || !strings.Contains(string(out), `"count": 8`) || strings.Contains(string(out), `"trusted": true`) {
			t.Errorf("snapshot verify at level %s: exit code %d, want 8 signatures and none trusted: %s%s", level, code, out, said)
		}
		if ran, err := os.ReadFile(started); err == nil {
			t.Fatalf("at level %s, started by a signature: %s", level, ran)
		}
	}
}

// A stranger's certificate names the server that says whether it was revoked. Asking it would tell
// the stranger who looks and when, and have us send requests into our own network. A lenient level
// goes on to revocation where the certificate is not trusted.
func TestNobodyIsAskedForAStranger(t *testing.T) {
	g := newGround(t)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "", http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	other, err := pki.NewAuthority("ground")
	must(t, err)
	p := g.places[0]
	var signatures []func(ocispec.Descriptor) []byte
	named := []string{server.URL}
	for _, c := range []x509.Certificate{{OCSPServer: named}, {CRLDistributionPoints: named}, {OCSPServer: named, CRLDistributionPoints: named}} {
		id, err := other.Issue(releaseName, nil, func(t *x509.Certificate) {
			t.OCSPServer, t.CRLDistributionPoints = c.OCSPServer, c.CRLDistributionPoints
		})
		must(t, err)
		signatures = append(signatures, func(d ocispec.Descriptor) []byte { return p.envelope(id, d) })
	}
	for _, sign := range signatures {
		p.push(p.marks[0].Descriptor, sign(p.marks[0].Descriptor))
	}
	g.snapshotWith("archive", p, signatures...)
	for _, level := range levels {
		policy := g.path(level + ".json")
		code, _, said := g.main("verify", "--trust-policy", policy, p.trust.GUN())
		if code != cli.ExitDone { // the release key's own signature is there as before
			t.Errorf("verify at level %s: exit code %d: %s", level, code, said)
		}
		if code, _, said := g.mainOf([]string{"snapshot", "verify"}, "--snapshot-trust-policy", policy, g.path("archive")); code == cli.ExitUsage {
			t.Errorf("snapshot verify at level %s: exit code %d: %s", level, code, said)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the address in a stranger's certificate was asked %d times, want 0", n)
	}
}
