package policy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/notation/policy"
)

// ruledBy returns the validator that Connaisseur 3.10 chooses for an image, named as Connaisseur
// names it. It adds * before and after each pattern, which also matches slashes. Of the patterns
// that match, more components win, then the longer common prefix of one component after the other,
// then the longer component.
func ruledBy(t *testing.T, o *policy.Output, image string) string {
	t.Helper()
	var values struct {
		Application struct {
			Policy []struct{ Pattern, Validator string }
		}
	}
	must(t, yaml.Unmarshal(file(t, o, "values.yaml"), &values))
	var best []int
	validator := ""
	for _, rule := range values.Application.Policy {
		expression := "^.*" + strings.ReplaceAll(regexp.QuoteMeta(rule.Pattern), `\*`, ".*") + ".*$"
		if !regexp.MustCompile(expression).MatchString(image) {
			continue
		}
		if rank := specificity(rule.Pattern, image); slices.Compare(rank, best) > 0 {
			best, validator = rank, rule.Validator
		}
	}
	return validator
}

func specificity(pattern, image string) []int {
	components, parts := strings.Split(pattern, "/"), strings.Split(image, "/")
	rank, lengths := []int{len(components)}, []int(nil)
	for i, c := range components {
		n := 0
		for n < min(len(c), len(parts[i])) && c[n] == parts[i][n] {
			n++
		}
		rank, lengths = append(rank, n), append(lengths, len(c))
	}
	return append(rank, lengths...)
}

// Each image gets the validator of its repository, whether it is named by tag, by digest or by
// both. An image whose name contains an allowed one gets none.
func TestConnaisseurJudgesImagesByTheirOwnRepository(t *testing.T) {
	t.Parallel()
	const digest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	notation := map[string]string{"registry.example.com/team/app": "notation-migrated-release", "index.docker.io/acme/tool": "notation-migrated-release",
		"index.docker.io/library/alpine": "notation-migrated-release", "registry.example.com:5000/alice": "notation-migrated-alice-release-562254f4", "registry.example.com/team/later": "dct0",
		"registry.example.com/team/ap": "deny", "registry.example.com/team/app-2": "deny", "registry.example.com/team": "deny", "registry.example.com/team/app/sub": "deny",
		"registry.k8s.io/pause": "allow", "evil.example.com/registry.k8s.io/pause": "deny", "evil.example.com/a/b/registry.k8s.io/x/pause": "deny",
		"index.docker.io/securesystemsengineering/connaisseur": "allow", "evildocker.io/securesystemsengineering/connaisseur": "deny",
		"evil.example.com/docker.io/securesystemsengineering/x": "deny", "evil.example.com/index.docker.io/securesystemsengineering/x": "deny"}
	for _, stage := range []policy.Stage{policy.Audit, policy.Enforce} {
		o, err := policy.Connaisseur.Write(rich(t, stage))
		must(t, err)
		for repository, want := range notation {
			if stage == policy.Audit && repository == "registry.example.com/team/app" {
				want = "dct0" // DCT goes on to judge
			}
			for _, image := range []string{repository + ":v1", repository + digest, repository + ":v1" + digest} {
				if got := ruledBy(t, o, image); got != want {
					t.Errorf("%s: got %s judged by %s, want %s", stage, image, got, want)
				}
			}
		}
	}
}

// At the stage audit Connaisseur lets nothing pass that it did not before. If DCT's rules cannot
// be kept there is no output, and Notation is never verified at a level that accepts strangers'
// signatures.
func TestConnaisseurAuditsNothingAway(t *testing.T) {
	t.Parallel()
	unknown := rich(t, policy.Audit)
	unknown.Legacy = nil
	_, err := policy.Connaisseur.Write(unknown)
	refused(t, err, "leave out --ledger")
	for _, stage := range []policy.Stage{policy.Audit, policy.Enforce} {
		o, err := policy.Connaisseur.Write(rich(t, stage))
		must(t, err)
		application := at(t, objects(t, file(t, o, "values.yaml"))[0], "application").(map[string]any)
		for _, rule := range application["policy"].([]any) {
			rule := rule.(map[string]any)
			if !strings.HasPrefix(rule["validator"].(string), "notation-") {
				continue
			}
			if level := at(t, rule, "with", "verificationLevel"); level != "strict" {
				t.Errorf("%s, %v: got verification level %v, want strict", stage, rule["pattern"], level)
			}
		}
		if features := application["features"]; features != nil {
			t.Errorf("%s: got features %v, want none", stage, features)
		}
		if said := strings.Contains(strings.Join(o.Warnings, "\n"), "every image is denied that no rule names"); said != (stage == policy.Audit) {
			t.Errorf("%s: got it said that all else is denied: %t, want %t", stage, said, stage == policy.Audit)
		}
	}
}
