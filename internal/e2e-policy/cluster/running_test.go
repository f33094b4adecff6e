package cluster

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// verify --images and ready --running look up what the API server says is running: containers, init
// and ephemeral containers and volumes, by the digest in the status. Nothing runs Pods here; their
// status is written as a kubelet would write it.
func TestWhatRunsInACluster(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	app := modern + "/team/app"
	signed, unsigned := w.digests[app+":signed"], w.digests[app+":unsigned"]

	pod := func(name string, spec object, statuses ...object) {
		t.Helper()
		if _, refused := c.pod(t, name, spec); refused != "" {
			t.Fatal(refused)
		}
		if len(statuses) == 0 {
			return
		}
		_, refused := c.change(t, "PATCH", pods+"/"+name+"/status", "application/strategic-merge-patch+json", object{"status": object{"containerStatuses": statuses}})
		if refused != "" {
			t.Fatal(refused)
		}
	}
	runs := func(container, image, id string) object {
		return object{"name": container, "image": image, "imageID": id, "ready": true, "restartCount": 0}
	}
	pod("web", object{"containers": containers(app+":signed", "elsewhere.example.com/tool:1"), "volumes": volume(app + ":foreign")},
		runs("c0", app+":signed", "docker-pullable://"+app+"@"+signed), runs("c1", "elsewhere.example.com/tool:1", "elsewhere.example.com/tool@"+signed))
	pod("again", object{"containers": containers(app + ":signed")}, runs("c0", app+":signed", app+"@"+signed))
	pod("moved", object{"containers": containers(app + ":signed")}, runs("c0", app+":signed", app+"@"+unsigned))
	pod("pending", object{"containers": containers(app + "@" + signed), "initContainers": []any{object{"name": "init", "image": modern + "/team/web:signed"}}})
	if _, refused := ways[2].bring(t, c.client, "debugged", app+":signed", app+":gone"); refused != "" {
		t.Fatal(refused)
	}

	folder := t.TempDir()
	status, list := c.do(t, "GET", "/api/v1/pods", "", nil)
	if status != http.StatusOK {
		t.Fatalf("listing Pods: %d %s", status, list)
	}
	write := func(name string, content []byte) {
		t.Helper()
		file := filepath.Join(folder, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, content, 0o600))
	}
	write("pods.json", list)
	chain := w.signers["release"].Chain
	write("notation/truststore/x509/ca/ours/root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw}))
	write("notation/trustpolicy.json", []byte(`{"version":"1.0","trustPolicies":[{"name":"ours","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:ours"],"trustedIdentities":["*"]}]}`))
	notary, err := notarytest.Start(notarytest.Options{})
	must(t, err)
	t.Cleanup(notary.Close)
	r, err := notary.NewRepository(app)
	must(t, err)
	for _, d := range []string{signed, unsigned} {
		must(t, r.Sign("v"+d[7:12], strings.TrimPrefix(d, "sha256:"), 100))
	}
	must(t, r.Publish())
	pins, err := json.Marshal(object{"trust_pinning": object{"certs": object{app: r.RootKeyIDs()}}})
	must(t, err)
	write("pins.json", pins)

	binary := filepath.Join(folder, "dct2notation")
	build := exec.Command("go", "build", "-o", binary, "./cmd/dct2notation")
	build.Dir = filepath.Join("..", "..", "..") // its module has its own requirements
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building dct2notation: %v\n%s", err, out)
	}
	run := func(args ...string) []byte {
		t.Helper()
		all := append(args, "-o", "json", "--notary-server", notary.URL(), "--trust-pinning", "pins.json", "--docker-trust", "none", "--cache-dir", "none", app)
		command := exec.Command(binary, all...)
		command.Dir, command.Env = folder, append(w.env(), "HOME="+folder, "NOTATION_CONFIG="+filepath.Join(folder, "notation"), "DOCKER_CONFIG="+folder)
		out, err := command.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 4 {
			t.Fatalf("got %v, want exit code 4\n%s\n%s", err, out, exit.Stderr)
		}
		return out
	}
	var said struct {
		Images []struct {
			Image, Digest string
			TrustedBy     string `json:"trusted_by"`
			Count         int
		}
	}
	must(t, json.Unmarshal(run("verify", "--images", "pods.json"), &said))
	var got []string
	for _, i := range said.Images {
		got = append(got, fmt.Sprintf("%s %s %s %d", i.Image, strings.TrimPrefix(i.Digest, "sha256:"), i.TrustedBy, i.Count))
	}
	hex := func(d string) string { return strings.TrimPrefix(d, "sha256:") }
	want := []string{
		"elsewhere.example.com/tool:1 " + hex(signed) + " not-asked 1",
		app + ":foreign " + hex(w.digests[app+":foreign"]) + " neither 1",
		app + ":gone  unknown 1",
		app + ":signed " + hex(signed) + " both 2",
		app + ":signed " + hex(signed) + " both 1", // nobody has said yet what runs, and the tag points to this
		app + ":signed " + hex(unsigned) + " dct 1",
		app + "@" + signed + " " + hex(signed) + " both 1",
		modern + "/team/web:signed " + hex(w.digests[modern+"/team/web:signed"]) + " notation 1",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var ready struct {
		Gates []struct {
			ID, State string
			Evidence  []string
		}
	}
	must(t, json.Unmarshal(run("ready", "--running", "pods.json", "--no-ledger", "--date", time.Now().AddDate(0, 0, 2).Format(time.DateOnly)), &ready))
	for _, g := range ready.Gates {
		if g.ID == "digests" && (g.State != "fails" || !strings.Contains(strings.Join(g.Evidence, "\n"), "apps/moved/c0")) {
			t.Errorf("got the gate %+v, want it to fail for what runs in the Pod moved", g)
		}
	}
}
