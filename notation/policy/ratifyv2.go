package policy

import "fmt"

// writeRatifyV2 writes for the beta of Ratify v2, which is always strict: an Executor for each
// statement, with its repositories as scopes.
func writeRatifyV2(t Trust, o *Output) error {
	o.Lost = lost(lostTag("deploy by digest"))
	o.Warnings = append(o.Warnings, "Ratify v2 is a beta (this needs 2.0.0-beta.2 or newer): its kinds may change with the next")
	var objects []object
	for _, s := range t.Statements {
		ids, err := t.identities(s)
		if err != nil {
			return err
		}
		o.Warnings = append(o.Warnings, s.crossed()...)
		if len(s.tsa()) > 0 {
			o.Warnings = append(o.Warnings, s.Name+": a signature without a timestamp is refused, since Ratify v2 cannot be told to ask for it only after a certificate has expired")
		}
		objects = append(objects, s.executor(ids))
	}
	g := t.gatekeeperGuide("What the beta of Ratify v2 trusts after the migration from Docker Content Trust.", o,
		applying("ratify.yaml", objects...), "kubectl get executors.config.ratify.sh   # those of this file and no others, such as one of Ratify's own chart")
	g.about = append(g.about, "Pods have to name images of Docker Hub in full (docker.io/library/alpine): Ratify v2 knows no short names, and denies them.")
	raw, err := o.manifest(comment(g.text(t, o)), objects...)
	if err != nil {
		return err
	}
	gatekeeper, err := t.gatekeeper(o, "ratify-gatekeeper-provider", "succeeded")
	o.Files = append([]File{{"ratify.yaml", raw}}, gatekeeper...)
	return err
}

func (s Statement) executor(identities []string) object {
	var certificates []object
	for _, one := range s.stores() { // one entry for each type
		var pem string
		for _, c := range one.certs {
			pem += string(pemOf(c))
		}
		certificates = append(certificates, object{"type": string(one.kind), "inline": object{"certs": pem}})
	}
	verifier := fmt.Sprintf("notation-%s", s.Name)
	return object{
		"apiVersion": "config.ratify.sh/v2beta1", "kind": "Executor", "metadata": object{"name": s.Name},
		"spec": object{
			"scopes": s.Repositories,
			"stores": []object{{"type": "registry-store", "parameters": object{"credential": object{"provider": "static"}}}},
			"verifiers": []object{{"name": verifier, "type": "notation", "parameters": object{
				"trustedIdentities": identities, "certificates": certificates}}},
			"policyEnforcer": object{"type": "threshold-policy", "parameters": object{
				"policy": object{"threshold": 1, "rules": []object{{"verifierName": verifier}}}}},
		},
	}
}
