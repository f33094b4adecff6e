package command

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/dir"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
)

// A signature of a snapshot counts only for the manifest and the repository for which it was made,
// by the named policy. An image's signature never counts.
func TestSnapshotSignatureCountsForItsOwnManifest(t *testing.T) {
	was := dir.UserConfigDir
	dir.UserConfigDir = t.TempDir()
	t.Cleanup(func() { dir.UserConfigDir = was })
	ca, err := pki.NewAuthority("snapshot")
	must(t, err)
	id, err := ca.Issue("archive", nil)
	must(t, err)
	saved, err := id.Save(t.TempDir(), "archive")
	must(t, err)
	store := filepath.Join(dir.UserConfigDir, "truststore", "x509", "ca", "archive")
	must(t, os.MkdirAll(store, 0o700))
	must(t, os.WriteFile(filepath.Join(store, "root.pem"), ca.CertificatePEM(), 0o600))
	signer, err := notation.Open(context.Background(), notation.Key{Name: "archive", KeyFile: saved.KeyFile, CertFile: saved.ChainFile}, notation.Options{})
	must(t, err)

	foreign, err := pki.NewAuthority("snapshot")
	must(t, err)
	unknown, err := foreign.Issue("archive", nil)
	must(t, err)

	app, other := "registry.example.com/team/app", "registry.example.com/team/other"
	manifest := func(name string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: snapshot.ArtifactType, Digest: digest.FromString(name), Size: 42}
	}
	// by returns a function that makes an envelope which is valid until a given time.
	by := func(id *pki.Identity, ends time.Time) func(context.Context, ocispec.Descriptor, map[string]string) (notation.Envelope, error) {
		return func(_ context.Context, d ocispec.Descriptor, metadata map[string]string) (notation.Envelope, error) {
			d.Annotations, d.ArtifactType = metadata, ""
			payload, err := json.Marshal(map[string]any{"targetArtifact": d})
			must(t, err)
			local, err := signature.NewLocalSigner(id.Chain, id.Key)
			must(t, err)
			env, err := signature.NewEnvelope(jws.MediaTypeEnvelope)
			must(t, err)
			blob, err := env.Sign(&signature.SignRequest{
				Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
				Signer:  local, SigningScheme: signature.SigningSchemeX509, SigningTime: time.Now().Add(-30 * time.Second), Expiry: ends,
			})
			return notation.Envelope{MediaType: jws.MediaTypeEnvelope, Blob: blob}, err
		}
	}
	expired, stranger := by(id, time.Now().Add(-time.Second)), by(unknown, time.Now().Add(time.Hour))
	attested := map[string]string{migrate.MetadataGUN: app}
	for name, c := range map[string]struct {
		judged   string // the repository
		over     string // whose manifest was signed
		metadata map[string]string
		scope    string
		says     string // empty: trusted
		level    string // of the policy; empty: strict
		by       func(context.Context, ocispec.Descriptor, map[string]string) (notation.Envelope, error)
	}{
		"its own":                  {app, app, attested, app, "", "", signer.Sign},
		"any scope":                {app, app, attested, "*", "", "", signer.Sign},
		"by another tool":          {app, app, nil, app, "", "", signer.Sign},
		"out of scope":             {app, app, attested, other, "no statement of the trust policy covers", "", signer.Sign},
		"of another manifest":      {app, other, attested, "*", "mismatch", "", signer.Sign},
		"of another repository":    {other, other, attested, "*", "for another repository", "", signer.Sign},
		"an image's of its digest": {app, app, map[string]string{migrate.MetadataGUN: app, migrate.MetadataTag + "v1": "targets"}, "*", "it is for an image", "", signer.Sign},
		// The policy must not ignore this date: it decides about the date of the trust data.
		"its own, permissive":      {app, app, attested, "*", "", "permissive", signer.Sign},
		"its own, audited":         {app, app, attested, "*", "", "audit", signer.Sign},
		"its own, made by hand":    {app, app, attested, "*", "", "", by(id, time.Now().Add(time.Hour))},
		"past its date, permitted": {app, app, attested, "*", "lenient", "permissive", expired},
		"past its date, audited":   {app, app, attested, "*", "lenient", "audit", expired},
		"by a stranger, audited":   {app, app, attested, "*", "lenient", "audit", stranger},
		"by a stranger":            {app, app, attested, "*", "trusted", "", stranger},
	} {
		e, err := c.by(context.Background(), manifest(c.over), c.metadata)
		must(t, err)
		policy := filepath.Join(t.TempDir(), "policy.json")
		raw, err := json.Marshal(map[string]any{"version": "1.0", "trustPolicies": []any{map[string]any{
			"name": "archive", "registryScopes": []string{c.scope}, "signatureVerification": map[string]any{"level": cmp.Or(c.level, "strict")},
			"trustStores": []string{"ca:archive"}, "trustedIdentities": []string{"*"},
		}}})
		must(t, err)
		must(t, os.WriteFile(policy, raw, 0o600))
		judge, err := (&session.RemoteOptions{SnapshotPolicy: policy}).SnapshotJudge(nil)
		must(t, err)
		gun, err := dct.ParseGUN(c.judged)
		must(t, err)
		v, err := judge.Judge(context.Background(), gun, manifest(c.judged), e.MediaType, e.Blob)
		must(t, err)
		if v.Trusted != (c.says == "") || !strings.Contains(v.Reason, c.says) {
			t.Errorf("%s: got %+v, want the reason %q, none if trusted", name, v, c.says)
		}
		if v.Trusted && (v.Leaf != signer.Leaf() || time.Since(v.At) > time.Minute) {
			t.Errorf("%s: got %+v, want leaf %s, at now", name, v, signer.Leaf())
		}
	}
}
