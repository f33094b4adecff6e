package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const pods = "/api/v1/namespaces/apps/pods"

// good is an image that every consumer admits.
const good = modern + "/team/app:signed"

// way is how an image gets into the cluster. good is an image that is admitted in any case. It
// returns the images of the Pod as they were stored, or the API server's objection.
type way struct {
	name  string
	bring func(t *testing.T, c *client, name, good, image string) (stored []string, refused string)
}

// ways are all ways: nothing else of a Pod names an image.
var ways = []way{
	{"a container", func(t *testing.T, c *client, name, _, image string) ([]string, string) {
		return c.pod(t, name, object{"containers": containers(image)})
	}},
	{"an init container", func(t *testing.T, c *client, name, good, image string) ([]string, string) {
		return c.pod(t, name, object{"containers": containers(good), "initContainers": []any{object{"name": "init", "image": image}}})
	}},
	{"an ephemeral container", func(t *testing.T, c *client, name, good, image string) ([]string, string) {
		if _, refused := c.pod(t, name, object{"containers": containers(good)}); refused != "" {
			t.Fatalf("the Pod of %s is refused: %s", good, refused)
		}
		debugger := object{"name": "debugger", "image": image}
		return c.change(t, "PATCH", pods+"/"+name+"/ephemeralcontainers", "application/strategic-merge-patch+json",
			object{"spec": object{"ephemeralContainers": []any{debugger}}})
	}},
	{"a volume", func(t *testing.T, c *client, name, good, image string) ([]string, string) {
		return c.pod(t, name, object{"containers": containers(good), "volumes": volume(image)})
	}},
	{"a change of a container", func(t *testing.T, c *client, name, good, image string) ([]string, string) {
		if _, refused := c.pod(t, name, object{"containers": containers(good)}); refused != "" {
			t.Fatalf("the Pod of %s is refused: %s", good, refused)
		}
		return c.change(t, "PATCH", pods+"/"+name, "application/strategic-merge-patch+json",
			object{"spec": object{"containers": []any{object{"name": "c0", "image": image}}}})
	}},
}

func containers(images ...string) []any {
	var all []any
	for i, image := range images {
		all = append(all, object{"name": fmt.Sprint("c", i), "image": image})
	}
	return all
}

func volume(image string) []any {
	return []any{object{"name": "content", "image": object{"reference": image}}}
}

// pod creates a Pod.
func (c *client) pod(t *testing.T, name string, spec object) ([]string, string) {
	t.Helper()
	return c.change(t, "POST", pods, "application/json",
		object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": "apps"}, "spec": spec})
}

// change returns the images of the Pod after a change, or the reason why it was refused.
func (c *client) change(t *testing.T, method, path, kind string, body object) (stored []string, refused string) {
	t.Helper()
	raw, err := json.Marshal(body)
	must(t, err)
	status, answer := c.do(t, method, path, kind, raw)
	if status/100 != 2 {
		return nil, fmt.Sprintf("%d %s", status, answer)
	}
	spec := at(t, parse(t, answer), "spec").(object)
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
		all, _ := spec[list].([]any)
		for _, one := range all {
			stored = append(stored, one.(object)["image"].(string))
		}
	}
	volumes, _ := spec["volumes"].([]any)
	for _, one := range volumes {
		if image, ok := one.(object)["image"].(object); ok {
			stored = append(stored, image["reference"].(string))
		}
	}
	return stored, ""
}

// gone deletes a Pod, if it exists.
func (c *client) gone(t *testing.T, name string) {
	t.Helper()
	if status, answer := c.do(t, "DELETE", pods+"/"+name+"?gracePeriodSeconds=0", "", nil); status != http.StatusOK && status != http.StatusNotFound {
		t.Errorf("deleting Pod %s: %d %s", name, status, answer)
	}
}

// judge submits an image, and compares the result.
func (c *client) judge(t *testing.T, way way, image string, pass bool, reason string) (stored []string) {
	t.Helper()
	name := "judged"
	defer c.gone(t, name)
	stored, refused := way.bring(t, c, name, good, image)
	switch {
	case pass && refused != "":
		t.Errorf("%s as %s is refused: %s", image, way.name, refused)
	case !pass && refused == "":
		t.Errorf("%s as %s is admitted", image, way.name)
	case !pass && !strings.Contains(refused, reason):
		t.Errorf("%s as %s is refused for another reason: %s", image, way.name, refused)
	}
	return stored
}

// enforced waits until an unsigned image is refused.
func (c *client) enforced(t *testing.T, reason string, by *process) {
	t.Helper()
	awaited(t, 2*time.Minute, "the policy to be enforced", func() error {
		defer c.gone(t, "first")
		if _, refused := c.pod(t, "first", object{"containers": containers(modern + "/team/app:unsigned")}); !strings.Contains(refused, reason) {
			return fmt.Errorf("an unsigned image: %q", refused)
		}
		return nil
	}, by)
}
