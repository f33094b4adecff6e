package cluster

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// ratifyURL is the address of Ratify in provider.yaml: a name in a cluster with a network. It is
// the only part of our files that is not used as written.
const ratifyURL = "https://ratify.gatekeeper-system:6001/"

// setting is what an installation of Gatekeeper sets for its webhook.
type setting struct {
	failure string // what the API server does when there is no answer
	seconds int    // how long it waits for one
}

var (
	installed = setting{"Ignore", 3} // by Gatekeeper's own release and chart
	advised   = setting{"Fail", 10}  // by what policy writes
)

// startGatekeeper runs Gatekeeper with the definitions and the webhook of its own release.
func startGatekeeper(t *testing.T, w *world, c *cluster, s setting) *process {
	t.Helper()
	c.install(t, gatekeeper, "deploy/gatekeeper.yaml")
	c.create(t, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "gatekeeper", "namespace": "gatekeeper-system"},
		"spec": object{"containers": containers("gatekeeper")}}) // Gatekeeper itself, which owns its reports
	port, health := freePort(t), "127.0.0.1:"+freePort(t)
	g := start(t, gatekeeper, []string{"KUBECONFIG=" + c.kubeconfig, "POD_NAME=gatekeeper", "POD_NAMESPACE=gatekeeper-system", "NAMESPACE=gatekeeper-system", "NO_PROXY=*"},
		"--host=127.0.0.1", "--port="+port, "--health-addr="+health, "--disable-cert-rotation", "--cert-dir="+w.tls.issue(t, "gatekeeper"),
		"--exempt-namespace=gatekeeper-system", "--disable-opa-builtin={http.send}", "--log-denies", "--audit-interval=2", "--api-cache-dir="+t.TempDir(), "--shutdown-delay=0",
		// No metrics for Prometheus, which would be served on all addresses.
		"--metrics-backend=opentelemetry", "--otlp-endpoint=127.0.0.1:9", "--otlp-metric-interval=24h")
	awaited(t, 2*time.Minute, "Gatekeeper", func() error { return healthy(http.DefaultClient, "http://"+health+"/readyz") }, g)
	release, err := os.ReadFile(filepath.Join(gatekeeper.source(t), "deploy", "gatekeeper.yaml"))
	must(t, err)
	for _, o := range objects(t, release) {
		if o["kind"] != "ValidatingWebhookConfiguration" {
			continue
		}
		for _, hook := range at(t, o, "webhooks").([]any) {
			path := at(t, hook, "clientConfig", "service", "path").(string)
			hook.(object)["clientConfig"] = object{"url": "https://127.0.0.1:" + port + path, "caBundle": w.tls.CertificatePEM()}
		}
		hook := at(t, o, "webhooks", 0).(object)
		if is := (setting{hook["failurePolicy"].(string), int(hook["timeoutSeconds"].(float64))}); is != installed {
			t.Errorf("Gatekeeper is installed with %v now, and not with %v: what policy says of it is to be written anew", is, installed)
		}
		hook["failurePolicy"], hook["timeoutSeconds"] = s.failure, s.seconds
		c.create(t, o)
	}
	return g
}

// applyGatekeeper applies what policy writes for Gatekeeper.
func applyGatekeeper(t *testing.T, c *cluster, r *ratifyServer, o *policy.Output) {
	t.Helper()
	for _, one := range objects(t, file(t, o, "provider.yaml")) {
		url := at(t, one, "spec", "url").(string)
		if !strings.HasPrefix(url, ratifyURL) {
			t.Fatalf("Ratify is at %s", url)
		}
		at(t, one, "spec").(object)["url"] = strings.Replace(url, ratifyURL, "https://"+r.address+"/", 1)
		c.create(t, one)
	}
	c.apply(t, o, "gatekeeper-template.yaml")
	c.apply(t, o, "gatekeeper-constraint.yaml")
}

