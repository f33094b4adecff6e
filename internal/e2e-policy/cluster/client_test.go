package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/notation/policy"
)

type object = map[string]any

// client is a client of an API server.
type client struct {
	base  string
	http  *http.Client
	known string // an expected warning
}

// do returns status 0 and the error if there is no answer.
func (c *client) do(t *testing.T, method, path, kind string, body []byte) (status int, answer []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.base+path, bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", kind)
	response, err := c.http.Do(request)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return 0, []byte(err.Error())
	}
	for _, w := range response.Header.Values("Warning") {
		if c.known == "" || !strings.Contains(w, c.known) {
			t.Errorf("%s %s: the API server warns: %s", method, path, w)
		}
	}
	return response.StatusCode, answer
}

// get returns an object, which must exist.
func (c *client) get(t *testing.T, path string) object {
	t.Helper()
	status, answer := c.do(t, "GET", path, "", nil)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, answer)
	}
	return parse(t, answer)
}

func parse(t *testing.T, raw []byte) object {
	t.Helper()
	var o object
	if err := yaml.Unmarshal(raw, &o); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return o
}

// place returns the path of the objects of a kind, once the server has the kind.
func (c *client) place(t *testing.T, o object) string {
	t.Helper()
	version := o["apiVersion"].(string)
	path := "/apis/" + version
	if !strings.Contains(version, "/") {
		path = "/api/" + version
	}
	var place string
	awaited(t, time.Minute, fmt.Sprintf("kind %s of %s", o["kind"], version), func() error {
		status, answer := c.do(t, "GET", path, "", nil)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, answer)
		}
		for _, r := range at(t, parse(t, answer), "resources").([]any) {
			r := r.(object)
			if r["kind"] != o["kind"] || strings.Contains(r["name"].(string), "/") {
				continue
			}
			place = path + "/" + r["name"].(string)
			if r["namespaced"].(bool) {
				place = path + "/namespaces/" + at(t, o, "metadata", "namespace").(string) + "/" + r["name"].(string)
			}
			return nil
		}
		return fmt.Errorf("not served")
	})
	return place
}

// create must succeed without a warning. If the object exists, it is replaced.
func (c *client) create(t *testing.T, o object) {
	t.Helper()
	must(t, c.try(t, o, ""))
}

// try is create with more query parameters, such as "&dryRun=All".
func (c *client) try(t *testing.T, o object, also string) error {
	t.Helper()
	place := c.place(t, o)
	raw, err := json.Marshal(o)
	must(t, err)
	name := at(t, o, "metadata", "name").(string)
	status, answer := c.do(t, "POST", place+"?fieldValidation=Strict"+also, "application/json", raw)
	if status == http.StatusConflict {
		status, answer = c.do(t, "PATCH", place+"/"+name+"?fieldValidation=Strict"+also, "application/merge-patch+json", raw)
	}
	if status/100 != 2 {
		return fmt.Errorf("creating %s %s: %d %s", o["kind"], name, status, answer)
	}
	return nil
}

func (c *client) namespace(t *testing.T, name string) {
	t.Helper()
	c.create(t, object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": name}})
}

// install creates the kinds that a folder or file of a module defines.
func (c *client) install(t *testing.T, p program, places ...string) {
	t.Helper()
	for _, place := range places {
		err := filepath.WalkDir(filepath.Join(p.source(t), filepath.FromSlash(place)), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			raw, err := os.ReadFile(path)
			must(t, err)
			for _, o := range objects(t, raw) {
				if o["kind"] == "CustomResourceDefinition" {
					c.create(t, o)
				}
			}
			return nil
		})
		must(t, err)
	}
}

// apply creates the objects of an output file, unchanged.
func (c *client) apply(t *testing.T, o *policy.Output, name string) {
	t.Helper()
	for _, one := range objects(t, file(t, o, name)) {
		c.create(t, one)
	}
}

func file(t *testing.T, o *policy.Output, name string) []byte {
	t.Helper()
	for _, f := range o.Files {
		if f.Name == name {
			return f.Content
		}
	}
	t.Fatalf("%s has no %s", o.Consumer.Name, name)
	return nil
}

func objects(t *testing.T, raw []byte) []object {
	t.Helper()
	var all []object
	for _, part := range bytes.Split(raw, []byte("\n---")) {
		if o := parse(t, part); o["kind"] != nil {
			all = append(all, o)
		}
	}
	return all
}

// at returns the value below keys, which must exist.
func at(t *testing.T, o any, path ...any) any {
	t.Helper()
	for _, p := range path {
		var next any
		switch p := p.(type) {
		case string:
			next = o.(object)[p]
		case int:
			next = o.([]any)[p]
		}
		if next == nil {
			t.Fatalf("no %v in %v", p, o)
		}
		o = next
	}
	return o
}
