package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// startKyverno runs the admission controller as its chart does, except that its webhooks have an
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
		"--disableMetrics", "--metricsHost=127.0.0.1", "--metricsPort="+freePort(t), "--controllerRuntimeMetricsAddress=0", "--leaderElectionRetryPeriod=1s")
}

// kyvernoReason is the message that our policy gives Kyverno.
const kyvernoReason = "image has no valid Notation signature"

// With kyverno.yaml, Kyverno admits from our repositories what has our signature and nothing else,
// whichever way it comes. It makes the Pod run the digest that was verified.
func TestKyvernoAdmitsOnlyOurSignatures(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	k := startKyverno(t, w, c)
	o, err := policy.Kyverno.Write(w.trust(policy.Enforce))
	must(t, err)
	c.applyKyverno(t, o, k)
	c.enforced(t, kyvernoReason, k)
	for _, image := range images() {
		pass := image.pass || !image.ours // other repositories are not its concern
		for _, way := range ways {
			if way.name == "a volume" {
				c.judge(t, way, w.byDigest(image), pass, kyvernoReason)
				continue
			}
			stored := c.judge(t, way, image.name, pass, kyvernoReason)
			pinned := func(s string) bool { return strings.HasSuffix(s, image.name+"@"+w.digests[image.name]) } // Kyverno puts docker.io in front
			if image.pass && !slices.ContainsFunc(stored, pinned) {
				t.Errorf("%s as %s is not pinned: %v", image.name, way.name, stored)
			}
		}
		c.judge(t, ways[0], w.byDigest(image), pass, kyvernoReason)
	}
	volumeByTag := object{"containers": containers(good), "volumes": volume(good)}
	if _, refused := c.pod(t, "content", volumeByTag); !strings.Contains(refused, "does not have a digest") {
		t.Errorf("a volume of a tag, which Kyverno does not pin: %q", refused)
	}
	for _, name := range odd {
		// The second has no address here, and is refused for that: the policy applied to it as
		// well.
		if _, refused := c.pod(t, "odd", object{"containers": containers(name)}); !strings.Contains(refused, kyvernoReason) && !strings.Contains(refused, "failed to update digest") {
			t.Errorf("%s, an unsigned image: %q", name, refused)
		}
		c.gone(t, "odd")
	}
	w.down()
	c.judge(t, ways[0], modern+"/team/app:late", false, "failed to update digest")
}

// The same holds for the deprecated kind, except for what kyverno.yaml says about it: it ignores
// volumes, and refuses our images in ephemeral containers.
func TestKyvernoClusterPolicyAdmitsOnlyOurSignatures(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.known = "ClusterPolicy is deprecated"
	c.namespace(t, "apps")
	k := startKyverno(t, w, c)
	trust := w.trust(policy.Enforce)
	trust.ClusterPolicy = true
	o, err := policy.Kyverno.Write(trust)
	must(t, err)
	c.applyKyverno(t, o, k)
	c.enforced(t, "verify-notation", k)
	for _, image := range images() {
		for _, way := range ways {
			pass := image.pass || !image.ours
			switch way.name {
			case "a volume":
				pass = true
			case "an ephemeral container":
				pass = !image.ours || image.name == good // which was verified in the Pod's container
			}
			stored := c.judge(t, way, image.name, pass, "verify-notation")
			pinned := func(s string) bool { return strings.HasSuffix(s, image.name+"@"+w.digests[image.name]) }
			if pass && image.ours && way.name != "a volume" && !slices.ContainsFunc(stored, pinned) {
				t.Errorf("%s as %s is not pinned: %v", image.name, way.name, stored)
			}
		}
	}
}

// applyKyverno applies kyverno.yaml as soon as Kyverno's policy webhook answers.
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

// At the stage audit everything is admitted unchanged, and images without a good signature are
// reported, until the stage enforce is applied on top.
func TestKyvernoReportsAtTheStageAudit(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	k := startKyverno(t, w, c)
	o, err := policy.Kyverno.Write(w.trust(policy.Audit))
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
	for _, image := range images() {
		stored, refused := c.pod(t, called(image.name), object{"containers": containers(image.name)})
		if refused != "" || !slices.Equal(stored, []string{image.name}) {
			t.Errorf("%s: stored as %v, refused: %s", image.name, stored, refused)
		}
		bad[called(image.name)] = !image.pass && image.ours
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
	o, err = policy.Kyverno.Write(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "kyverno.yaml")
	c.enforced(t, kyvernoReason, k)
}

// What kyverno.yaml says about a Pod that names one image twice is true: at the stage enforce it is
// refused because there is no answer, and at the stage audit it is not refused. When this fails,
// Kyverno has been fixed, and kyvernoHangs of package policy can be removed.
func TestKyvernoDoesNotAnswerForAnImageTwice(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	k := startKyverno(t, w, c)
	one, other := modern+"/team/app:signed", modern+"/team/app:foreign-and-signed"
	o, err := policy.Kyverno.Write(w.trust(policy.Enforce))
	must(t, err)
	c.applyKyverno(t, o, k)
	c.enforced(t, kyvernoReason, k)
	if _, refused := c.pod(t, "twice", object{"containers": containers(one, one, other)}); !strings.Contains(refused, "failed calling webhook") {
		t.Errorf("enforced, one image twice: %q", refused)
	}
	if _, refused := c.pod(t, "two-policies", object{"containers": containers(one, modern+"/team/web:signed")}); refused != "" {
		t.Errorf("enforced, images of two keys: %s", refused)
	}
	o, err = policy.Kyverno.Write(w.trust(policy.Audit))
	must(t, err)
	c.apply(t, o, "kyverno.yaml")
	awaited(t, 2*time.Minute, "the stage audit", func() error {
		defer c.gone(t, "first")
		_, refused := c.pod(t, "first", object{"containers": containers(modern + "/team/app:unsigned")})
		if refused != "" {
			return errors.New(refused)
		}
		return nil
	}, k)
	if _, refused := c.pod(t, "twice", object{"containers": containers(one, one, other)}); refused != "" {
		t.Errorf("audited, one image twice: %s", refused)
	}
}
