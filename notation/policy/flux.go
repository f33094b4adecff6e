package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fluxSignatures is how many signatures of an image Flux checks.
const fluxSignatures = 3

// writeFlux writes a Secret for each statement, since Flux uses each of a Secret's certificates for everything. For
// each Secret it writes a patch of the OCIRepositories and HelmCharts that it is for.
func writeFlux(t Trust, o *Output) error {
	o.Lost = lost(
		lostTag("pin what is deployed: spec.ref.digest of the OCIRepository"),
		Loss{"Images of Pods are not verified: Flux verifies only what it pulls itself", "an admission controller beside it: Kyverno or Ratify"},
		Loss{"Signatures beyond the third of an image are not looked at", "keep at most 3 on each image, of all keys and tools together; dct2notation run adds none where its own is there"},
	)
	var secrets []object
	var patches []File
	for _, s := range t.Statements {
		secret, err := t.fluxSecret(o, s)
		if err != nil {
			return err
		}
		secrets = append(secrets, secret)
		patch, err := t.fluxPatch(o, s, secret["metadata"].(object)["name"].(string))
		if err != nil {
			return err
		}
		patches = append(patches, patch)
	}
	raw, err := o.manifest(comment(t.fluxGuide(o, secrets).text(t, o)), secrets...)
	if err != nil {
		return err
	}
	o.Files = append([]File{{"secrets.yaml", raw}}, patches...)
	return nil
}

func (t Trust) fluxGuide(o *Output, secrets []object) guide {
	g := guide{
		title: "What Flux trusts after the migration from Docker Content Trust.",
		about: []string{
			"Needs source-controller 1.6 or newer (source.toolkit.fluxcd.io/v1). Each Secret is called by its content, since source-controllers before 1.10 do not verify again what they have when a Secret changes. One certificate in each key: Flux reads only the first. Images of docker.io stand there under index.docker.io as well, which is what Flux calls it.",
			"What Git or a HelmRelease makes is changed there: kustomize-controller and helm-controller undo what kubectl patch has changed, with the next interval, and nothing is verified any more. So put the Secrets into Git as well where it has the rest.",
			"Repositories with a plain-HTTP registry (insecure: true) are verified over plain HTTP. A HelmChart cannot be verified on a registry whose TLS authority is a private one.",
		},
		apply: []string{
			applying("secrets.yaml", secrets...),
			"in Git, put patch-<statement>.yaml into each OCIRepository; for a HelmChart that a HelmRelease makes, its verify into spec.chart.spec of the HelmRelease",
			"kubectl -n " + t.Namespace + " patch ocirepository NAME --type merge --patch-file patch-<statement>.yaml   # only where neither Git nor a HelmRelease makes it (or helmchart NAME)",
			"kubectl -n " + t.Namespace + " wait ocirepository NAME --for=condition=SourceVerified   # again after the interval of the Kustomization or HelmRelease; Ready says nothing about signatures at the stage audit",
		},
		negative: t.negatives(func(image string, _ bool) string {
			return "point an OCIRepository that has the patch to " + image + ": its condition SourceVerified must not be True"
		}),
		next: t.again(o, "DIR"),
	}
	if t.Stage == Audit {
		g.about = append(g.about, "At the stage audit Flux goes on to deploy what is not trusted, with Ready=True. Look at the condition SourceVerified and at the events.")
	}
	return g
}

// fluxSecret has the trust policy and the certificates of one statement. Flux ignores the type and name of a store:
// each certificate in the Secret counts for every store.
func (t Trust) fluxSecret(o *Output, s Statement) (object, error) {
	doc, err := t.document(t.level(), []Statement{s}, dockerNames)
	if err != nil {
		return nil, err
	}
	tsa := s.tsa()
	if len(tsa) > 0 && slices.Contains(doc.TrustPolicies[0].TrustedIdentities, anyone) {
		return nil, &Refusal{Reason: fmt.Sprintf("%s: Flux would take the root of its time-stamping authority for a signing authority, and no subject is there to keep its other certificates out", s.Name),
			Hint: "have the signing certificate issued with C, ST and O, or sign without a time-stamping authority"}
	}
	if len(tsa) > 0 {
		o.Warnings = append(o.Warnings, fmt.Sprintf("%s: Flux takes the root of its time-stamping authority (%s) for a signing authority as well: a code signing certificate under it with the subject of a key below would pass", s.Name, subject(tsa[0])))
	}
	if len(s.Keys) > fluxSignatures {
		o.Warnings = append(o.Warnings, fmt.Sprintf("%s: %d keys sign, and Flux looks at %d signatures of an image: one with more of them may be refused", s.Name, len(s.Keys), fluxSignatures))
	}
	o.Warnings = append(o.Warnings, s.crossed()...)
	raw, err := documentJSON(doc)
	if err != nil {
		return nil, err
	}
	data := object{"trustpolicy.json": string(raw)}
	for i, c := range s.anchors() {
		data[fmt.Sprintf("ca-%d.crt", i)] = string(pemOf(c))
	}
	for i, c := range tsa {
		data[fmt.Sprintf("tsa-%d.crt", i)] = string(pemOf(c))
	}
	return object{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": data,
		"metadata": object{"name": s.Name + "-" + contentHash(data), "namespace": t.Namespace},
	}, nil
}

// contentHash distinguishes contents of Secrets.
func contentHash(data object) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%q %q\n", name, data[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func (t Trust) fluxPatch(o *Output, s Statement, secret string) (File, error) {
	var b strings.Builder
	b.WriteString(wrap("For each OCIRepository or HelmChart that is one of these, in namespace "+t.Namespace+", and no other:", "", ""))
	for _, r := range s.Repositories {
		b.WriteString("  oci://" + r + "\n")
	}
	raw, err := o.manifest(comment(b.String()), object{"spec": object{"verify": object{"provider": "notation", "secretRef": object{"name": secret}}}})
	return File{o.Consumer.patches + s.Name + ".yaml", raw}, err
}

// dockerNames returns the names under which Flux may look up a repository: it calls docker.io index.docker.io.
func dockerNames(repository string) []string {
	path, ok := onHub(repository)
	if !ok {
		return exactly(repository)
	}
	names := []string{hubHosts[0] + path, hubHosts[1] + path}
	if !slices.Contains(names, repository) {
		names = append(names, repository)
	}
	return names
}
