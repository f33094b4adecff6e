package e2epolicy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// noDigest is what Kyverno's command says about each tag at the stage enforce. In a cluster, the
// tag is replaced by its digest before this check; the command does not replace it.
const noDigest = " does not have a digest"

// kyvernoJudges has Kyverno's command judge Pods by the policies exactly as policy wrote them.
func (w *world) kyvernoJudges(t *testing.T) {
	for _, folder := range []string{"audit/kyverno", "enforce/kyverno", "cluster-policy"} {
		unstamped := passes
		if w.tsa != nil && folder != "cluster-policy" { // which does not support timestamps
			unstamped = fails
		}
		var pods []map[string]any
		expected := map[string]string{}
		add := func(name, want string, spec map[string]any) {
			pods = append(pods, map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": "apps"}, "spec": spec})
			expected[name] = want
		}
		for _, i := range append(slices.Clone(w.images), w.unstamped.judged(unstamped)) {
			want := string(i.want)
			name, tag, digest := path.Base(i.repository)+"-"+i.tag, w.reference(i, false), w.reference(i, true)
			byTag := want
			if folder == "enforce/kyverno" {
				byTag = noDigest
			}
			add(name+"-tag", byTag, containers("containers", tag))
			for _, kind := range []string{"containers", "initContainers", "ephemeralContainers"} {
				add(name+"-"+strings.ToLower(kind), want, containers(kind, digest))
			}
			add(name+"-tag-and-digest", want, containers("containers", tag+"@"+i.descriptor.Digest.String()))
			add(name+"-beside-a-good-one", want, containers("containers", w.reference(w.images[0], true), digest))
		}
		// The policies do not apply to other repositories, whatever their names. If an
		// ImageValidatingPolicy has judged nothing of a Pod, the Pod is reported as passed. Three
		// of these images do not even exist.
		none := "pass"
		if folder == "cluster-policy" {
			none = ""
		}
		for name, repository := range map[string]string{"elsewhere": w.elsewhere.repository, "longer": "team/app-extra", "below": "team/app/extra", "above": "team"} {
			add(name, none, containers("containers", w.host+"/"+repository+"@"+w.elsewhere.descriptor.Digest.String()))
		}
		if folder == "cluster-policy" { // for the others see TestKyvernoHangs
			add("one-image-twice", "pass", w.oneImageTwice())
		}
		found := w.kyvernoSays(t, folder, pods)
		for name, want := range expected {
			if got := found[name]; got.Result != want && (want != noDigest || !strings.HasSuffix(got.Message, noDigest)) {
				t.Errorf("%s: of the Pod %s Kyverno says %q, want %q: %s", folder, name, got.Result, want, got.Message)
			}
		}
	}
}

// A policy for ten thousand repositories is stored, compiled and applied. CEL accepts no expression
// of more than 100,000 characters.
func TestKyvernoKnowsTenThousandRepositories(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "olareg", false)
	release, alice := policy.Key{Name: "release", Chain: w.ours.Chain}, policy.Key{Name: "alice", Chain: w.alice.Chain}
	trust := policy.Trust{Name: "many", Stage: policy.Audit, Namespace: "apps", Statements: []policy.Statement{
		{Name: "many", Repositories: many(5000, w.host+"/team/app", w.host+"/team/web"), Keys: []policy.Key{release}},
		{Name: "two", Repositories: many(2000, w.host+"/team/two"), Keys: []policy.Key{release, alice}},
	}}
	for _, folder := range []string{"many", "one"} {
		if folder == "one" { // statement, which needs half the space per repository
			trust.Statements = trust.Statements[:1]
			trust.Statements[0].Repositories = many(10_000, w.host+"/team/app", w.host+"/team/web")
		}
		o, err := policy.Kyverno.Write(trust)
		must(t, err)
		servertest.WriteFile(t, filepath.Join(w.dir, folder, o.Files[0].Name), o.Files[0].Content)
		var pods []map[string]any
		for _, i := range w.images {
			if i.repository != "team/two" || len(trust.Statements) > 1 {
				pods = append(pods, map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": path.Base(i.repository) + "-" + i.tag}, "spec": containers("containers", w.reference(i, false))})
			}
		}
		found := w.kyvernoSays(t, folder, pods)
		for _, i := range w.images {
			if got := found[path.Base(i.repository)+"-"+i.tag]; got.Result != string(i.want) && (i.repository != "team/two" || len(trust.Statements) > 1) {
				t.Errorf("%s: of %s:%s (%s) Kyverno says %v, want %s", folder, i.repository, i.tag, i.why, got, i.want)
			}
		}
	}
}

// many returns repositories, and the names of others that sort before and after them.
func many(n int, repositories ...string) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("registry.bank.example.com/payments-platform/%s-%05d", path.Base(repositories[0]), i))
	}
	return slices.Concat(all[:n/2], repositories, all[n/2:])
}

