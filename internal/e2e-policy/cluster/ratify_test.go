package cluster

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// ratifyServer answers as Gatekeeper's external data.
type ratifyServer struct {
	address string
	path    string // of the request
	client  *http.Client
	process *process
}

// startRatify runs Ratify as its chart does, on a cluster that has ratify.yaml.
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

// ask returns the verdict on each image, and an error if there is none.
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
				Value      struct{ IsSuccess, Succeeded bool } // of Ratify v1 and of v2
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
		// Gatekeeper's template also denies whatever has an error.
		verdicts[i.Key] = i.Error == "" && (i.Value.IsSuccess || i.Value.Succeeded)
	}
	return verdicts, raw.String(), nil
}

// With ratify.yaml as it is written, Ratify accepts our signatures and no others.
func TestRatifyLetsOnlyOurSignaturesPass(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.install(t, ratify, "config/crd/bases")
	c.namespace(t, "gatekeeper-system")
	o, err := policy.Ratify.Write(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "ratify.yaml")
	r := startRatify(t, w, c)
	r.ready(t)
	r.judges(t, func(i image) bool { return i.pass })
}

// If Ratify's own chart created the objects before, the guide's commands leave nothing of what the
// chart trusts. What kubectl would merge without these commands is not accepted as good.
func TestRatifyForgetsWhatItsChartTrusts(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.install(t, ratify, "config/crd/bases")
	c.namespace(t, "gatekeeper-system")
	for _, o := range charted(w) {
		c.create(t, o)
	}
	r := startRatify(t, w, c)
	stranger := modern + "/team/app:foreign"
	awaited(t, time.Minute, "the chart's objects to let a stranger's signature pass", func() error { return r.passes(stranger) }, r.process)

	o, err := policy.Ratify.Write(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "ratify.yaml")
	awaited(t, time.Minute, "Ratify to refuse the merged Verifier, and nothing else", func() error { return c.unuses(t, o, "Verifier") }, r.process)
	must(t, r.passes(stranger)) // as the guide says, Ratify continues with the chart's objects

	for _, place := range deleted(t, o) {
		if status, answer := c.do(t, "DELETE", place, "", nil); status != http.StatusOK {
			t.Fatalf("deleting %s: %d %s", place, status, answer)
		}
	}
	c.apply(t, o, "ratify.yaml")
	awaited(t, time.Minute, "Ratify to use all it was given", func() error { return c.unuses(t, o) }, r.process)
	r.judges(t, func(i image) bool { return i.pass })
}

// charted are the objects of Ratify's chart 1.15.7 that conflict with ours, with a stranger's certificate
// among its values.
func charted(w *world) []object {
	var certificate []byte
	for _, one := range w.signers["foreign"].Chain[1:] {
		certificate = append(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})...)
	}
	made := func(kind, name string, spec object) object {
		return object{"apiVersion": "config.ratify.deislabs.io/v1beta1", "kind": kind, "metadata": object{"name": name}, "spec": spec}
	}
	return []object{
		made("KeyManagementProvider", "ratify-notation-inline-cert-0", object{"type": "inline",
			"parameters": object{"contentType": "certificate", "value": string(certificate)}}),
		made("Verifier", "verifier-notation", object{"name": "notation", "version": "1.0.0", "artifactTypes": "application/vnd.cncf.notary.signature", "parameters": object{
			"verificationCertStores": object{"certs": []string{"ratify-notation-inline-cert-0"}},
			"trustPolicyDoc": object{"version": "1.0", "trustPolicies": []object{{
				"name": "default", "registryScopes": []string{"*"}, "signatureVerification": object{"level": "strict"},
				"trustStores": []string{"ca:certs"}, "trustedIdentities": []string{"*"}}}}}}),
		made("Store", "store-oras", object{"name": "oras", "version": "1.0.0", "parameters": object{"cosignEnabled": true, "cacheEnabled": true, "ttl": 10}}),
		made("Policy", "ratify-policy", object{"type": "config-policy", "parameters": object{"artifactVerificationPolicies": object{"default": "all"}}}),
	}
}

// deleted returns the paths of what the guide's command deletes.
func deleted(t *testing.T, o *policy.Output) []string {
	t.Helper()
	_, command, ok := strings.Cut(string(file(t, o, "ratify.yaml")), "kubectl delete --ignore-not-found ")
	if !ok {
		t.Fatal("the guide deletes nothing")
	}
	command, _, _ = strings.Cut(command, "\n")
	var places []string
	for _, one := range strings.Fields(command) {
		kind, name, _ := strings.Cut(one, "/")
		plural, group, _ := strings.Cut(kind, ".")
		places = append(places, "/apis/"+group+"/v1beta1/"+plural+"/"+name)
	}
	return places
}

// unuses returns an error unless Ratify reports exactly these kinds of ratify.yaml's objects as
// unused.
func (c *client) unuses(t *testing.T, o *policy.Output, want ...string) error {
	t.Helper()
	var kinds []string
	for _, one := range objects(t, file(t, o, "ratify.yaml")) {
		there := c.get(t, c.place(t, one)+"/"+at(t, one, "metadata", "name").(string))
		status, _ := there["status"].(object)
		if used, _ := status["issuccess"].(bool); !used {
			kinds = append(kinds, fmt.Sprint(one["kind"]))
		}
	}
	if !slices.Equal(kinds, want) {
		return fmt.Errorf("of %v Ratify does not say that it uses them, want %v", kinds, want)
	}
	return nil
}

// passes asks about one image.
func (r *ratifyServer) passes(image string) error {
	verdicts, said, err := r.ask([]string{image})
	if err == nil && !verdicts[image] {
		err = fmt.Errorf("%s does not pass: %s", image, said)
	}
	return err
}

// Ratify v2, with its ratify.yaml, gives the same verdicts, except for Docker Hub's short names,
// which it does not know.
func TestRatify2LetsOnlyOurSignaturesPass(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.install(t, ratify2, "config/crd/bases")
	c.namespace(t, "gatekeeper-system")
	o, err := policy.RatifyV2.Write(w.trust(policy.Enforce))
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

// judges asks about all images. want reports which must pass.
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

// ready waits until Ratify has read everything that it was given.
func (r *ratifyServer) ready(t *testing.T) {
	t.Helper()
	awaited(t, time.Minute, "Ratify to have read all it was given", func() error { return r.passes(good) }, r.process)
}
