package notation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

func TestSignedEnvelopeIsOfTheKeyAndTheImage(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []pki.Algorithm{pki.RSA2048, pki.RSA3072, pki.EC256, pki.EC384, pki.EC521} {
		for _, capability := range []string{kmstest.RAW, kmstest.ENVELOPE} {
			for _, format := range []string{"jws", "cose"} {
				t.Run(fmt.Sprint(algorithm, capability, format), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, algorithm, capability)
					s := r.open(t, format)
					metadata := map[string]string{Prefix + "tag.v1": "targets"}
					e, err := s.Sign(context.Background(), image("a"), metadata)
					must(t, err)
					if e.MediaType != formats[format] || e.Leaf != s.Leaf() || e.Metadata[Prefix+"tag.v1"] != "targets" {
						t.Errorf("got envelope %+v, want media type %s, leaf %s, tag targets", e, formats[format], s.Leaf())
					}
					must(t, s.Check(context.Background(), image("a"), e))
					got, _, ours, _ := s.Recognise(context.Background(), image("a"), e.MediaType, e.Blob)
					if !ours || got.Target.Annotations[Prefix+"tag.v1"] != "targets" {
						t.Errorf("got ours %t, metadata %v, want true, tag targets", ours, got)
					}
					if _, _, ours, _ := s.Recognise(context.Background(), image("b"), e.MediaType, e.Blob); ours {
						t.Error("got it recognised as another image's, want it unknown")
					}
				})
			}
		}
	}
}

// A signature that expires is ours until then. It is refused if its expiry was left out.
func TestSignatureExpiresAsAsked(t *testing.T) {
	t.Parallel()
	for _, capability := range []string{kmstest.RAW, kmstest.ENVELOPE} {
		for _, format := range []string{"jws", "cose"} {
			r := newRig(t, pki.EC256, capability)
			s, err := Open(context.Background(), r.key, Options{Format: format, Expiry: time.Hour})
			must(t, err)
			e, err := s.Sign(context.Background(), image("a"), nil)
			if capability == kmstest.ENVELOPE && err != nil {
				// The tests' plugin knows no expiry: nothing may be signed without it.
				if failure.Of(err) != failure.Security || !strings.Contains(err.Error(), "without the expiry") {
					t.Errorf("%s: got error %v, want class %s with \"without the expiry\"", capability, err, failure.Security)
				}
				continue
			}
			must(t, err)
			c, err := Read(e.MediaType, e.Blob)
			must(t, err)
			if !c.Expires.Equal(c.SigningTime.Add(time.Hour)) {
				t.Errorf("%s %s: got it expire at %s, want %s", capability, format, c.Expires, c.SigningTime.Add(time.Hour))
			}
			for later, ours := range map[time.Duration]bool{time.Minute: true, time.Hour - 1: true, time.Hour: false, 2 * time.Hour: false} {
				s.now = func() time.Time { return c.SigningTime.Add(later) }
				if _, _, got, _ := s.Recognise(context.Background(), image("a"), e.MediaType, e.Blob); got != ours {
					t.Errorf("%s %s: got ours %t after %s, want %t", capability, format, got, later, ours)
				}
				if err := s.Check(context.Background(), image("a"), e); errors.Is(err, ErrEnded) == ours || ours != (err == nil) {
					t.Errorf("%s %s: got %v after %s, want ErrEnded: %t", capability, format, err, later, !ours)
				}
			}
		}
	}
}

// A plugin is asked once for its metadata and once for its key, and once for each signature,
// including the proof of the key.
func TestPluginIsAskedOnceForItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	s := r.open(t, "jws")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := s.Sign(context.Background(), image(fmt.Sprint(i)), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for command, want := range map[string]int{"get-plugin-metadata": 1, "describe-key": 1, "generate-signature": 9} {
		calls, err := r.plugin.Calls(command)
		must(t, err)
		if len(calls) != want {
			t.Errorf("got %s called %d times, want %d", command, len(calls), want)
		}
	}
	// With a chain known from before, there is no proof.
	again, err := Open(context.Background(), r.key, Options{Chain: s.Chain()})
	must(t, err)
	if calls, _ := r.plugin.Calls("generate-signature"); len(calls) != 9 || again.Leaf() != s.Leaf() {
		t.Errorf("got %d key operations, leaf %s, want 9, %s", len(calls), again.Leaf(), s.Leaf())
	}
}

