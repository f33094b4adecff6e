package cluster

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// Flux, with the Secret and the patch, takes what has our signature and nothing else.
func TestFluxTakesOnlyOurSignatures(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	c.install(t, sourceController, "config/crd/bases")
	o, err := policy.Flux(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "secrets.yaml")
	health, files := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	s := start(t, sourceController, append(w.env(), "KUBECONFIG="+c.kubeconfig, "RUNTIME_NAMESPACE=flux-system"),
		"--watch-all-namespaces", "--metrics-addr=0", "--health-addr="+health, "--enable-leader-election=false",
		"--storage-path="+t.TempDir(), "--storage-addr="+files, "--storage-adv-addr="+files)
	awaited(t, time.Minute, "Flux", func() error { return healthy(http.DefaultClient, "http://"+health+"/readyz") }, s)

	patch := map[string]object{
		"app": parse(t, file(t, o, "patch-migrated-release.yaml")),
		"web": parse(t, file(t, o, "patch-migrated-alice.yaml")),
	}
	patch["other"] = patch["app"] // by mistake
	for image := range images() {
		repository, tag, _ := strings.Cut(image, ":")
		spec := object{"interval": "10m", "url": "oci://" + repository, "ref": object{"tag": tag}}
		spec["verify"] = at(t, patch[path.Base(repository)], "spec", "verify")
		c.create(t, object{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
			"metadata": object{"name": called(image), "namespace": "apps"}, "spec": spec})
	}
	for image, pass := range images() {
		var seen object
		awaited(t, time.Minute, "Flux to judge "+image, func() error {
			seen, _ = c.get(t, "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/ocirepositories/"+called(image))["status"].(object)
			if ready := condition(seen, "Ready"); ready != "True" && ready != "False" {
				return fmt.Errorf("%v", seen)
			}
			return nil
		}, s)
		want := map[bool]string{true: "True", false: "False"}[pass]
		if got := condition(seen, "SourceVerified"); got != want {
			t.Errorf("%s: SourceVerified is %s, want %s: %v", image, got, want, seen)
		}
		if stored := seen["artifact"] != nil; stored != pass {
			t.Errorf("%s: its content is handed on: %v, want %v", image, stored, pass)
		}
	}
}

// condition gives the status of one, or nothing.
func condition(status object, kind string) string {
	all, _ := status["conditions"].([]any)
	for _, one := range all {
		if one := one.(object); one["type"] == kind {
			return one["status"].(string)
		}
	}
	return ""
}
