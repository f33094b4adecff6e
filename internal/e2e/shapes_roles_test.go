package e2e

import "time"

// roleShapes have roles that docker does not make, or roles that were removed.
var roleShapes = map[string]shape{
	"a role below releases hides targets": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v2", "two", releases)
			a.delegate(releases+"/nested", "carol")
			a.tag("v1", "three", releases+"/nested")
		},
		want: `
			v1: shadowed targets/releases/nested
			v2: two targets/releases`,
		differs: `docker trust inspect v1: one by Repo Admin`,
	},
	"a role below releases agrees": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", releases)
			a.delegate(releases+"/nested", "carol")
			a.tag("v1", "one", releases+"/nested")
			a.tag("v2", "two", releases+"/nested")
		},
		want: `
			v1: one targets/releases by releases/nested
			v2: signer-only targets/releases/nested`,
	},
	"a role below a signer": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.delegate(alice+"/ci", "robot")
			a.tag("v1", "one", releases, alice+"/ci")
			a.tag("v2", "two", alice+"/ci")
		},
		want: `
			v1: one targets/releases by alice/ci
			v2: signer-only targets/alice/ci`,
	},
	"releases for some tags": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.delegate(releases, "carol", "rc-", "beta")
			a.tag("rc-1", "two", releases)
			a.tag("beta", "three", releases)
		},
		want: `
			beta: three targets/releases
			rc-1: two targets/releases
			v1: one targets [legacy-targets]`,
	},
	"releases lost some tags": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.delegate(releases, "carol", "rc-", "v")
			a.tag("rc-1", "two", releases)
			a.tag("v1", "two", releases)
			a.tag("v2", "two", releases)
			a.notary("delegation", "remove", "-p", a.gun, releases, "--paths", "v")
		},
		want: `
			rc-1: two targets/releases
			v1: one targets [legacy-targets]
			v2: unreachable-target`,
		// docker trust inspect ignores paths if it is asked for all tags.
		differs: `
			docker trust inspect v1: one by Repo Admin; two by Repo Admin
			docker trust inspect v2: two by Repo Admin`,
	},
	"two keys in releases, one signs": {
		publish: func(a *author) {
			a.delegate(releases, "carol")
			a.stranger("dave", time.Now().AddDate(1, 0, 0))
			a.delegate(releases, "dave")
			a.tag("v1", "one", releases)
		},
		want: `v1: one targets/releases`,
	},
	"releases signed by a key that was taken away": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "two", aliceReleases...)
			a.addSigner("bob")
			a.unassign(releases, "alice")
		},
		want: `refused: security`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
	"releases signed anew after a key was taken away": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.addSigner("bob")
			a.tag("v1", "two", alice, bob, releases)
			a.unassign(releases, "alice")
			a.notary("witness", "-p", a.gun, releases)
		},
		want:    `v1: two targets/releases by alice, bob [roles-disagree]`,
		differs: `docker trust inspect v1: one by Repo Admin; two by alice, bob`,
	},
	"a signer whose key was purged": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.addSigner("bob")
			a.tag("v1", "one", alice, bob, releases)
			a.notary("delegation", "purge", "-p", a.gun, "--key", a.keyOf(alice))
		},
		want: `refused: security`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by bob
			notary list v1: one targets/releases`,
	},
	"releases taken away": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "two", aliceReleases...)
			a.tag("v2", "two", aliceReleases...)
			a.dropRole(releases)
		},
		want: `
			v1: one targets [legacy-targets roles-disagree]
			v2: signer-only targets/alice`,
	},
	"all roles taken away": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "two", aliceReleases...)
			a.tag("v2", "two", aliceReleases...)
			a.dropRole(releases)
			a.dropRole(alice)
		},
		want: `v1: one targets`,
	},
	"releases taken away and given to another": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.addSigner("alice")
			a.tag("v1", "two", aliceReleases...)
			a.dropRole(releases)
			a.delegate(releases, "bob")
		},
		want: `refused: security`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
}
