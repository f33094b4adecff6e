package cluster

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// startKyverno runs the admission controller as its chart does, but that its webhooks are an
// address.
func startKyverno(t *testing.T, w *world, c *cluster) *process {
	t.Helper()
	c.install(t, kyverno, "config/crds")
	c.namespace(t, "kyverno")
	c.create(t, object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "kyverno", "namespace": "kyverno"}, "data": object{
		"excludeGroups": "system:nodes",
		"webhooks":      `{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["kyverno"]}]}}`}})
	c.create(t, object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "kyverno-metrics", "namespace": "kyverno"}})
	port := freePort(t)
	account := "system:serviceaccount:kyverno:"
	return start(t, kyverno, append(w.env(), "KYVERNO_NAMESPACE=kyverno", "KYVERNO_POD_NAME=kyverno", "KYVERNO_DEPLOYMENT=kyverno", "KYVERNO_SVC=kyverno-svc",
		"INIT_CONFIG=kyverno", "METRICS_CONFIG=kyverno-metrics", "KYVERNO_SERVICEACCOUNT_NAME=kyverno", "KYVERNO_ROLE_NAME=kyverno"),
		"--kubeconfig="+c.kubeconfig, "--serverIP=127.0.0.1:"+port, "--webhookServerHost=127.0.0.1", "--webhookServerPort="+port,
		"--caSecretName=kyverno-ca", "--tlsSecretName=kyverno-tls", "--tlsKeyAlgorithm=ECDSA",
		"--backgroundServiceAccountName="+account+"background", "--reportsServiceAccountName="+account+"reports",
		"--disableMetrics", "--controllerRuntimeMetricsAddress=0", "--leaderElectionRetryPeriod=1s")
}

// kyvernoReason is what our policy has Kyverno say.
const kyvernoReason = "image has no valid Notation signature"

// Kyverno, with kyverno.yaml, admits of our repositories what has our signature and nothing
// else, by whatever way it comes, and has it run by the digest that was verified.
func TestKyvernoAdmitsOnlyOurSignatures(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	k := startKyverno(t, w, c)
	o, err := policy.Kyverno(w.trust(policy.Enforce))
	must(t, err)
	c.applyKyverno(t, o, k)
	c.enforced(t, kyvernoReason, k)
	for image, pass := range images() {
		other := strings.Contains(image, "/team/other:") // is none of ours, and none of its business
		repository, _, _ := strings.Cut(image, ":")
		byDigest := repository + "@" + w.digests[image]
		for _, way := range ways {
			if way.name == "a volume" {
				c.judge(t, way, byDigest, pass || other, kyvernoReason)
				continue
			}
			stored := c.judge(t, way, image, pass || other, kyvernoReason)
			if pinned := image + "@" + w.digests[image]; pass && !slices.Contains(stored, pinned) {
				t.Errorf("%s as %s is not pinned: %v", image, way.name, stored)
			}
		}
		c.judge(t, ways[0], byDigest, pass || other, kyvernoReason)
	}
	_, refused := c.pod(t, "content", object{"containers": containers(modern + "/team/app:signed"), "volumes": volume(modern + "/team/app:signed")})
	if !strings.Contains(refused, "does not have a digest") {
		t.Errorf("a volume of a tag, which Kyverno does not pin: %q", refused)
	}
}

// applyKyverno applies kyverno.yaml as soon as Kyverno answers for policies.
func (c *cluster) applyKyverno(t *testing.T, o *policy.Output, k *process) {
	t.Helper()
	first := objects(t, file(t, o, "kyverno.yaml"))[0]
	awaited(t, 3*time.Minute, "Kyverno's webhook for policies", func() error {
		path := "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kyverno-policy-validating-webhook-cfg"
		if status, answer := c.do(t, "GET", path, "", nil); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, answer)
		}
		return c.try(t, first, "&dryRun=All")
	}, k)
	c.apply(t, o, "kyverno.yaml")
}

// At the stage audit everything is admitted as it was asked for, and what has no good signature
// is reported.
func TestKyvernoReportsAtTheStageAudit(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	k := startKyverno(t, w, c)
	o, err := policy.Kyverno(w.trust(policy.Audit))
	must(t, err)
	c.applyKyverno(t, o, k)
	awaited(t, 2*time.Minute, "the policy's webhook", func() error {
		_, answer := c.do(t, "GET", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", "", nil)
		if !strings.Contains(string(answer), "/ivpol/") {
			return fmt.Errorf("none in %.2000s", answer)
		}
		return nil
	}, k)
	bad := map[string]bool{}
	for image, pass := range images() {
		stored, refused := c.pod(t, called(image), object{"containers": containers(image)})
		if refused != "" || !slices.Equal(stored, []string{image}) {
			t.Errorf("%s: stored as %v, refused: %s", image, stored, refused)
		}
		bad[called(image)] = !pass && !strings.Contains(image, "/team/other:")
	}
	awaited(t, time.Minute, "the reports", func() error {
		failed := map[string]bool{}
		for _, r := range at(t, c.get(t, "/apis/reports.kyverno.io/v1/namespaces/apps/ephemeralreports"), "items").([]any) {
			if at(t, r, "spec", "summary", "fail").(float64) > 0 {
				failed[at(t, r, "metadata", "annotations", "audit.kyverno.io/resource.name").(string)] = true
			}
		}
		for name, bad := range bad {
			if failed[name] != bad {
				return fmt.Errorf("%s is reported: %v, want %v", name, failed[name], bad)
			}
		}
		return nil
	}, k)
}
