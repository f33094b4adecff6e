package policy_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// Golden files are there to be read: what a change of the code does to what users apply.
func TestOutputsAreTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		for _, stage := range []policy.Stage{policy.Audit, policy.Enforce} {
			compare(t, c.Name+"-"+string(stage), c.Write, rich(t, stage))
		}
	}
	for name, stage := range map[string]policy.Stage{"kyverno-cluster-policy": policy.Enforce, "kyverno-cluster-policy-audit": policy.Audit} {
		cluster := rich(t, stage)
		cluster.ClusterPolicy = true
		compare(t, name, policy.Kyverno, cluster)
	}
	provider := one(t, "release")
	provider.RatifyCA = []byte("-----BEGIN CERTIFICATE-----\nMFkw\n-----END CERTIFICATE-----\n")
	compare(t, "ratify-provider", policy.Ratify, provider)
}

func compare(t *testing.T, name string, write func(policy.Trust) (*policy.Output, error), trust policy.Trust) {
	t.Helper()
	o, err := write(trust)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	dir := filepath.Join("testdata", "golden", name)
	if *update {
		must(t, os.RemoveAll(dir))
	}
	names := map[string]bool{}
	for _, f := range o.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		names[path] = true
		if *update {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, f.Content, 0o644))
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(want, f.Content) {
			t.Errorf("%s/%s is not the golden file (%v); look at what -update changes", name, f.Name, err)
		}
	}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !names[path] {
			t.Errorf("%s is written no more", path)
		}
		return err
	}))
}

// What is beta or on its way out is written only where it is asked for; all else by default.
func TestOnlyBetaConsumersMustBeAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		if want := c.Name == "ratify-v2"; c.Asked != want {
			t.Errorf("%s: asked %t, want %t", c.Name, c.Asked, want)
		}
	}
}

// Maps have no order: what is written must.
func TestTheSameTrustGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		first, err := c.Write(rich(t, policy.Enforce))
		must(t, err)
		for range 4 {
			again, err := c.Write(rich(t, policy.Enforce))
			must(t, err)
			if len(first.Files) != len(again.Files) {
				t.Fatalf("%s: other files", c.Name)
			}
			for i, f := range first.Files {
				if f.Name != again.Files[i].Name || !bytes.Equal(f.Content, again.Files[i].Content) {
					t.Fatalf("%s: %s differs", c.Name, f.Name)
				}
			}
		}
	}
}

// objects are the YAML documents of a file.
func objects(t *testing.T, raw []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, part := range bytes.Split(raw, []byte("\n---\n")) {
		var o map[string]any
		must(t, yaml.UnmarshalStrict(part, &o))
		all = append(all, o)
	}
	return all
}

// at follows keys and positions into an object.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("no map at %v of %v", step, path)
			}
			v = m[s]
		case int:
			l, ok := v.([]any)
			if !ok || len(l) <= s {
				t.Fatalf("no list at %v of %v", step, path)
			}
			v = l[s]
		}
	}
	return v
}
