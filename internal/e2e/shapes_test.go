package e2e

import (
	"fmt"
	"strings"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// shape is a repository as found in practice, with the expected verdicts.
type shape struct {
	publish func(a *author)
	// want is what dct2notation says, a line for each name: "v1: one targets/releases by alice
	// [flag]", or the reason why it is not signed. A refused repository has one line that starts
	// with "refused".
	want string
	// differs lists where the real tools say something else: "docker pull v1: two". It is complete
	// and exact.
	differs string
	pinned  string // source of the root's pin: one of the constants below
	docker  bool   // it needs the docker command
	begins  bool   // publish also makes the repository
}

// Sources of the root's pin for dct2notation. The notary command gets the same pin.
const (
	byConfig = ""       // a file with the root's keys
	byDocker = "docker" // what docker downloaded before
	byNobody = "nobody"
)

var (
	releases       = "targets/releases"
	alice          = "targets/alice"
	bob            = "targets/bob"
	aliceReleases  = []string{alice, releases}
	bobReleases    = []string{bob, releases}
	everyCharacter = "A.b_c-9"
)

// shapes returns all repositories, by name.
var shapes = merge(plainShapes, nameShapes, keyShapes, signerShapes, roleShapes, memoryShapes)

func merge(all ...map[string]shape) map[string]shape {
	merged := map[string]shape{}
	for _, some := range all {
		for name, s := range some {
			if _, ok := merged[name]; ok {
				panic("two shapes called " + name)
			}
			merged[name] = s
		}
	}
	return merged
}

// many is the number of tags of the repository with many tags.
const many = 500

// plainShapes have only the targets role.
var plainShapes = map[string]shape{
	"nothing signed": {publish: func(a *author) {}},
	"two tags": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.tag("v2", "two")
		},
		want: `
			v1: one targets
			v2: two targets`,
	},
	"one image with three tags": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.tag("stable", "one")
			a.tag("latest", "one")
		},
		want: `
			latest: one targets
			stable: one targets
			v1: one targets`,
	},
	"a tag signed anew": {
		publish: func(a *author) {
			a.tag("latest", "one")
			a.tag("latest", "two")
		},
		want: `latest: two targets`,
	},
	"a tag removed": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.tag("v2", "two")
			a.remove("v1")
		},
		want: `v2: two targets`,
	},
	"all tags removed": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.remove("v1")
		},
	},
	"a tag that waits to be published": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.notary("addhash", a.gun, "v2", "9", "--sha256", a.image("two").Digest.Encoded())
		},
		want: `v1: one targets`,
	},
	"an index": {
		publish: func(a *author) {
			a.tag("v1", "list")
			a.tag("v1-amd64", "one")
		},
		want: `
			v1: list targets
			v1-amd64: one targets`,
	},
	"an image that is gone": {
		publish: func(a *author) {
			a.tag("v1", "one")
			a.tag("v0", "gone")
		},
		want: `
			v0: gone targets
			v1: one targets`,
	},
	"many tags": {
		publish: func(a *author) {
			for i := range many {
				image := a.image([]string{"one", "two", "three"}[i%3])
				a.notary("addhash", a.gun, fmt.Sprintf("v%03d", i), fmt.Sprint(image.Size), "--sha256", image.Digest.Encoded())
			}
			a.notary("publish", a.gun)
		},
		want: manyTags(),
	},
}

func manyTags() string {
	var b strings.Builder
	for i := range many {
		fmt.Fprintf(&b, "v%03d: %s targets\n", i, []string{"one", "two", "three"}[i%3])
	}
	return b.String()
}

// nameShapes have names, digests and sizes that notary accepts, although no image can have them.
var nameShapes = map[string]shape{
	"unusual tags": {
		publish: func(a *author) {
			for _, tag := range []string{"V1", "v1", "_", everyCharacter, "sha256-1", strings.Repeat("x", 128)} {
				a.tag(tag, "one")
			}
			a.tag("V1", "two")
		},
		want: `
			A.b_c-9: one targets
			V1: two targets
			_: one targets
			sha256-1: one targets
			v1: one targets
			` + strings.Repeat("x", 128) + `: one targets`,
	},
	"names that are no tags": {
		publish: func(a *author) {
			for _, name := range []string{"a/b/c", "", "a b", "ü", "v1@x", strings.Repeat("y", 129)} {
				a.tag(name, "one")
			}
		},
		want: `
			: invalid-target
			a b: invalid-target
			a/b/c: invalid-target
			v1@x: invalid-target
			` + strings.Repeat("y", 129) + `: invalid-target
			ü: invalid-target`,
		// docker pull fails before it requests them.
		differs: `
			docker trust inspect : one by Repo Admin
			docker trust inspect a b: one by Repo Admin
			docker trust inspect a/b/c: one by Repo Admin
			docker trust inspect v1@x: one by Repo Admin
			docker trust inspect ` + strings.Repeat("y", 129) + `: one by Repo Admin
			docker trust inspect ü: one by Repo Admin
			notary list : one targets
			notary list a b: one targets
			notary list a/b/c: one targets
			notary list v1@x: one targets
			notary list ` + strings.Repeat("y", 129) + `: one targets
			notary list ü: one targets`,
	},
	"other hashes": {
		publish: func(a *author) {
			long := strings.Repeat("12", 64)
			a.addhash("only", "500", "--sha512", long)
			a.addhash("both", "500", "--sha512", long, "--sha256", a.image("one").Digest.Encoded())
		},
		want: `
			both: one targets
			only: invalid-target`,
	},
	"sizes that are none": {
		publish: func(a *author) {
			hex := a.image("one").Digest.Encoded()
			a.addhash("zero", "0", "--sha256", hex)
			a.addhash("less", "--sha256", hex, "--", "-5")
			a.addhash("wrong", "77", "--sha256", hex)
		},
		want: `
			less: invalid-target
			wrong: one targets
			zero: invalid-target`,
		differs: `
			docker pull less: one
			docker pull zero: one
			docker trust inspect less: one by Repo Admin
			docker trust inspect zero: one by Repo Admin
			notary list less: one targets
			notary list zero: one targets`,
	},
	"custom data": {
		publish: func(a *author) {
			file := a.home.path("custom.json")
			servertest.WriteFile(a.t, file, []byte(`{"V1":1,"built":"by hand","v1":2}`))
			a.addhash("v1", "500", "--sha256", a.image("one").Digest.Encoded(), "--custom", file)
		},
		want: `v1: one targets`,
	},
}