// A chain known from a ledger is proven with one operation, by the first that needs it, unless the
// key has signed or the configuration names the certificate. A chain that is not the key's is
// refused for good.
func TestKnownChainIsProvenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	known := r.open(t, "jws")
	stranger, err := r.ca.Issue("release", nil)
	must(t, err)
	var forged [][]byte
	for _, c := range stranger.Chain {
		forged = append(forged, c.Raw)
	}
	sign := func(s *Signer) error {
		_, err := s.Sign(context.Background(), image("a"), nil)
		return err
	}
	for name, c := range map[string]struct {
		chain    [][]byte
		accepted []Identity
		before   func(*Signer) error
		proofs   int
		ok       bool
	}{
		"the key's":                            {known.Chain(), nil, nil, 1, true},
		"the key's, and it has signed":         {known.Chain(), nil, sign, 0, true},
		"the key's, which is configured":       {known.Chain(), []Identity{known.Identity()}, nil, 0, true},
		"another's":                            {forged, nil, nil, 1, false},
		"another's, with the key's configured": {forged, []Identity{known.Identity()}, nil, 1, false},
		"none is known, and the key is asked":  {nil, nil, nil, 1, true},
	} {
		s, err := Open(context.Background(), r.key, Options{Chain: c.chain, Accepted: c.accepted})
		must(t, err)
		if c.before != nil {
			must(t, c.before(s))
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				err := s.Prove(context.Background())
				if (err == nil) != c.ok || !c.ok && (failure.Of(err) != failure.Security || !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), "--accept-changes")) {
					t.Errorf("%s: got %v, want it proven %t", name, err, c.ok)
				}
			})
		}
		wg.Wait()
		if got := s.Calls().Proofs; got != c.proofs {
			t.Errorf("%s: got %d proofs, want %d", name, got, c.proofs)
		}
	}
}

// A failed proof says nothing about the certificate, and is tried again.
func TestProofThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	s, err := Open(context.Background(), r.key, Options{Chain: r.open(t, "jws").Chain()})
	must(t, err)
	r.misbehave(t, kmstest.Fault{Command: "generate-signature", Kind: kmstest.AccessDenied, Nth: 1})
	if err := s.Prove(context.Background()); failure.Of(err) != failure.Denied {
		t.Errorf("got %v, want the key's refusal", err)
	}
	if err := s.Prove(context.Background()); err != nil {
		t.Errorf("again: got error %v, want none", err)
	}
}

// Signatures of an accepted identity count as the key's, but none is made or pushed in its name.
func TestAcceptedIdentityIsRecognisedAndNotChecked(t *testing.T) {
	t.Parallel()
	before, now := newRig(t, pki.EC256, kmstest.RAW), newRig(t, pki.EC256, kmstest.RAW)
	old := before.open(t, "jws")
	e, err := old.Sign(context.Background(), image("a"), nil)
	must(t, err)
	s, err := Open(context.Background(), now.key, Options{Accepted: []Identity{old.Identity()}})
	must(t, err)
	if _, by, ours, _ := s.Recognise(context.Background(), image("a"), e.MediaType, e.Blob); !ours || !by.Equal(old.Identity()) {
		t.Errorf("got ours %t, by %s, want it by %s", ours, by, old.Identity())
	}
	if _, _, ours, _ := s.Recognise(context.Background(), image("b"), e.MediaType, e.Blob); ours {
		t.Error("got it recognised as another image's, want it unknown")
	}
	if err := s.Check(context.Background(), image("a"), e); !errors.Is(err, ErrCertificate) {
		t.Errorf("got %v, want it refused as another certificate's", err)
	}
}

// A signer shared by workers mixes up no images, also with a plugin that makes the envelopes: what
// is signed for an image, and what its manifest says, is its own and nothing else. notation-go's
// signer keeps the annotations of one call for the next.
func TestSignerIsSharedByWorkers(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"jws", "cose"} {
		r := newRig(t, pki.EC256, kmstest.ENVELOPE)
		b := kmstest.Behaviour{Keys: r.keys, Capability: kmstest.ENVELOPE, Annotations: map[string]string{"of {digest}": "{digest}", "plugin": "kmstest"}}
		must(t, r.plugin.Set(b))
		s := r.open(t, format)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 48 {
			wg.Go(func() {
				<-start
				name := fmt.Sprint("image", i)
				metadata := map[string]string{Prefix + "gun": "registry.example.com/" + name, Prefix + "tag." + name: "targets"}
				e, err := s.Sign(context.Background(), image(name), metadata)
				if err != nil {
					t.Error(err)
					return
				}
				checkOwn(t, s, image(name), metadata, e)
			})
		}
		close(start)
		wg.Wait()
	}
}