// oneImageTwice is a Pod on which Kyverno 1.19.1 never finishes.
func (w *world) oneImageTwice() map[string]any {
	one := w.reference(w.images[0], true)
	return containers("containers", one, one, w.reference(w.images[1], true))
}

// What Kyverno's file says about Kyverno is true. When this fails, Kyverno has been fixed, and
// kyvernoHangs of package policy can be removed.
func TestKyvernoHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "olareg", false)
	c := w.kyverno(t, "enforce/kyverno", map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "twice"}, "spec": w.oneImageTwice()})
	if out, _ := c.CombinedOutput(); !bytes.Contains(out, []byte("all goroutines are asleep - deadlock!")) {
		t.Errorf("Kyverno comes to an end: %s", out)
	}
}

// containers returns a Pod's containers, all of one kind.
func containers(kind string, images ...string) map[string]any {
	var all []any
	for n, image := range images {
		all = append(all, map[string]any{"name": fmt.Sprint("c", n), "image": image})
	}
	return map[string]any{kind: all}
}

// finding is what Kyverno says about a Pod: pass or fail, and why.
type finding struct{ Result, Message string }

// kyvernoSays judges Pods, and returns the findings by the Pods' names. A Pod to which no policy
// applies has none.
func (w *world) kyvernoSays(t testing.TB, folder string, pods []map[string]any) map[string]finding {
	t.Helper()
	c := w.kyverno(t, folder, pods...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output() // exit code 1: something failed
	var report struct {
		Results []struct {
			finding
			Resources []struct{ Name string }
		}
	}
	text := out[max(0, bytes.IndexByte(out, '{')):] // a deprecation warning for ClusterPolicy precedes it
	if jsonErr := json.Unmarshal(text, &report); jsonErr != nil {
		t.Fatalf("kyverno apply: %v %v\n%s%s", err, jsonErr, out, &stderr)
	}
	found := map[string]finding{}
	for _, r := range report.Results { // a Pod may have several, of which the worst counts
		name := r.Resources[0].Name
		if weight[r.Result] > weight[found[name].Result] {
			found[name] = r.finding
		}
	}
	return found
}

// kyverno returns the command that judges Pods by what policy wrote into a folder.
func (w *world) kyverno(t testing.TB, folder string, pods ...map[string]any) *exec.Cmd {
	t.Helper()
	var resources bytes.Buffer
	for _, p := range pods {
		raw, err := json.Marshal(p)
		must(t, err)
		fmt.Fprintf(&resources, "---\n%s\n", raw)
	}
	resource := filepath.Join(t.TempDir(), "pods.yaml")
	servertest.WriteFile(t, resource, resources.Bytes())
	c := kyverno.command(t, "apply", filepath.Join(w.dir, folder, "kyverno.yaml"), "--resource", resource, "--registry", "--policy-report", "--output-format", "json")
	c.Env, c.Dir = w.consumerEnv(), w.dir
	return c
}

// weight is how decisive a result is. One failure denies the Pod, and a skipped rule says nothing.
var weight = map[string]int{"skip": 1, "pass": 2, "warn": 3, "error": 3, "fail": 4}
