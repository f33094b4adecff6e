package policy

import (
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// plainWorkflow calls the action. References come as data, through with.
const plainWorkflow = `name: verify-images

on:
  workflow_call:
    inputs:
      images:
        description: references, one a line, each with its digest (repository@sha256:...)
        required: true
        type: string
  workflow_dispatch:
    inputs:
      images:
        description: references, one a line, each with its digest (repository@sha256:...)
        required: true
        type: string

permissions:
  contents: read

jobs:
  verify:
    runs-on: ubuntu-latest
    steps:
    - uses: actions/checkout@v4
    - uses: notaryproject/notation-action/setup@v1
      with:
        version: 1.3.2
    # Log in here where the registry wants it, such as with docker/login-action.
    - uses: notaryproject/notation-action/verify@v1
      with:
        target_artifact_reference: ${{ inputs.images }}
        trust_policy: .github/notation/trustpolicy.json
        trust_store: .github/notation/truststore
`

// workflow returns the workflow that calls the action, with the region of the service that a verification plugin
// asks.
func (t Trust) workflow() string {
	const verify = "    - uses: notaryproject/notation-action/verify@v1\n"
	for _, s := range t.Statements {
		for _, k := range s.Keys {
			if k.byProfile() {
				return strings.Replace(plainWorkflow, verify, "    # Install the verification plugin "+safetext.Safe(k.Plugin, 64)+" here (notation plugin install), and give it credentials.\n"+
					verify+"      env:\n        AWS_REGION: "+k.region()+"\n", 1)
			}
		}
	}
	return plainWorkflow
}

// writeGitHubActions writes the files of notation-action, laid out as in a repository.
func writeGitHubActions(t Trust, o *Output) error {
	files, err := t.policyAndStore(o, ".github/notation/trustpolicy.json", ".github/notation/truststore/x509/")
	if err != nil {
		return err
	}
	o.Lost = lost(lostTag("hand digests to what deploys: the workflow verifies the very digest that it is given"),
		Loss{"Only what goes through the workflow is verified", "a policy in the cluster as well: Kyverno, Ratify or Flux"})
	test := func(image string, foreign bool) string {
		outcome := "must fail"
		if foreign && t.Stage == Audit {
			outcome = "passes with a warning at this stage; must fail at the stage enforce"
		}
		return "gh workflow run verify-images -f images=" + t.sample() + "@sha256:...   # the digest of " + image + "; " + outcome
	}
	g := guide{
		title:    "How a GitHub workflow verifies images after the migration from Docker Content Trust.",
		about:    []string{"Pin the actions by commit, as your rules say. Have CODEOWNERS protect .github/notation: who changes it changes what is trusted."},
		apply:    []string{"cp -r .github <your repository>/ && git add .github/notation .github/workflows/verify-images.yml", "call it before what deploys: uses: ./.github/workflows/verify-images.yml, with: images: ..."},
		negative: t.negatives(test),
		next:     t.again(o, "DIR"),
	}
	if t.Stage == Audit {
		g.about = append(g.about, "At the stage audit a signature of anybody lets an image pass, with no more than a warning in the log of the workflow: do not let a deployment depend on it yet.")
	}
	o.Files = append([]File{{".github/workflows/verify-images.yml", []byte(comment(g.text(t, o)) + t.workflow())}}, files...)
	return nil
}
