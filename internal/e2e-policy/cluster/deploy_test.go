package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

// The API server accepts the manifests in deploy/kubernetes, strictly and without a warning, and
// Pod security admission accepts the Pods of their Jobs and Deployments. Nothing runs here.
func TestManifestsAreTaken(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	root := filepath.Join("..", "..", "..", "deploy", "kubernetes")
	var pods int
	for _, name := range []string{"namespace.yaml", "serviceaccount.yaml", "ledger.yaml", "job.yaml", "verify.yaml", "verify-cronjob.yaml", "indexed/ledgers.yaml", "indexed/job.yaml"} {
		raw, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		o := parse(t, raw)
		if o["kind"] == "Namespace" {
			c.create(t, o) // later objects belong in it
			continue
		}
		must(t, c.try(t, o, "&dryRun=All"))
		if o["kind"] == "CronJob" {
			o = object{"spec": at(t, o, "spec", "jobTemplate", "spec")} // the Job that it creates
		}
		spec := o["spec"]
		if spec == nil || spec.(object)["template"] == nil {
			continue
		}
		// A Job is accepted whatever its Pods are; they are checked when they are created.
		pods++
		pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "one", "namespace": "dct2notation"}, "spec": at(t, o, "spec", "template", "spec")}
		must(t, c.try(t, pod, "&dryRun=All"))
		pod["spec"].(object)["hostNetwork"] = true
		if err := c.try(t, pod, "&dryRun=All"); err == nil {
			t.Errorf("%s with hostNetwork: got it taken, want Pod security admission to refuse it", name)
		}
	}
	if pods != 4 {
		t.Errorf("got %d Pods tried, want 4", pods)
	}
}
