package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Kyverno writes an ImageValidatingPolicy for each statement, or a ClusterPolicy where that is
// asked for. Kyverno trusts any subject under a certificate, so that the keys' own
// certificates are what it is given.
func Kyverno(t Trust) (*Output, error) {
	return t.output("kyverno", func(o *Output) error {
		o.Lost = lost(lostTag("the tag is replaced by its digest when a Pod is admitted (stage enforce), so that what was verified is what runs; which digest it is, the registry says"))
		if t.pins() {
			o.Lost = slices.Insert(o.Lost, 0, lostIdentity)
		}
		o.Lost = append(o.Lost, Loss{"Images with more than 10 signatures, or 50 referrers of any kind, are refused", "keep what is attached to an image below that"})
		var objects []object
		for _, s := range t.Statements {
			one := t.imageValidatingPolicy
			if t.ClusterPolicy {
				one = t.clusterPolicy
			}
			objects = append(objects, one(s))
			if len(s.tsa()) == 0 {
				continue
			}
			if t.ClusterPolicy {
				o.Warnings = append(o.Warnings, s.Name+": a ClusterPolicy knows no time-stamping authority: when the certificate has expired, its images are refused, countersigned or not")
			} else {
				o.Warnings = append(o.Warnings, s.Name+": Kyverno refuses a signature without a timestamp once it is told of a time-stamping authority: what was signed before that has to be signed again")
			}
		}
		raw, err := manifest(o.Consumer, comment(t.kyvernoGuide().text(t, o)), objects...)
		o.Files = []File{{"kyverno.yaml", raw}}
		return err
	})
}

func (t Trust) kyvernoGuide() guide {
	kind := "imagevalidatingpolicy"
	if t.ClusterPolicy {
		kind = "clusterpolicy"
	}
	test := "kubectl -n " + t.Namespace + " run unsigned --image=" + t.sample() + ":dct2notation-unsigned"
	expect := test + "   # must be denied"
	if t.Stage == Audit {
		expect = test + "   # is admitted, and must fail in: kubectl -n " + t.Namespace + " get policyreports -o wide"
	}
	g := guide{
		title: "What Kyverno trusts after the migration from Docker Content Trust.",
		about: []string{
			"Needs Kyverno 1.19 or newer. Only images of the repositories below are judged, in containers, init containers, ephemeral containers and image volumes of every Pod; others pass. The image of a volume has to be named by its digest at the stage enforce: Kyverno puts digests in place of tags only for containers. Without a registry a name is Docker Hub's, and stands here in every form that a Pod may write.",
			"Kyverno compares names as they are written. The same image under another name of its registry (with :443, in capitals, by an alias) is none of these and passes, like everything else of which this policy says nothing: which registries Pods may use at all has to be said by another policy.",
		},
		apply:    []string{"kubectl apply -f kyverno.yaml", "kubectl get " + kind},
		negative: append(t.unsigned(), expect),
		next:     t.again("kyverno", "DIR"),
	}
	if t.ClusterPolicy {
		g.about[0] = "ClusterPolicy is deprecated; leave out --cluster-policy where Kyverno is 1.19 or newer. Images of the repositories below are judged, in all containers of Pods; others pass, and so does every image that is a volume. In ephemeral containers (kubectl debug) Kyverno refuses them even when they are signed."
	}
	return g
}

// trusted is the certificate that stands for a key where there are no identities: its own,
// or its authority's if that issues to no other.
func (k Key) trusted() []byte {
	if k.Dedicated {
		return pemOf(k.Anchor())
	}
	return pemOf(k.Leaf())
}

// pins tells whether a certificate is pinned that others could be issued beside.
func (t Trust) pins() bool {
	return slices.ContainsFunc(t.Statements, func(s Statement) bool {
		return slices.ContainsFunc(s.Keys, func(k Key) bool { return !k.Dedicated })
	})
}

