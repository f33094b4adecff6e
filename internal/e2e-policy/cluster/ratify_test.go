package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// A ratifyServer answers as Gatekeeper's external data.
type ratifyServer struct {
	address string
	path    string // of the question
	client  *http.Client
	process *process
}

// startRatify runs Ratify as its chart does, on a cluster that has read ratify.yaml.
func startRatify(t *testing.T, w *world, c *cluster) *ratifyServer {
	t.Helper()
	r := &ratifyServer{address: "127.0.0.1:" + freePort(t), path: "/ratify/gatekeeper/v1/verify", client: &http.Client{Transport: &http.Transport{TLSClientConfig: w.tls.client()}}}
	config := filepath.Join(t.TempDir(), "config.json")
	must(t, os.WriteFile(config, []byte(`{"executor":{"verificationRequestTimeout":6900,"mutationRequestTimeout":1950}}`), 0o600))
	health := "127.0.0.1:" + freePort(t)
	r.process = start(t, ratify, append(w.env(), "KUBECONFIG="+c.kubeconfig, "RATIFY_NAMESPACE=gatekeeper-system", "RATIFY_NAME=ratify"),
		"serve", "--http", r.address, "--config", config, "--enable-crd-manager", "--cert-dir", w.tls.issue(t, "ratify.gatekeeper-system"), "--health-port", health)
	awaited(t, time.Minute, "Ratify", func() error { return healthy(http.DefaultClient, "http://"+health+"/readyz") }, r.process)
	return r
}

// ask gives the verdict of each image, and an error where there is none.
func (r *ratifyServer) ask(images []string) (map[string]bool, string, error) {
	question, err := json.Marshal(map[string]any{"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": map[string]any{"keys": images}})
	if err != nil {
		return nil, "", err
	}
	response, err := r.client.Post("https://"+r.address+r.path, "application/json", bytes.NewReader(question))
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	var raw bytes.Buffer
	var answer struct {
		Response struct {
			SystemError string
			Items       []struct {
				Key, Error string
				Value      struct{ IsSuccess, Succeeded bool } // of Ratify v1, and of v2
			}
		}
	}
	if _, err := raw.ReadFrom(response.Body); err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(raw.Bytes(), &answer); err != nil || answer.Response.SystemError != "" {
		return nil, "", fmt.Errorf("%v %s", err, raw.String())
	}
	verdicts := map[string]bool{}
	for _, i := range answer.Response.Items {
		// Gatekeeper's template denies what has an error, too.
		verdicts[i.Key] = i.Error == "" && (i.Value.IsSuccess || i.Value.Succeeded)
	}
	return verdicts, raw.String(), nil
}

// Ratify, with ratify.yaml as it is written, lets our signatures pass and no others.
func TestRatifyLetsOnlyOurSignaturesPass(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.install(t, ratify, "config/crd/bases")
	c.namespace(t, "gatekeeper-system")
	o, err := policy.Ratify(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "ratify.yaml")
	r := startRatify(t, w, c)
	r.ready(t)
	r.judges(t, func(i image) bool { return i.pass })
}

// Ratify v2, with its ratify.yaml, says the same, but of the short names of Docker Hub, of
// which it knows none.
func TestRatify2LetsOnlyOurSignaturesPass(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.install(t, ratify2, "config/crd/bases")
	c.namespace(t, "gatekeeper-system")
	o, err := policy.RatifyV2(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "ratify.yaml")
	r := startRatify2(t, w, c)
	r.ready(t)
	r.judges(t, func(i image) bool { return i.pass && strings.Contains(i.name, ".") })
}

// startRatify2 runs Ratify v2 as its chart does.
func startRatify2(t *testing.T, w *world, c *cluster) *ratifyServer {
	t.Helper()
	r := &ratifyServer{address: "127.0.0.1:" + freePort(t), path: "/ratify/gatekeeper/v2/verify", client: &http.Client{Transport: &http.Transport{TLSClientConfig: w.tls.client()}}}
	certificate, health := w.tls.issue(t, "ratify.gatekeeper-system"), "127.0.0.1:"+freePort(t)
	r.process = start(t, ratify2, append(w.env(), "KUBECONFIG="+c.kubeconfig, "RATIFY_NAMESPACE=gatekeeper-system", "RATIFY_NAME=ratify"),
		"--address", r.address, "--health-address", health, "--disable-cert-rotation", "--disable-mutation",
		"--cert-file", filepath.Join(certificate, "tls.crt"), "--key-file", filepath.Join(certificate, "tls.key"))
	awaited(t, time.Minute, "Ratify v2", func() error { return healthy(http.DefaultClient, "http://"+health+"/readyz") }, r.process)
	return r
}

// judges asks for all images. want tells which are to pass.
func (r *ratifyServer) judges(t *testing.T, want func(image) bool) {
	t.Helper()
	var asked []string
	for _, image := range images() {
		asked = append(asked, image.name)
	}
	verdicts, said, err := r.ask(asked)
	must(t, err)
	for _, image := range images() {
		got, answered := verdicts[image.name]
		if !answered || got != want(image) {
			t.Errorf("%s: answered: %v, it passes: %v, want %v in %s", image.name, answered, got, want(image), said)
		}
	}
}

// ready waits until Ratify has read all that it was given.
func (r *ratifyServer) ready(t *testing.T) {
	t.Helper()
	awaited(t, time.Minute, "Ratify to have read all it was given", func() error {
		verdicts, said, err := r.ask([]string{good})
		if err == nil && !verdicts[good] {
			err = fmt.Errorf("the signed image does not pass: %s", said)
		}
		return err
	}, r.process)
}
