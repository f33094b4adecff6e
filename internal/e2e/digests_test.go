package e2e

import (
	"maps"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/kmstest"
)

// A shape is a repository as people leave it: what was published, and which digests docker
// would use in the end, by tag.
type shape struct {
	publish func(p *publisher, images []ocispec.Descriptor)
	want    map[string]int // index of the image, by tag
	// lookup are the tags that only targets has, which notary lookup is asked about too.
	lookup []string
}

var shapes = map[string]shape{
	"plain-targets": {
		publish: func(p *publisher, i []ocispec.Descriptor) {
			p.sign("v1", i[0])
			p.sign("v2", i[1])
		},
		want: map[string]int{"v1": 0, "v2": 1}, lookup: []string{"v1", "v2"},
	},
	"releases-and-signer": {
		publish: func(p *publisher, i []ocispec.Descriptor) {
			p.addSigner("alice")
			p.sign("v1", i[0], "targets/alice", "targets/releases")
			p.sign("alone", i[1], "targets/alice") // docker does not trust it
		},
		want: map[string]int{"v1": 0},
	},
	"both-roles-differ": {
		publish: func(p *publisher, i []ocispec.Descriptor) {
			p.sign("v1", i[0])
			p.sign("old", i[2])
			p.addSigner("alice")
			p.sign("v1", i[1], "targets/alice", "targets/releases")
		},
		want: map[string]int{"v1": 1, "old": 2}, lookup: []string{"old"},
	},
	"removed-tag": {
		publish: func(p *publisher, i []ocispec.Descriptor) {
			p.sign("v1", i[0])
			p.sign("v2", i[1])
			p.remove("v2")
			p.addSigner("alice")
			p.sign("v1", i[2], "targets/alice", "targets/releases")
			p.remove("v1", "targets/alice", "targets/releases") // the old digest is back
		},
		want: map[string]int{"v1": 0}, lookup: []string{"v1"},
	},
	"tags-on-one-digest": {
		publish: func(p *publisher, i []ocispec.Descriptor) {
			p.sign("v1", i[0])
			p.addSigner("alice")
			p.sign("stable", i[0], "targets/alice", "targets/releases")
			p.sign("latest", i[1], "targets/alice", "targets/releases")
			p.sign("latest", i[0], "targets/alice", "targets/releases") // signed anew
		},
		want: map[string]int{"v1": 0, "stable": 0, "latest": 0}, lookup: []string{"v1"},
	},
	"two-signers": {
		publish: func(p *publisher, i []ocispec.Descriptor) {
			p.addSigner("alice")
			p.addSigner("bob")
			p.sign("v1", i[0], "targets/alice")
			p.sign("v1", i[1], "targets/bob", "targets/releases")
		},
		want: map[string]int{"v1": 1},
	},
}

// TestDigestsEqualNotarysList compares the digests that plan chooses with those that the
// real notary command lists with docker's order of roles, and both with what the shape
// says.
func TestDigestsEqualNotarysList(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	registry := startDockerRegistry(t, nil, "", "")
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var images []ocispec.Descriptor
			for _, seed := range []string{"one", "two", "three"} {
				images = append(images, registry.push(t, name, seed))
			}
			p := notary.init(t, registry.host+"/"+name)
			shape.publish(p, images)
			m := &migration{home: newHome(t), registry: registry, notary: notary, pins: pinFile(t, p)}
			m.addKey(t, "release", issue(t, newAuthority(t, "ours"), "release", kmstest.EC256))

			got, list := m.planned(t, p.gun), p.list()
			if !maps.Equal(got, list) {
				t.Errorf("plan has %v, notary list %v", got, list)
			}
			for tag, i := range shape.want {
				if got[tag].digest != images[i].Digest.String() {
					t.Errorf("tag %s has %s, want %s", tag, got[tag].digest, images[i].Digest)
				}
			}
			if len(got) != len(shape.want) {
				t.Errorf("plan has %v, want the tags of %v", got, shape.want)
			}
			for _, tag := range shape.lookup {
				if digest, err := p.lookup(tag); err != nil || digest != got[tag].digest {
					t.Errorf("notary lookup of %s: %s, %v; plan has %s", tag, digest, err, got[tag].digest)
				}
			}
		})
	}
}

// planned is what plan would sign: digest and role by tag.
func (m *migration) planned(t testing.TB, gun string) map[string]listed {
	t.Helper()
	var plan struct {
		Repositories []struct {
			Items []struct {
				Digest string `json:"digest"`
				Action string `json:"action"`
				Tags   []struct {
					Tag  string `json:"tag"`
					Role string `json:"role"`
				} `json:"tags"`
			} `json:"items"`
		} `json:"repositories"`
	}
	decode(t, m.exits(t, 0, "plan", "-o", "json", gun), &plan)
	rows := map[string]listed{}
	for _, repo := range plan.Repositories {
		for _, it := range repo.Items {
			if it.Action != "sign" {
				t.Errorf("plan would %s %s", it.Action, it.Digest)
			}
			for _, tag := range it.Tags {
				rows[tag.Tag] = listed{it.Digest, tag.Role}
			}
		}
	}
	return rows
}
