package e2e

// keyShapes have keys that were changed.
var keyShapes = map[string]shape{
	"snapshot key with the owner": {
		publish: func(a *author) {
			a.rotate("snapshot")
			a.tag("v1", "one")
		},
		want: `v1: one targets`,
	},
	"snapshot key to the owner and back": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("snapshot")
			a.tag("v2", "two")
			a.rotate("snapshot", "-r")
			a.tag("v3", "three")
		},
		want: `
			v1: one targets
			v2: two targets
			v3: three targets`,
	},
	"new targets key": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("targets")
			a.tag("v2", "two")
		},
		want: `
			v1: one targets
			v2: two targets`,
	},
	"new targets key and signers": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", aliceReleases...)
			a.rotate("targets")
			a.tag("v2", "two", aliceReleases...)
		},
		want: `
			v1: one targets/releases by alice
			v2: two targets/releases by alice`,
	},
	"new timestamp key": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("timestamp", "-r")
		},
		want: `v1: one targets`,
	},
	"all keys new": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("root")
			a.rotate("targets")
			a.rotate("snapshot", "-r")
			a.rotate("timestamp", "-r")
			a.tag("v2", "two")
		},
		want: `
			v1: one targets
			v2: two targets`,
	},
	"new root": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("root")
		},
		want: `v1: one targets`,
	},
	"three new roots": {
		publish: func(a *author) {
			a.tag("v1", "one")
			for range 3 {
				a.rotate("root")
			}
			a.tag("v2", "two")
		},
		want: `
			v1: one targets
			v2: two targets`,
	},
	"a root of two keys": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("root", "-k", a.rootKey("first"), "-k", a.rootKey("second"))
		},
		want: `v1: one targets`,
	},
	"a root signed for old clients": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.rotate("root")
			a.rotate("root", "-l", "1")
		},
		want: `v1: one targets`,
	},
	"signed again as it was": {
		publish: func(a *author) {
			a.addSigner("alice")
			a.tag("v1", "one", aliceReleases...)
			a.notary("witness", "-p", a.gun, "targets", releases, alice)
		},
		want: `v1: one targets/releases by alice`,
	},
}

// memoryShapes differ in what the tools, or we, knew before.
var memoryShapes = map[string]shape{
	"three new roots since docker looked": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.look()
			for range 3 {
				a.rotate("root")
			}
			a.tag("v2", "two")
		},
		docker: true,
		pinned: byDocker,
		want: `
			v1: one targets
			v2: two targets`,
	},
	"root of which nothing is known": {
		publish: func(a *author) { a.tag("v1", "one") },
		pinned:  byNobody,
		want:    `refused: unpinned`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
	"root pinned for all repositories of a registry": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.pins = map[string]any{"certs": map[string][]string{a.registry.host + "/*": a.rootKeyIDs()}}
		},
		want: `v1: one targets`,
	},
	"root of a pinned authority": {
		begins: true,
		publish: func(a *author) {
			theirs := a.authority("theirs")
			a.initCertified(theirs)
			a.tag("v1", "one")
			theirs.pin(a)
		},
		want: `v1: one targets`,
	},
	// Docker reads no pins, and trusts what it sees first.
	"root of another authority": {
		begins: true,
		publish: func(a *author) {
			a.initCertified(a.authority("theirs"))
			a.tag("v1", "one")
			a.authority("others").pin(a)
		},
		want: `refused: security`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin`,
	},
	"another root than the pinned one": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.look()
			a.pin()
			a.rotate("root")
		},
		want: `refused: security`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
	"made anew under the same name": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.look()
			a.notary("delete", a.gun, "--remote")
			a.notary("init", "-p", a.gun, "--rootkey", a.rootKey("other"))
			a.rotate("snapshot", "-r") // otherwise its version is refused
			a.tag("v1", "two")
		},
		docker: true,
		pinned: byDocker,
		want:   `refused: security`,
	},
	"trust data deleted": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.look()
			a.pin()
			a.notary("delete", a.gun, "--remote")
		},
		want: `refused: unsigned`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
	"server gone": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.look()
			a.leave()
		},
		want: `refused: transient`,
		differs: `
			docker pull v1: one
			docker trust inspect v1: one by Repo Admin
			notary list v1: one targets`,
	},
}
