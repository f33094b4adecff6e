package policy

import (
	"fmt"
	"slices"
	"strings"
)

// writeKyverno writes an ImageValidatingPolicy, or a ClusterPolicy if requested. Kyverno trusts any subject under a
// certificate, so it gets the keys' own certificates.
func writeKyverno(t Trust, o *Output) error {
	o.Lost = lost(lostTag("the tag is replaced by its digest when a Pod is admitted (stage enforce), so that what was verified is what runs; which digest it is, the registry says"))
	if t.pins() {
		o.Lost = slices.Insert(o.Lost, 0, lostIdentity)
	}
	names := "an alias"
	if t.ClusterPolicy {
		names = "with :443, in capitals, an alias"
	}
	o.Lost = append(o.Lost, Loss{"Images of other repositories are not judged, nor those under another name of their registry (" + names + ")",
		"a policy beside this one that lets nothing but known registries pass"},
		Loss{"Images with more than 10 signatures, or 50 referrers of any kind, are refused", "keep what is attached to an image below that"})
	one := t.imageValidatingPolicy
	if t.ClusterPolicy {
		one = t.clusterPolicy
	}
	for _, s := range t.Statements {
		switch {
		case len(s.tsa()) == 0:
		case t.ClusterPolicy:
			o.Warnings = append(o.Warnings, s.Name+": a ClusterPolicy knows no time-stamping authority: when the certificate has expired, its images are refused, countersigned or not")
		default:
			o.Warnings = append(o.Warnings, s.Name+": Kyverno refuses a signature without a timestamp once it is told of a time-stamping authority: what was signed before that has to be signed again")
		}
	}
	if !t.ClusterPolicy {
		o.Warnings = append(o.Warnings, kyvernoHangs)
	}
	policy := one()
	raw, err := o.manifest(comment(t.kyvernoGuide(o, policy).text(t, o)), policy)
	o.Files = []File{{"kyverno.yaml", raw}}
	return err
}

func (t Trust) kyvernoGuide(o *Output, policy object) guide {
	kind, other := "imagevalidatingpolicy", "clusterpolicy"
	if t.ClusterPolicy {
		kind, other = other, kind
	}
	outcome := "must be denied"
	if t.Stage == Audit {
		outcome = "is admitted, and must fail in: kubectl -n " + t.Namespace + " get policyreports -o wide"
	}
	g := guide{
		title: "What Kyverno trusts after the migration from Docker Content Trust.",
		about: []string{
			"Needs Kyverno 1.19 or newer. Only images of the repositories below are judged, in containers, init containers, ephemeral containers and image volumes of every Pod; others pass. The image of a volume has to be named by its digest at the stage enforce: Kyverno puts digests in place of tags only for containers. Without a registry a name is Docker Hub's, and stands here in every form that a Pod may write. A Pod with none of these images is reported as passed too.",
		},
		apply:    []string{applying("kyverno.yaml", policy), "kubectl delete " + other + " " + t.Name + " --ignore-not-found   # the other kind, if this was that before", "kubectl get " + kind},
		negative: t.pods(outcome),
		next:     t.again(o, "DIR"),
	}
	if t.ClusterPolicy {
		g.about[0] = "ClusterPolicy is deprecated; leave out --cluster-policy where Kyverno is 1.19 or newer. Images of the repositories below are judged, in all containers of Pods; others pass, and so does every image that is a volume. In ephemeral containers (kubectl debug) Kyverno refuses them even when they are signed."
	}
	return g
}

// trusted returns the certificate that stands for a key without identities: its own, or its authority's if that
// issues to no other key.
func (k Key) trusted() []byte {
	if k.Dedicated { // true of every key whose certificates change: see canTell
		return pemOf(k.Anchor())
	}
	return pemOf(k.Leaf())
}

// pins reports whether a certificate is pinned although its authority could issue others.
func (t Trust) pins() bool {
	return slices.ContainsFunc(t.Statements, func(s Statement) bool {
		return slices.ContainsFunc(s.Keys, func(k Key) bool { return !k.Dedicated })
	})
}

// kyvernoHangs is true of 1.19.1: kyverno/sdk, extensions/imagedataloader, keeps a lock in imageContext.Get.
// kyverno/kyverno issue 15403 is the same in an older place. The test of make e2e-policy fails once this is fixed.
const kyvernoHangs = "Kyverno 1.19.1 does not come to an end with a Pod that names one image twice (as that of an init container too) and then another, if this policy is about both; the stage enforce denies such Pods after 30 seconds (failed calling webhook), the stage audit admits them after 10. Where you have them, --cluster-policy judges them"

// kyvernoImages are the images of the matched Pod.
const kyvernoImages = "(images.?containers.orValue([]) + images.?initContainers.orValue([]) + images.?ephemeralContainers.orValue([]) + images.?volumes.orValue([]))"

// kyvernoVolumes are the images of volumes, which Kyverno does not find itself.
const kyvernoVolumes = "(object != null ? object : oldObject).spec.?volumes.orValue([]).filter(v, has(v.image) && has(v.image.reference)).map(v, v.image.reference)"

