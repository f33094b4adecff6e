package verify

import "slices"

// The products whose own checks are known.
const (
	DockerHub  = "docker-hub"
	ACR        = "acr"
	Harbor     = "harbor"
	MSR        = "msr"
	SelfHosted = "self-hosted"
)

// Products returns the names of all products, sorted.
func Products() []string { return []string{ACR, DockerHub, Harbor, MSR, SelfHosted} }

// gateDigests is the manual check for which a list of what runs is evidence.
const gateDigests = "digests"

// checklist returns the checks that only people can make: those for all products, and those for the named ones.
// Sources: the vendors' pages, and measurements.
func checklist(products []string) []Gate {
	gates := []Gate{
		{ID: "enforced", Title: "every consumer enforces the Notation policy, and refused an unsigned image when that was tried", Hint: "policy writes the trust policies; try each with an image that nobody signed"},
		{ID: gateDigests, Title: "what runs by digest was looked at: DCT let every pull by digest pass, and Notation does not", Hint: "ready --running lists what Notation will refuse of what runs: sign or replace it"},
		{ID: "readers", Title: "no client has read from the Notary server for longer than the longest interval of any job", Hint: "look in the server's access log; a pull with DCT asks for timestamp.json"},
		{ID: "clients", Title: "DOCKER_CONTENT_TRUST and DOCKER_CONTENT_TRUST_SERVER are unset in CI and on hosts", Hint: "docker CLI 29 and later checks nothing, with the variable or without: what relies on it is not protected today"},
		{ID: "admission", Title: "no admission rule asks for DCT any more: Portieris' trust, Connaisseur's notaryv1, MCR's content-trust"},
		{ID: "writers", Title: "no pipeline signs with DCT any more", Hint: "look for docker trust sign, notary publish, and docker push with DOCKER_CONTENT_TRUST=1"},
		{ID: "kept", ofSnapshot: true, Title: "the snapshot is in two places, neither of which is the Notary server's, and was restored once"},
		{ID: "withdrawal", Title: "people know how an image is withdrawn now: its signature is deleted or its certificate revoked, where DCT removed a target"},
	}
	own := map[string][]Gate{
		DockerHub: {
			{ID: "docker-hub-date", Title: "all is done before 2026-12-08, when notary.docker.io ends", Hint: "there is nothing to switch off; what was not saved by then is lost"},
			{ID: "docker-hub-official", Title: "images of others, such as Docker's official ones, have an owner for their signatures", Hint: "re-sign only what you own: official images have no successor signature"},
		},
		ACR: {
			{ID: "acr-order", ofSnapshot: true, Title: "the snapshot was taken before content trust is disabled", Hint: "az acr config content-trust update -r NAME --status disabled deletes all trust data of the registry, and cannot be undone"},
			{ID: "acr-date", Title: "content trust is disabled before 2028-03-31, when Azure removes it"},
		},
		Harbor: {
			{ID: "harbor-order", Title: "every image was signed with Notation before a project's policy asks for it", Hint: "enable_content_trust means Notary v1 before Harbor 2.9 and Notation from there on: upgrading with it on blocks what DCT alone signed"},
			{ID: "harbor-signers", Title: "signing was tested under the policy, which also blocks signers from pulling unsigned images", Hint: "412 PROJECTPOLICYVIOLATION: sign first, and enable the policy after"},
		},
		MSR: {
			{ID: "msr-delete", Title: "it is known that a repository with trust data can only be deleted after notary delete GUN --remote"},
			{ID: "msr-version", Title: "the upgrade of MSR that drops Notary is planned: 2.9 ends 2027-03-24, and its notary containers cannot be removed alone"},
		},
		SelfHosted: {
			{ID: "self-hosted-dumps", ofSnapshot: true, Title: "the databases of server and signer were dumped after the writers stopped", Hint: "the signer's database has the timestamp and snapshot keys, encrypted"},
			{ID: "self-hosted-readonly", Title: "the server was read-only for a while before it is removed"},
		},
	}
	for _, p := range Products() {
		if slices.Contains(products, p) {
			gates = append(gates, own[p]...)
		}
	}
	return gates
}