// kyvernoVolumes are the images of volumes, which Kyverno does not look for by itself.
const kyvernoVolumes = "(object != null ? object : oldObject).spec.?volumes.orValue([]).filter(v, has(v.image) && has(v.image.reference)).map(v, v.image.reference)"

func (t Trust) imageValidatingPolicy(s Statement) object {
	var attestors, globs []object
	var names []string
	for i, k := range s.Keys {
		name := fmt.Sprintf("key%d", i)
		notary := object{"certs": object{"value": string(k.trusted())}}
		if len(k.TSA) > 0 {
			var roots string
			for _, c := range distinct(k.TSA) {
				roots += string(pemOf(c))
			}
			notary["tsaCerts"] = object{"value": roots}
		}
		attestors = append(attestors, object{"name": name, "notary": notary})
		names = append(names, "attestors."+name)
	}
	for _, r := range s.Repositories {
		for _, form := range written(r) {
			for _, glob := range []string{form, form + ":*", form + "@*"} {
				globs = append(globs, object{"glob": glob})
			}
		}
	}
	enforced := t.Stage == Enforce
	action := "Audit"
	if enforced {
		action = "Deny"
	}
	return object{
		"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": object{"name": s.Name},
		"spec": object{
			"failurePolicy":        "Fail",
			"webhookConfiguration": object{"timeoutSeconds": 30},
			"validationActions":    []string{action},
			"matchConstraints": object{"resourceRules": []object{{
				"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE", "UPDATE"}, "resources": []string{"pods", "pods/ephemeralcontainers"},
			}}},
			"matchImageReferences":     globs,
			"images":                   []object{{"name": "volumes", "expression": kyvernoVolumes}},
			"validationConfigurations": object{"mutateDigest": enforced, "verifyDigest": enforced, "required": true},
			"attestors":                attestors,
			"validations": []object{{
				"message": "image has no valid Notation signature",
				"expression": "(images.?containers.orValue([]) + images.?initContainers.orValue([]) + images.?ephemeralContainers.orValue([]) + images.?volumes.orValue([]))" +
					".map(image, verifyImageSignatures(image, [" + strings.Join(names, ", ") + "])).all(n, n > 0)",
			}},
		},
	}
}

func (t Trust) clusterPolicy(s Statement) object {
	var references []string
	for _, r := range s.Repositories {
		for _, form := range written(r) {
			if strings.Contains(form, "/") { // Kyverno puts docker.io before a bare name
				references = append(references, form+":*", form+"@*")
			}
		}
	}
	var entries []object
	for _, k := range s.Keys {
		entries = append(entries, object{"certificates": object{"cert": string(k.trusted())}})
	}
	enforced := t.Stage == Enforce
	action := "Audit"
	if enforced {
		action = "Enforce"
	}
	return object{
		"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": object{"name": s.Name},
		"spec": object{
			"webhookConfiguration": object{"failurePolicy": "Fail", "timeoutSeconds": 30},
			"background":           false,
			"rules": []object{{
				"name":  "verify-notation",
				"match": object{"any": []object{{"resources": object{"kinds": []string{"Pod"}}}}},
				"verifyImages": []object{{
					"type": "Notary", "imageReferences": references, "failureAction": action,
					"mutateDigest": enforced, "verifyDigest": enforced, "required": true,
					"attestors": []object{{"count": 1, "entries": entries}},
				}},
			}},
		},
	}
}

// written are the forms in which a Pod may name a repository: Docker Hub's go by several.
func written(repository string) []string {
	path, ok := strings.CutPrefix(repository, "docker.io/")
	if !ok {
		return []string{repository}
	}
	var forms []string
	for _, p := range []string{path, strings.TrimPrefix(path, "library/")} {
		for _, host := range []string{"docker.io/", "index.docker.io/", "registry-1.docker.io/", ""} {
			if !slices.Contains(forms, host+p) {
				forms = append(forms, host+p)
			}
		}
	}
	return forms
}
