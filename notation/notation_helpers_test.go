package notation

import (
	"context"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a plugin with one key, and the authority that issued its certificate.
type rig struct {
	ca     *pki.Identity
	plugin *kmstest.Plugin
	keys   map[string]pki.Files
	key    Key
	raw    bool
}

func newRig(t *testing.T, algorithm pki.Algorithm, capability string) *rig {
	t.Helper()
	ca, err := pki.NewAuthority("notation test")
	must(t, err)
	key, err := pki.NewKey("release", algorithm)
	must(t, err)
	id, err := ca.Issue("release", key)
	must(t, err)
	saved, err := id.Save(t.TempDir(), "release")
	must(t, err)
	r := &rig{ca: ca, keys: map[string]pki.Files{"release": saved}, raw: capability == kmstest.RAW}
	r.plugin, err = kmstest.Install(t.TempDir(), kmstest.Behaviour{Keys: r.keys, Capability: capability})
	must(t, err)
	r.key = Key{Name: "release", Plugin: kmstest.Name, ID: "release", Config: r.plugin.Config(), PluginPath: r.plugin.Path, Timeout: 5 * time.Second}
	return r
}

// command returns the command that spends a key operation.
func (r *rig) command() string {
	if r.raw {
		return "generate-signature"
	}
	return "generate-envelope"
}

// misbehave makes the next calls of a command fail.
func (r *rig) misbehave(t *testing.T, f kmstest.Fault) {
	t.Helper()
	b := kmstest.Behaviour{Keys: r.keys, Faults: []kmstest.Fault{f}}
	if !r.raw {
		b.Capability = kmstest.ENVELOPE
	}
	must(t, r.plugin.Set(b))
}

func (r *rig) open(t *testing.T, format string) *Signer {
	t.Helper()
	s, err := Open(context.Background(), r.key, Options{Format: format})
	must(t, err)
	return s
}

func image(name string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: 42}
}
