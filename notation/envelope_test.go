package notation

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// Each part of what an envelope says must be what was asked for.
func TestEnvelopeMustSayWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	ours, another := issued(t), issued(t)
	asked := map[string]string{Prefix + "tag.v1": "targets", "team": "blue"}
	for name, c := range map[string]struct {
		leaf   *x509.Certificate
		change func(d *ocispec.Descriptor)
		ok     bool
	}{
		"as asked":                   {ours.Chain[0], func(*ocispec.Descriptor) {}, true},
		"more of the plugin's own":   {ours.Chain[0], func(d *ocispec.Descriptor) { d.Annotations["plugin"] = "x" }, true},
		"another certificate":        {another.Chain[0], func(*ocispec.Descriptor) {}, false},
		"another digest":             {ours.Chain[0], func(d *ocispec.Descriptor) { d.Digest = digest.FromString("b") }, false},
		"another size":               {ours.Chain[0], func(d *ocispec.Descriptor) { d.Size++ }, false},
		"another media type":         {ours.Chain[0], func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageIndex }, false},
		"metadata left out":          {ours.Chain[0], func(d *ocispec.Descriptor) { delete(d.Annotations, "team") }, false},
		"metadata changed":           {ours.Chain[0], func(d *ocispec.Descriptor) { d.Annotations["team"] = "red" }, false},
		"a role changed":             {ours.Chain[0], func(d *ocispec.Descriptor) { d.Annotations[Prefix+"tag.v1"] = "x" }, false},
		"a tag that nobody asked of": {ours.Chain[0], func(d *ocispec.Descriptor) { d.Annotations[Prefix+"tag.v2"] = "targets" }, false},
	} {
		target := image("a")
		target.Annotations = map[string]string{Prefix + "tag.v1": "targets", "team": "blue"}
		c.change(&target)
		err := Contents{Target: target, Chain: ours.Chain}.expect(IdentityOf(c.leaf), image("a"), asked)
		if (err == nil) != c.ok || errors.Is(err, errLeaf) != (c.leaf == another.Chain[0]) {
			t.Errorf("%s: got error %v, want it accepted: %t", name, err, c.ok)
		}
	}
}

func issued(t *testing.T) *pki.Identity {
	t.Helper()
	ca, err := pki.NewAuthority("expect")
	must(t, err)
	id, err := ca.Issue("release", nil)
	must(t, err)
	return id
}

// A certificate that the key had before is not the one it signs with now.
func TestSignatureWithAnotherCertificateIsNotHandedOut(t *testing.T) {
	t.Parallel()
	for _, capability := range []string{kmstest.RAW, kmstest.ENVELOPE} {
		r := newRig(t, pki.EC256, capability)
		before := issued(t)
		var der [][]byte
		for _, c := range before.Chain {
			der = append(der, c.Raw)
		}
		s, err := Open(context.Background(), r.key, Options{Chain: der})
		must(t, err)
		e, err := s.Sign(context.Background(), image("a"), nil)
		if failure.Of(err) != failure.Security || !errors.Is(err, errLeaf) || !strings.Contains(err.Error(), "--accept-changes") || e.Blob != nil {
			t.Errorf("%s: got error %v and %d bytes, want a Security error that names --accept-changes and no envelope", capability, err, len(e.Blob))
		}
	}
}

// A signature must be over a Notary Project payload, which two readers cannot read differently.
func TestPayloadOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	id := issued(t)
	payload, err := json.Marshal(map[string]any{"targetArtifact": image("a")})
	must(t, err)
	for name, c := range map[string]struct {
		contentType, payload string
		ok                   bool
	}{
		"a payload":       {payloadType, string(payload), true},
		"another type":    {"application/json", string(payload), false},
		"a key twice":     {payloadType, strings.Replace(string(payload), `{"targetArtifact"`, `{"targetArtifact":{},"targetArtifact"`, 1), false},
		"data behind it":  {payloadType, string(payload) + "{}", false},
		"deeper than any": {payloadType, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, false},
	} {
		signer, err := signature.NewLocalSigner(id.Chain, id.Key)
		must(t, err)
		env, err := signature.NewEnvelope(cose.MediaTypeEnvelope)
		must(t, err)
		blob, err := env.Sign(&signature.SignRequest{
			Payload: signature.Payload{ContentType: c.contentType, Content: []byte(c.payload)},
			Signer:  signer, SigningTime: time.Now(), SigningScheme: signature.SigningSchemeX509,
		})
		must(t, err)
		if _, err := Read(cose.MediaTypeEnvelope, blob); (err == nil) != c.ok {
			t.Errorf("%s: got error %v, want it accepted: %t", name, err, c.ok)
		}
	}
}

// The manifest in the ledger must match the envelope and the image, each by itself.
func TestManifestOfSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	s := r.open(t, "jws")
	e, err := s.Sign(context.Background(), image("a"), nil)
	must(t, err)
	for name, change := range map[string]func(m *ocispec.Manifest){
		"another image":    func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("b") },
		"no image":         func(m *ocispec.Manifest) { m.Subject = nil },
		"another envelope": func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("b") },
		"no envelope":      func(m *ocispec.Manifest) { m.Layers = nil },
		"two envelopes":    func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) },
	} {
		var m ocispec.Manifest
		must(t, json.Unmarshal(e.Manifest, &m))
		change(&m)
		other := e
		other.Manifest, err = json.Marshal(m)
		must(t, err)
		other.ManifestDigest = digest.FromBytes(other.Manifest)
		if s.Check(context.Background(), image("a"), other) == nil {
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
	must(t, s.Check(context.Background(), image("a"), e))
}

// A plugin that describes a key other than the requested one is found before it signs.
func TestDescriptionOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	r.misbehave(t, kmstest.Fault{Command: "describe-key", Kind: kmstest.WrongKeyID})
	if _, err := Open(context.Background(), r.key, Options{}); failure.Of(err) != failure.Security {
		t.Errorf("got class %s, error %v, want class %s", failure.Of(err), err, failure.Security)
	}
	if calls, _ := r.plugin.Calls("generate-signature"); len(calls) != 0 {
		t.Errorf("got %d key operations, want 0", len(calls))
	}
}
