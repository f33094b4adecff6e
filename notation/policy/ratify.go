package policy

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

const notationArtifact = "application/vnd.cncf.notary.signature"

const (
	ratifyAPI    = "config.ratify.deislabs.io/v1beta1"
	ratifyURL    = "https://ratify.gatekeeper-system:6001/ratify/gatekeeper/v1/verify"
	ratifyAbout  = "Gatekeeper denies every image in namespace %s that has no good signature, also those of repositories that are not named here: all containers, init containers, ephemeral containers and image volumes are asked for. Leave out namespaces of the cluster itself (kube-system, gatekeeper-system)."
	ratifyLate   = "Gatekeeper's chart has the API server wait 3 seconds for Gatekeeper, and then admit what was asked for: unsigned images pass while their registry is slow, or Gatekeeper is down. So the stage enforce has it wait for longer than Ratify may take, and refuse where there is no answer. The price: while Gatekeeper is down, nothing can be created in the namespaces that it looks at."
	ratifyCached = "Gatekeeper keeps answers for 3 minutes, whatever is changed meanwhile. An image that is deployed by tag is verified but not pinned: add Ratify's mutation provider, or deploy by digest."
)

// Ratify's chart makes a Verifier, a Policy and a Store under the same names as ours, as helm hooks. kubectl apply
// merges ours into them. Ratify rejects a Verifier with two formats of certificate stores and then continues with the
// chart's, which trusts every subject. Its Store should be merged: it says how to log in at registries.
const (
	ratifyChart = "Ratify's own chart makes a Verifier verifier-notation, which trusts every subject for all repositories, and a Policy ratify-policy, and makes them again with each helm upgrade. kubectl apply would mix them with those below, which Ratify refuses, and goes on with the chart's, whatever kubectl says. So the chart's Verifier is switched off, both are deleted, and what Ratify says of each object is asked for; what is created meanwhile is denied where Gatekeeper enforces. The chart's Store stays, with its authProvider. After each helm upgrade of Ratify do all but the first again."

	ratifyWithoutCharts = "helm upgrade ratify ratify/ratify -n gatekeeper-system --version INSTALLED --reuse-values --set notation.enabled=false   # INSTALLED: the chart's version of helm list -n gatekeeper-system; keep notation.enabled=false with your values"
	ratifyFresh         = "kubectl delete --ignore-not-found verifiers.config.ratify.deislabs.io/verifier-notation policies.config.ratify.deislabs.io/ratify-policy"
	ratifyRead          = "kubectl wait -f ratify.yaml --for=jsonpath='{.status.issuccess}'=true --timeout=60s   # else Ratify does not use it: look at its status.error"
	ratifyOthers        = "kubectl get verifiers.config.ratify.deislabs.io -o custom-columns=NAME:.metadata.name,FOR:.spec.artifactTypes   # verifier-notation is the only one for " + notationArtifact + " and for *"
)

// writeRatify writes Ratify v1's verification, and Gatekeeper's requests to it.
func writeRatify(t Trust, o *Output) error {
	o.Lost = lost(lostTag("deploy by digest, or with Ratify's mutation provider, which pins a tag when it is admitted"))
	objects, err := t.ratifyObjects(o)
	if err != nil {
		return err
	}
	g := t.gatekeeperGuide("What Ratify v1 and Gatekeeper trust after the migration from Docker Content Trust.", o,
		ratifyWithoutCharts, ratifyFresh, applying("ratify.yaml", objects...), ratifyRead, ratifyOthers)
	g.about = append(g.about, ratifyChart)
	if t.RatifyCA == nil {
		g.about = append(g.about, "Ratify's chart makes the Provider ratify-provider. Where that is not so, --ratify-ca writes it too.")
	}
	verifier, err := o.manifest(comment(g.text(t, o)), objects...)
	if err != nil {
		return err
	}
	gatekeeper, err := t.gatekeeper(o, "ratify-provider", "isSuccess")
	if err != nil {
		return err
	}
	o.Files = append([]File{{"ratify.yaml", verifier}}, gatekeeper...)
	if t.RatifyCA != nil {
		provider, err := o.manifest(comment("How Gatekeeper reaches Ratify. Check the URL: it is that of the chart's own service.\n"), object{
			"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "Provider", "metadata": object{"name": "ratify-provider"},
			"spec": object{"url": ratifyURL, "timeout": 7, "caBundle": base64.StdEncoding.EncodeToString(t.RatifyCA)},
		})
		if err != nil {
			return err
		}
		o.Files = append(o.Files, File{o.Consumer.optional, provider})
	}
	return nil
}

