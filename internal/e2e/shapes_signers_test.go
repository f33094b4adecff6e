package e2e

import "time"

// signerShapes have what docker trust signer add makes: a role for each signer, and
// targets/releases.
var signerShapes = map[string]shape{
	"one signer": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", aliceReleases...)
			a.tag("v2", "two", aliceReleases...)
		},
		want: `
			v1: one targets/releases by alice
			v2: two targets/releases by alice`,
	},
	"releases without a signer": {
		publish: func(a *author) {
			a.delegate(releases, "ci")
			a.tag("v1", "one", releases)
		},
		want: `v1: one targets/releases`,
	},
	"two signers of one image": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.addSigner("bob")
			a.tag("v1", "one", aliceReleases...)
			a.tag("v1", "one", bob)
		},
		want: `v1: one targets/releases by alice, bob`,
	},
	"two signers of two images": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.addSigner("bob")
			a.tag("v1", "one", alice)
			a.tag("v1", "two", bobReleases...)
		},
		want: `v1: two targets/releases by bob [roles-disagree]`,
	},
	"releases that no signer agrees with": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", alice)
			a.tag("v1", "two", releases)
		},
		want: `v1: two targets/releases [roles-disagree]`,
	},
	"a tag of a signer alone": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", aliceReleases...)
			a.tag("draft", "two", alice)
		},
		want: `
			draft: signer-only targets/alice
			v1: one targets/releases by alice`,
	},
	"signers and no releases": {
		publish: func(a *author) {
			a.delegate(alice, "alice")
			a.delegate(bob, "bob")
			a.tag("v1", "one", alice)
			a.tag("v1", "two", bob)
			a.tag("v2", "two", bob)
			a.tag("v3", "three")
		},
		want: `
			v1: signer-only targets/alice
			v2: signer-only targets/bob
			v3: three targets [legacy-targets]`,
	},
	"targets and releases agree": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "one", aliceReleases...)
		},
		want: `v1: one targets/releases by alice`,
	},
	"targets and releases differ": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.tag("old", "three")
			a.addSigner("alice")
			a.tag("v1", "two", aliceReleases...)
		},
		want: `
			old: three targets [legacy-targets]
			v1: two targets/releases by alice [roles-disagree]`,
		differs: `docker trust inspect v1: one by Repo Admin; two by alice`,
	},
	"signer and targets agree against releases": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "one", alice)
			a.tag("v1", "two", releases)
		},
		want:    `v1: two targets/releases [roles-disagree]`,
		differs: `docker trust inspect v1: one by alice; two by Repo Admin`,
	},
	"signers who never signed, tags in targets": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
		},
		want: `refused: incomplete`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
	"signers who never signed, no tags": {
		publish: func(a *author) { a.addSigner("alice") },
	},
	"one signer of two who never signed": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.addSigner("bob")
			a.tag("v1", "one", aliceReleases...)
		},
		want: `v1: one targets/releases by alice`,
	},
	"a revoked tag": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "two", aliceReleases...)
			a.tag("v2", "two", aliceReleases...)
			a.remove("v1", aliceReleases...)
			a.remove("v2", aliceReleases...)
		},
		want: `v1: one targets [legacy-targets]`, // the old image is back
	},
	"a tag revoked in releases alone": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", aliceReleases...)
			a.remove("v1", releases)
		},
		want: `v1: signer-only targets/alice`,
	},
	"docker's signer": {
		docker: true,
		publish: func(a *author) {
			a.docker("key", "generate", "alice")
			a.docker("signer", "add", "--key", "alice.pub", "alice", a.gun)
			a.tag("v1", "one", aliceReleases...)
		},
		want: `v1: one targets/releases by alice`,
	},
	"docker's revocation": {
		docker: true,
		publish: func(a *author) {
			a.tag("v1", "one")
			a.docker("key", "generate", "alice")
			a.docker("signer", "add", "--key", "alice.pub", "alice", a.gun)
			a.tag("v1", "two", aliceReleases...)
			a.tag("v2", "two", aliceReleases...)
			a.docker("revoke", "-y", a.gun+":v1")
		},
		want: `
			v1: one targets [legacy-targets]
			v2: two targets/releases by alice`,
	},
	// This uses the notary command: docker trust signer remove of docker 28.2 reports success,
	// exits 0, and removes nothing.
	"a signer removed": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.addSigner("bob")
			a.tag("v1", "one", alice, bob, releases)
			a.unassign(releases, "bob")
			a.dropRole(bob)
		},
		want: `v1: one targets/releases by alice`,
	},
	"a signer's certificate past its date": {
		publish: func(a *author) {
			until := time.Now().Add(6 * time.Second)
			cert := a.certificate("alice", releases, until)
			a.notary("delegation", "add", "-p", a.gun, releases, cert, "--all-paths")
			a.tag("v1", "one", releases)
			time.Sleep(time.Until(until.Add(time.Second))) // the date must have passed
		},
		want: `v1: one targets/releases`,
	},
}
