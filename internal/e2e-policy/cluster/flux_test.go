package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// With the Secret and the patch, Flux accepts what has our signature and nothing else.
func TestFluxTakesOnlyOurSignatures(t *testing.T) {
	w := newWorld(t)
	c := newCluster(t, w.tls)
	c.namespace(t, "apps")
	c.install(t, sourceController, "config/crd/bases")
	o, err := policy.Flux.Write(w.trust(policy.Enforce))
	must(t, err)
	c.apply(t, o, "secrets.yaml")
	health, files := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	s := start(t, sourceController, append(w.env(), "KUBECONFIG="+c.kubeconfig, "RUNTIME_NAMESPACE=flux-system"),
		"--watch-all-namespaces", "--metrics-addr=0", "--health-addr="+health, "--enable-leader-election=false",
		"--storage-path="+t.TempDir(), "--storage-addr="+files, "--storage-adv-addr="+files)
	awaited(t, time.Minute, "Flux", func() error { return healthy(http.DefaultClient, "http://"+health+"/readyz") }, s)

	patch := map[bool]object{
		false: parse(t, file(t, o, "patch-migrated-release.yaml")), // on team/other by mistake
		true:  parse(t, file(t, o, "patch-migrated-alice.yaml")),
	}
	var sources []image
	for _, image := range images() {
		repository, tag, _ := strings.Cut(image.name, ":")
		if !strings.Contains(repository, ".") {
			continue // Flux requires a host
		}
		sources = append(sources, image)
		spec := object{"interval": "10m", "url": "oci://" + repository, "ref": object{"tag": tag}}
		spec["verify"] = at(t, patch[strings.HasSuffix(repository, "/team/web")], "spec", "verify")
		c.create(t, object{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
			"metadata": object{"name": called(image.name), "namespace": "apps"}, "spec": spec})
	}
	for _, image := range sources {
		var seen object
		awaited(t, time.Minute, "Flux to judge "+image.name, func() error {
			seen, _ = c.get(t, "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/ocirepositories/"+called(image.name))["status"].(object)
			verified, ready := condition(seen, "SourceVerified"), condition(seen, "Ready")
			refused := verified == "False" && ready == "False"
			taken := verified == "True" && ready == "True" && seen["artifact"] != nil // the artifact comes last
			if !refused && !taken {
				return fmt.Errorf("%v", seen)
			}
			return nil
		}, s)
		want := map[bool]string{true: "True", false: "False"}[image.pass]
		if got := condition(seen, "SourceVerified"); got != want {
			t.Errorf("%s: SourceVerified is %s, want %s: %v", image.name, got, want, seen)
		}
		if stored := seen["artifact"] != nil; stored != image.pass {
			t.Errorf("%s: its content is handed on: %v, want %v: %v", image.name, stored, image.pass, seen)
		}
	}
}

// condition returns the status of a condition, or nothing.
func condition(status object, kind string) string {
	all, _ := status["conditions"].([]any)
	for _, one := range all {
		if one := one.(object); one["type"] == kind {
			return one["status"].(string)
		}
	}
	return ""
}