// checkOwn searches the bytes of an envelope and its manifest for another image's data.
func checkOwn(t *testing.T, s *Signer, image ocispec.Descriptor, metadata map[string]string, e Envelope) {
	t.Helper()
	c, err := Read(e.MediaType, e.Blob)
	if err != nil {
		t.Error(err)
		return
	}
	if err := s.Check(context.Background(), image, e); err != nil || c.Target.Digest != image.Digest || !maps.Equal(c.Target.Annotations, metadata) || !maps.Equal(e.Metadata, metadata) {
		t.Errorf("%s: got it signed with %s and %v, error %v, want its digest and %v", image.Digest, c.Target.Digest, c.Target.Annotations, err, metadata)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(e.Manifest, &manifest); err != nil {
		t.Error(err)
		return
	}
	want := map[string]string{"of " + image.Digest.String(): image.Digest.String(), "plugin": "kmstest"}
	for _, name := range []string{ocispec.AnnotationCreated, "io.cncf.notary.x509chain.thumbprint#S256"} {
		want[name] = manifest.Annotations[name]
	}
	if !maps.Equal(manifest.Annotations, want) {
		t.Errorf("manifest of %s: got %v, want %v", image.Digest, manifest.Annotations, want)
	}
}

// The same envelope makes the same manifest, so pushing it again makes no second signature.
func TestManifestIsAFunctionOfTheEnvelope(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	s := r.open(t, "cose")
	e, err := s.Sign(context.Background(), image("a"), nil)
	must(t, err)
	other := e
	other.Manifest = append(bytes.Clone(e.Manifest), ' ')
	other.ManifestDigest = digest.FromBytes(other.Manifest)
	for name, c := range map[string]struct {
		envelope Envelope
		image    string
	}{
		"another image": {e, "b"}, "another manifest": {Envelope{MediaType: e.MediaType, Blob: e.Blob, Manifest: []byte("{}"), ManifestDigest: digest.FromString("{}")}, "a"},
		"another digest": {Envelope{MediaType: e.MediaType, Blob: e.Blob, Manifest: e.Manifest, ManifestDigest: digest.FromString("")}, "a"},
		"a broken blob":  {Envelope{MediaType: e.MediaType, Blob: e.Blob[1:], Manifest: e.Manifest, ManifestDigest: e.ManifestDigest}, "a"},
	} {
		if s.Check(context.Background(), image(c.image), c.envelope) == nil {
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
}

func TestKeyInFiles(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("files")
	must(t, err)
	dir := t.TempDir()
	issue := func(name string, change ...func(*x509.Certificate)) Key {
		id, err := ca.Issue(name, nil, change...)
		must(t, err)
		saved, err := id.Save(dir, name)
		must(t, err)
		return Key{Name: name, KeyFile: saved.KeyFile, CertFile: saved.ChainFile}
	}
	good := issue("good")
	s, err := Open(context.Background(), good, Options{})
	must(t, err)
	e, err := s.Sign(context.Background(), image("a"), nil)
	must(t, err)
	must(t, s.Check(context.Background(), image("a"), e))

	expired := issue("expired", pki.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
	if _, err := Open(context.Background(), expired, Options{}); failure.Of(err) != failure.Denied || !strings.Contains(err.Error(), "must be valid now") {
		t.Errorf("expired: got error %v, want class %s with \"must be valid now\"", err, failure.Denied)
	}
	mixed := Key{Name: "mixed", KeyFile: good.KeyFile, CertFile: issue("other").CertFile}
	if _, err := Open(context.Background(), mixed, Options{}); err == nil {
		t.Error("a key with another's certificate: got no error, want it refused")
	}
	if _, err := Open(context.Background(), Key{Name: "x", KeyFile: filepath.Join(dir, "none"), CertFile: filepath.Join(dir, "none")}, Options{}); !errors.Is(err, os.ErrNotExist) || !errors.Is(err, ErrFile) {
		t.Errorf("no file: got error %v, want %v", err, ErrFile)
	}
	for name, block := range map[string]*pem.Block{
		"PKCS#8":                  {Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")},
		"openssl's own of before": {Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")},
	} {
		file := filepath.Join(dir, "encrypted.key")
		must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
		if _, err := Open(context.Background(), Key{Name: "x", KeyFile: file, CertFile: good.CertFile}, Options{}); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "encrypted.key is encrypted") || !strings.Contains(err.Error(), "hint: openssl pkey") {
			t.Errorf("%s: got %v, want that it is encrypted, and what helps", name, err)
		}
	}
}

// An expired certificate is found before a key operation is spent, even in the middle of a run.
func TestExpiredCertificateSpendsNoKeyOperation(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	now := time.Now()
	s, err := Open(context.Background(), r.key, Options{Now: func() time.Time { return now }})
	must(t, err)
	now = s.NotAfter().Add(time.Second)
	if _, err := s.Sign(context.Background(), image("a"), nil); failure.Of(err) != failure.Denied {
		t.Errorf("got class %s, error %v, want class %s", failure.Of(err), err, failure.Denied)
	}
	if _, err := Open(context.Background(), r.key, Options{Chain: s.Chain(), Now: func() time.Time { return now }}); failure.Of(err) != failure.Denied {
		t.Errorf("got class %s, error %v, want class %s", failure.Of(err), err, failure.Denied)
	}
	if calls, _ := r.plugin.Calls("generate-signature"); len(calls) != 1 {
		t.Errorf("got %d key operations, want the proof alone", len(calls))
	}
}

// A plugin that makes a new certificate for each signature is refused before an image is signed. A
// self-signed certificate that stays, however new, is accepted.
func TestCertificateForOneSignatureIsRefused(t *testing.T) {
	t.Parallel()
	for _, capability := range []string{kmstest.RAW, kmstest.ENVELOPE} {
		r := newRig(t, pki.EC256, capability)
		r.misbehave(t, kmstest.Fault{Command: r.command(), Kind: kmstest.NewCertificate})
		_, err := Open(context.Background(), r.key, Options{})
		if failure.Of(err) != failure.Denied || !strings.Contains(err.Error(), "makes a new self-signed certificate for each signature") || !strings.Contains(err.Error(), "ca_certs") {
			t.Errorf("%s: got error %v, want class %s that names ca_certs", capability, err, failure.Denied)
		}
		r = newRig(t, pki.EC256, capability)
		id, err := pki.SelfSigned("own", nil, pki.Valid(time.Now().Add(-time.Minute), time.Now().AddDate(1, 0, 0)))
		must(t, err)
		saved, err := id.Save(t.TempDir(), "own")
		must(t, err)
		must(t, r.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": saved}, Capability: capability}))
		if _, err := Open(context.Background(), r.key, Options{}); err != nil {
			t.Errorf("%s, with a new certificate that stays: got error %v, want none", capability, err)
		}
		if calls, _ := r.plugin.Calls(r.command()); len(calls) != 2 {
			t.Errorf("%s: got %d key operations, want 2", capability, len(calls))
		}
	}
}

// A payload that a service would not sign is refused before the service is asked.
func TestPayloadIsWithinTheServicesLimit(t *testing.T) {
	t.Parallel()
	of := func(bytes int) ocispec.Descriptor {
		target := image("a")
		target.Annotations = map[string]string{"io.dct2notation.tag.v1": ""}
		payload, err := json.Marshal(map[string]ocispec.Descriptor{"targetArtifact": target})
		must(t, err)
		target.Annotations["io.dct2notation.tag.v1"] = strings.Repeat("x", bytes-len(payload))
		return target
	}
	const aws = "com.amazonaws.signer.notation.plugin"
	if err := fits(aws, of(4096)); err != nil {
		t.Errorf("4096 bytes: got error %v, want none", err)
	}
	if err := fits(aws, of(4097)); failure.Of(err) != failure.Permanent || !strings.Contains(err.Error(), "payload of 4097 bytes") || !strings.Contains(err.Error(), "--exclude-tags") {
		t.Errorf("4097 bytes: got error %v, want class %s that names --exclude-tags", err, failure.Permanent)
	}
	if err := fits("azure-kv", of(100_000)); err != nil {
		t.Errorf("another plugin: got error %v, want none", err)
	}
}