// ratifyObjects verify strictly at each stage: at the stage audit, Gatekeeper lets images pass and shows what it
// would have denied.
func (t Trust) ratifyObjects(o *Output) ([]object, error) {
	doc, err := t.document("strict", t.Statements, exactly)
	if err != nil {
		return nil, err
	}
	asObject := object{}
	raw, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(raw, &asObject)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the trust policy: %w", err)
	}
	var objects []object
	stores := map[string]map[string][]string{}
	for _, s := range t.Statements {
		o.Warnings = append(o.Warnings, s.crossed()...)
		for _, f := range s.storeFiles("") {
			kind, _, _ := strings.Cut(f.Name, "/")
			if stores[kind] == nil {
				stores[kind] = map[string][]string{}
			}
			name := fmt.Sprintf("%s-%s-%d", s.Name, kind, len(stores[kind][s.Name]))
			stores[kind][s.Name] = append(stores[kind][s.Name], name)
			objects = append(objects, object{
				"apiVersion": ratifyAPI, "kind": "KeyManagementProvider", "metadata": object{"name": name},
				"spec": object{"type": "inline", "parameters": object{"contentType": "certificate", "value": string(f.Content)}},
			})
		}
	}
	return append(objects, object{
		"apiVersion": ratifyAPI, "kind": "Verifier", "metadata": object{"name": "verifier-notation"},
		"spec": object{"name": "notation", "artifactTypes": notationArtifact, "parameters": object{
			"verificationCertStores": stores, "trustPolicyDoc": asObject}},
	}, object{
		"apiVersion": ratifyAPI, "kind": "Store", "metadata": object{"name": "store-oras"},
		"spec": object{"name": "oras", "parameters": object{"cacheEnabled": true, "ttl": 10}},
	}, object{
		"apiVersion": ratifyAPI, "kind": "Policy", "metadata": object{"name": "ratify-policy"},
		// Not the chart's "all": with it, a foreign signature beside a good one denies the image.
		"spec": object{"type": "config-policy", "parameters": object{
			"artifactVerificationPolicies": map[string]string{notationArtifact: "any"}}},
	}), nil
}

// gatekeeperWaits sets what decides whether the API server obeys Gatekeeper at all.
const gatekeeperWaits = "helm upgrade gatekeeper gatekeeper/gatekeeper -n gatekeeper-system --version INSTALLED --reuse-values --set validatingWebhookFailurePolicy=Fail --set validatingWebhookTimeoutSeconds=10   # INSTALLED: the chart's version of helm list -n gatekeeper-system"

// gatekeeperGuide adds the commands for Gatekeeper after Ratify's own.
func (t Trust) gatekeeperGuide(title string, o *Output, ratify ...string) guide {
	apply := append(ratify, "kubectl apply -f gatekeeper-template.yaml",
		"kubectl wait --for=create --timeout=60s crd/notationverified.constraints.gatekeeper.sh", "kubectl apply -f gatekeeper-constraint.yaml")
	outcome := "must be denied"
	if t.Stage == Audit {
		outcome = "is admitted, and must be among: kubectl get notationverified notation-verified -o yaml"
	} else {
		apply = append(apply, gatekeeperWaits)
	}
	return guide{title: title, about: []string{fmt.Sprintf(ratifyAbout, t.Namespace), ratifyLate, ratifyCached},
		apply: apply, negative: t.pods(outcome), next: t.again(o, "DIR")}
}

// gatekeeperRego checks every image of a Pod. PROVIDER and SUCCESS are ours.
const gatekeeperRego = `package notationverified

lists := {"containers", "initContainers", "ephemeralContainers"}

wanted := {ref | ref := input.review.object.spec[lists[_]][_].image} | {ref | ref := input.review.object.spec.volumes[_].image.reference}

answer := external_data({"provider": "PROVIDER", "keys": [ref | wanted[ref]]})

violation[{"msg": msg}] {
  answer.system_error != ""
  msg := sprintf("image verifier failed: %v", [answer.system_error])
}

violation[{"msg": msg}] {
  count(answer.errors) > 0
  msg := sprintf("image verification error: %v", [answer.errors])
}

violation[{"msg": msg}] {
  pair := answer.responses[_]
  not pair[1].SUCCESS
  msg := sprintf("no trusted Notation signature: %v", [pair[0]])
}
`

func (t Trust) gatekeeper(o *Output, provider, success string) ([]File, error) {
	rego := strings.NewReplacer("PROVIDER", provider, "SUCCESS", success).Replace(gatekeeperRego)
	template, err := o.manifest(comment("Asks Ratify for every image of a Pod. Apply it before the constraint.\n"), object{
		"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": object{"name": "notationverified"},
		"spec": object{
			"crd":     object{"spec": object{"names": object{"kind": "NotationVerified"}}},
			"targets": []object{{"target": "admission.k8s.gatekeeper.sh", "rego": rego}},
		},
	})
	if err != nil {
		return nil, err
	}
	action := "deny"
	if t.Stage == Audit {
		action = "dryrun"
	}
	constraint, err := o.manifest(comment("Where Pods are asked for. Stage: "+string(t.Stage)+". Add the namespaces whose images are all signed.\n"), object{
		"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "NotationVerified", "metadata": object{"name": "notation-verified"},
		"spec": object{"enforcementAction": action, "match": object{
			"kinds":      []object{{"apiGroups": []string{""}, "kinds": []string{"Pod"}}},
			"namespaces": []string{t.Namespace},
		}},
	})
	return []File{{"gatekeeper-template.yaml", template}, {"gatekeeper-constraint.yaml", constraint}}, err
}