// gatekept is a cluster with Ratify and Gatekeeper, and our files of one stage.
func gatekept(t *testing.T, w *world, stage policy.Stage, s setting) (*cluster, *ratifyServer, *process) {
	t.Helper()
	c := newCluster(t, w.tls)
	c.install(t, ratify, "config/crd/bases")
	c.namespace(t, "gatekeeper-system")
	c.namespace(t, "apps")
	trust := w.trust(stage)
	trust.RatifyCA = w.tls.CertificatePEM()
	o, err := policy.Ratify.Write(trust)
	must(t, err)
	c.apply(t, o, "ratify.yaml")
	advice := fmt.Sprintf("validatingWebhookFailurePolicy=%s --set validatingWebhookTimeoutSeconds=%d", advised.failure, advised.seconds)
	if stage == policy.Enforce && !strings.Contains(string(file(t, o, "ratify.yaml")), advice) {
		t.Errorf("what is tried is not what is advised: %s", advice)
	}
	r := startRatify(t, w, c)
	r.ready(t)
	g := startGatekeeper(t, w, c, s)
	applyGatekeeper(t, c, r, o)
	return c, r, g
}

// gatekeeperReason is the message that our template gives Gatekeeper.
const gatekeeperReason = "no trusted Notation signature"

const constraint = "/apis/constraints.gatekeeper.sh/v1beta1/notationverified/notation-verified"

// With the files written for it and Ratify, Gatekeeper admits Pods with our signatures and no
// others, whichever way an image comes.
func TestGatekeeperAdmitsOnlyOurSignatures(t *testing.T) {
	w := newWorld(t)
	c, r, g := gatekept(t, w, policy.Enforce, advised)
	c.enforced(t, gatekeeperReason, g)
	for _, image := range images() {
		for _, way := range ways {
			c.judge(t, way, image.name, image.pass, gatekeeperReason)
		}
		c.judge(t, ways[0], w.byDigest(image), image.pass, gatekeeperReason)
	}
	for _, name := range odd {
		c.judge(t, ways[0], name, false, gatekeeperReason)
	}
	w.down()
	c.judge(t, ways[0], modern+"/team/app:late", false, gatekeeperReason)
	r.process.end()
	c.judge(t, ways[0], modern+"/team/app:later", false, "image verif") // our message if there is no answer
}

// At the stage audit everything is admitted, and images without a good signature are reported,
// until the stage enforce is applied on top.
func TestGatekeeperReportsAtTheStageAudit(t *testing.T) {
	w := newWorld(t)
	c, _, g := gatekept(t, w, policy.Audit, installed)
	for _, image := range images() {
		if _, refused := c.pod(t, called(image.name), object{"containers": containers(image.name)}); refused != "" {
			t.Errorf("%s is refused: %s", image.name, refused)
		}
	}
	awaited(t, time.Minute, "the report", func() error {
		status, _ := c.get(t, constraint)["status"].(object)
		violations, _ := status["violations"].([]any)
		reported := map[string]bool{}
		for _, v := range violations {
			reported[v.(object)["name"].(string)] = true
		}
		for _, image := range images() {
			if reported[called(image.name)] == image.pass {
				return fmt.Errorf("%s is reported: %v in %v", image.name, !image.pass, violations)
			}
		}
		return nil
	}, g)
	o, err := policy.Ratify.Write(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "gatekeeper-constraint.yaml")
	c.enforced(t, gatekeeperReason, g)
}

// While a registry is slow, nothing is admitted that is not known to be good, if Gatekeeper is set
// as policy's output advises. With Gatekeeper's default settings an unsigned image is admitted,
// which is the reason for the advice.
func TestASlowRegistryAdmitsNothing(t *testing.T) {
	for s, admitted := range map[setting]bool{advised: false, installed: true} {
		t.Run(s.failure, func(t *testing.T) {
			w := newWorld(t)
			c, _, g := gatekept(t, w, policy.Enforce, s)
			c.enforced(t, gatekeeperReason, g)
			w.slow(4 * time.Second)
			_, refused := c.pod(t, "late", object{"containers": containers(plain + "/team/app:unsigned")})
			if (refused == "") != admitted {
				t.Errorf("an unsigned image is refused: %q, want it admitted: %v", refused, admitted)
			}
		})
	}
}
