package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
)

// verbOf finds the verb of a command line and parses its flags.
func verbOf(t *testing.T, line ...string) *cobra.Command {
	t.Helper()
	verb, rest, err := NewRoot(nil, cli.Streams{}).Find(line)
	if err == nil {
		err = verb.ParseFlags(rest)
	}
	if err != nil {
		t.Errorf("dct2notation %s: got error %v, want none", strings.Join(line, " "), err)
	}
	return verb
}

// Every configuration shown is valid as it is, except for names and files.
func TestExamplesAreConfigurations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../examples/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatalf("got examples %v, error %v, want at least 7", files, err)
	}
	for _, file := range append(files, "../../../deploy/kubernetes/migration.yaml") {
		cfg, err := session.LoadConfig(verbOf(t, "plan", "--config", file))
		if err != nil || cfg.TrustPinning == nil || len(cfg.Repositories) == 0 && cfg.Flags["discover"] == nil {
			t.Errorf("%s: got %+v, error %v, want repositories and pins", file, cfg, err)
		}
	}
}

// jobSpec has the fields of a Job or Deployment that this test checks.
type jobSpec struct {
	CompletionMode       string
	BackoffLimitPerIndex *int
	PodFailurePolicy     struct {
		Rules []struct {
			Action      string
			OnExitCodes *struct{ Values []int }
		}
	}
	Template struct {
		Spec struct{ Containers []struct{ Args []string } }
	}
}

// job is a Job or Deployment, or the Job of a CronJob.
type job struct {
	Kind string
	Spec jobSpec
}

// manifests returns the objects of a folder, by file.
func manifests(t *testing.T, folder string) map[string]job {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	must(t, err)
	all := map[string]job{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		var j job
		var cron struct {
			Spec struct{ JobTemplate struct{ Spec jobSpec } }
		}
		if err := errors.Join(yaml.Unmarshal(raw, &j), yaml.Unmarshal(raw, &cron)); err != nil {
			t.Fatalf("%s: got error %v, want none", file, err)
		}
		if j.Kind == "CronJob" {
			j.Spec = cron.Spec.JobTemplate.Spec
		}
		all[filepath.Base(file)] = j
	}
	return all
}

// A Job's reaction to an exit code follows from the code's meaning. A usage error is wrong for
// every Pod. Failed items and disagreement would end the same way again. Everything else may pass.
func TestJobsFollowExitCodes(t *testing.T) {
	t.Parallel()
	whole := map[string][]int{"FailJob": {2, 3, 4}, "Count": {1, 5, 11, 130, 137, 143}}
	for file, want := range map[string]map[string][]int{
		"job.yaml": whole, "verify-cronjob.yaml": whole,
		"indexed/job.yaml": {"FailJob": {2}, "FailIndex": {3, 4}, "Count": {1, 5, 11, 130, 137, 143}},
	} {
		folder := filepath.Join("../../../deploy/kubernetes", filepath.Dir(file))
		j := manifests(t, folder)[filepath.Base(file)]
		got, known := map[string][]int{}, []string{"0", "137"} // a kill has no exit code of ours
		for _, rule := range j.Spec.PodFailurePolicy.Rules {
			if rule.OnExitCodes != nil {
				got[rule.Action] = append(got[rule.Action], rule.OnExitCodes.Values...)
				for _, code := range rule.OnExitCodes.Values {
					known = append(known, fmt.Sprint(code))
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", file, got, want)
		}
		for _, code := range cli.ExitCodes() {
			for _, one := range strings.Split(code[0], ", ") {
				if !slices.Contains(known, one) {
					t.Errorf("%s: exit code %s (%s): got no rule, want one", file, one, code[1])
				}
			}
		}
		if (j.Spec.CompletionMode == "Indexed") != (j.Spec.BackoffLimitPerIndex != nil) {
			t.Errorf("%s: got mode %q and backoffLimitPerIndex %v, want both or none", file, j.Spec.CompletionMode, j.Spec.BackoffLimitPerIndex)
		}
	}
}

// Deployed command lines use flags that exist, and each file is in its kustomization.
func TestDeployedCommandLines(t *testing.T) {
	t.Setenv("JOB_COMPLETION_INDEX", "0")
	lines := 0
	for _, folder := range []string{"../../../deploy/kubernetes", "../../../deploy/kubernetes/indexed"} {
		kustomization, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
		must(t, err)
		for file, j := range manifests(t, folder) {
			if file != "kustomization.yaml" && !strings.Contains(string(kustomization), file) {
				t.Errorf("%s: got it not named in %s/kustomization.yaml, want it named", file, folder)
			}
			for _, c := range j.Spec.Template.Spec.Containers {
				verbOf(t, c.Args...)
				lines++
			}
		}
	}
	units, err := filepath.Glob("../../../deploy/systemd/*.service")
	must(t, err)
	for _, unit := range units {
		raw, err := os.ReadFile(unit)
		must(t, err)
		for line := range strings.Lines(string(raw)) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=/usr/bin/dct2notation "); ok {
				verbOf(t, strings.Fields(rest)...)
				lines++
			}
		}
	}
	if lines < 6 {
		t.Errorf("got %d command lines, want at least 6", lines)
	}
}