// imageValidatingPolicy returns one policy for all statements: with a Pod that has images of two policies, Kyverno's
// command does not terminate, nor did its controller (kyverno/policies issue 1526). So an image's name decides which
// attestors it needs. What matches no list is refused, since all images of the policy must be verified.
func (t Trust) imageValidatingPolicy() object {
	var attestors, references, variables, validations []object
	known := map[string]string{} // attestors by their trusted certificates
	for n, s := range t.Statements {
		var names []string
		for _, k := range s.Keys {
			notary := k.notary()
			id := fmt.Sprint(notary)
			if known[id] == "" {
				known[id] = fmt.Sprintf("key%d", len(known))
				attestors = append(attestors, object{"name": known[id], "notary": notary})
			}
			names = append(names, "attestors."+known[id])
		}
		images := kyvernoImages
		var own []string
		for i, list := range kyvernoLists(s.Repositories) {
			references = append(references, object{"expression": ofList(list, "ref")})
			name := fmt.Sprintf("repositories%d_%d", n, i)
			own = append(own, ofList("variables."+name, "image"))
			if len(t.Statements) > 1 {
				variables = append(variables, object{"name": name, "expression": list})
			}
		}
		if len(t.Statements) > 1 {
			images += ".filter(image, " + strings.Join(own, " || ") + ")"
		}
		validations = append(validations, object{
			"message":    "image has no valid Notation signature",
			"expression": images + ".map(image, verifyImageSignatures(image, [" + strings.Join(names, ", ") + "])).all(n, n > 0)",
		})
	}
	enforced := t.Stage == Enforce
	action, failure, wait := "Audit", "Ignore", 10 // nothing is refused, even without a verdict
	if enforced {
		action, failure, wait = "Deny", "Fail", 30
	}
	spec := object{
		"failurePolicy":        failure,
		"webhookConfiguration": object{"timeoutSeconds": wait},
		"validationActions":    []string{action},
		"matchConstraints": object{"resourceRules": []object{{
			"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE", "UPDATE"}, "resources": []string{"pods", "pods/ephemeralcontainers"},
		}}},
		"matchImageReferences":     references,
		"images":                   []object{{"name": "volumes", "expression": kyvernoVolumes}},
		"validationConfigurations": object{"mutateDigest": enforced, "verifyDigest": enforced, "required": true},
		"attestors":                attestors,
		"validations":              validations,
	}
	if variables != nil {
		spec["variables"] = variables
	}
	return object{"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": object{"name": t.Name}, "spec": spec}
}

// ofList returns a CEL expression that reports whether the image in a variable belongs to a repository of a list. It
// compares hosts case-insensitively, and with or without the default port 443: otherwise the same image would pass
// unseen under another name.
func ofList(list, image string) string {
	return fmt.Sprintf(`[%s.lowerAscii().replace(":443/", "/")].exists(i, %s.exists(r, i == r || i.startsWith(r + ":") || i.startsWith(r + "@")))`, image, list)
}

// maxList bounds the length of a list: CEL accepts no expression of more than 100,000 characters.
const maxList = 50_000

// kyvernoLists returns CEL lists of all forms of repositories. They need no escaping: see isRepository.
func kyvernoLists(repositories []string) []string {
	var lists []string
	var list strings.Builder
	for _, r := range repositories {
		for _, form := range written(r) {
			if list.Len() > maxList {
				lists = append(lists, "["+list.String()+"]")
				list.Reset()
			}
			if list.Len() > 0 {
				list.WriteString(", ")
			}
			list.WriteString(`"` + strings.Replace(strings.ToLower(form), ":443/", "/", 1) + `"`)
		}
	}
	return append(lists, "["+list.String()+"]")
}

// notary returns what Kyverno trusts for a key.
func (k Key) notary() object {
	notary := object{"certs": object{"value": string(k.trusted())}}
	if len(k.TSA) > 0 {
		var roots string
		for _, c := range distinct(k.TSA) {
			roots += string(pemOf(c))
		}
		notary["tsaCerts"] = object{"value": roots}
	}
	return notary
}

// clusterPolicy returns one policy for all statements, too: for a Pod with images of two policies, each treats the
// other's as unverified.
func (t Trust) clusterPolicy() object {
	enforced := t.Stage == Enforce
	action, failure, wait := "Audit", "Ignore", 10
	if enforced {
		action, failure, wait = "Enforce", "Fail", 30
	}
	var verify []object
	for _, s := range t.Statements {
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
		verify = append(verify, object{
			"type": "Notary", "imageReferences": references, "failureAction": action,
			"mutateDigest": enforced, "verifyDigest": enforced, "required": true,
			"attestors": []object{{"count": 1, "entries": entries}},
		})
	}
	return object{
		"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": object{"name": t.Name},
		"spec": object{
			"webhookConfiguration": object{"failurePolicy": failure, "timeoutSeconds": wait},
			"background":           false,
			"rules": []object{{
				"name":         "verify-notation",
				"match":        object{"any": []object{{"resources": object{"kinds": []string{"Pod"}}}}},
				"verifyImages": verify,
			}},
		},
	}
}

// written returns the forms in which a Pod may name a repository: Docker Hub's have several.
func written(repository string) []string {
	path, ok := onHub(repository)
	if !ok {
		return []string{repository}
	}
	var forms []string
	for _, p := range []string{path, strings.TrimPrefix(path, "library/")} {
		for _, host := range append(slices.Clone(hubHosts), "") {
			if !slices.Contains(forms, host+p) {
				forms = append(forms, host+p)
			}
		}
	}
	return forms
}
