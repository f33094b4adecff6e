package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// note is an envelope that says in the clear what a signature would say.
type note struct {
	Key      string        `json:"key"`
	Manifest digest.Digest `json:"manifest"`
	At       time.Time     `json:"at"`
}

const noteType = "application/vnd.dct2notation.test-note"

// notary is a Signer whose signatures are notes.
type notary struct {
	key    string
	at     time.Time
	attest func(v Verified) error // called first, if not nil
	signed []string               // GUNs
}

func (n *notary) Ours(_ context.Context, manifest ocispec.Descriptor, mediaType string, envelope []byte) (bool, error) {
	var found note
	return mediaType == noteType && json.Unmarshal(envelope, &found) == nil && found.Key == n.key && found.Manifest == manifest.Digest, nil
}

func (n *notary) Attest(_ context.Context, v Verified) (Signature, error) {
	if n.attest != nil {
		if err := n.attest(v); err != nil {
			return Signature{}, err
		}
	}
	n.signed = append(n.signed, v.GUN().String())
	return n.over(v.Manifest())
}

// over makes the signature of a manifest, in the form of notation-go 1.3.
func (n *notary) over(manifest ocispec.Descriptor) (Signature, error) {
	envelope, err := json.Marshal(note{n.key, manifest.Digest, n.at})
	if err != nil {
		return Signature{}, err
	}
	config := ocispec.DescriptorEmptyJSON
	config.MediaType, config.Data = signatureType, nil
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers:  []ocispec.Descriptor{{MediaType: noteType, Digest: sumOf(envelope), Size: int64(len(envelope))}},
		Subject: &ocispec.Descriptor{MediaType: manifest.MediaType, Digest: manifest.Digest, Size: manifest.Size},
	})
	return Signature{noteType, envelope, raw}, err
}

// trusting is a Judge that trusts one key.
type trusting string

func (k trusting) Judge(_ context.Context, _ dct.GUN, manifest ocispec.Descriptor, _ string, envelope []byte) (Verdict, error) {
	var found note
	switch err := json.Unmarshal(envelope, &found); {
	case err != nil:
		return Verdict{Reason: err.Error()}, nil
	case found.Key != string(k):
		return Verdict{Reason: "by " + found.Key}, nil
	case found.Manifest != manifest.Digest:
		return Verdict{Reason: "over another manifest"}, nil
	}
	return Verdict{Trusted: true, At: found.At, Leaf: found.Key}, nil
}

// sign saves everything and lets a notary sign it.
func (s *scene) sign(t testing.TB, dir string, n *notary) Summary {
	t.Helper()
	o := atNoon()
	o.Signer = n
	sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), o)
	must(t, err)
	return sum
}

// later reads a repository from a snapshot at a time when its timestamp has expired.
func (s *scene) later(t testing.TB, dir, name string, judge Judge, allow ...string) (*dct.Repository, error) {
	t.Helper()
	saved := opened(t, dir)
	reader := s.reader()
	reader.Source, reader.TimeAttestation, reader.AllowExpired = saved, saved.TimeAttestation(judge), allow
	reader.At = time.Now().AddDate(0, 0, 20) // timestamps live for 14 days
	return reader.Read(t.Context(), gun(t, name), dct.Known{})
}

var errKey = errors.New("the key refuses")
