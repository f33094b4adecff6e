package migrate

import (
	"context"
	"errors"
	"net/http"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/state"
)

// key is a signer that counts its calls and fails on demand.
type key struct {
	asked    []ocispec.Descriptor
	metadata map[string]string
	err      error
}

func (k *key) Name() string                                                    { return "key" }
func (k *key) Leaf() string                                                    { return "leaf" }
func (k *key) Check(context.Context, ocispec.Descriptor, state.Envelope) error { return nil }

func (k *key) Sign(_ context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	k.asked, k.metadata = append(k.asked, subject), metadata
	return state.Envelope{}, k.err
}

// attesting lets package snapshot use an Attestor. Its envelopes are empty, so a snapshot never
// sees anything as signed.
type attesting struct{ *Attestor }

func (attesting) Ours(context.Context, ocispec.Descriptor, string, []byte) (bool, error) {
	return false, nil
}

func (a attesting) Attest(ctx context.Context, v snapshot.Verified) (snapshot.Signature, error) {
	_, err := a.Attestor.Attest(ctx, v)
	return snapshot.Signature{}, err
}

// Promise 1: data that no verified trust data backs is not attested.
func TestNeverASignatureThatDCTDidNotVouchFor_ZeroVerified(t *testing.T) {
	t.Parallel()
	k := &key{}
	_, err := (&Attestor{Signer: k}).Attest(context.Background(), snapshot.Verified{})
	if failure.Of(err) != failure.Security || len(k.asked) != 0 {
		t.Errorf("the zero Verified: got %v, %d key operations, want %s and none", err, len(k.asked), failure.Security)
	}
}

// saveWith saves the trust data of repositories and has a key attest it.
func saveWith(t *testing.T, a *Attestor, names ...string) snapshot.Summary {
	t.Helper()
	s, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var guns []dct.GUN
	for _, name := range names {
		r, err := s.NewRepository(name)
		if err == nil {
			err = r.Publish()
		}
		gun, parseErr := dct.ParseGUN(name)
		if err := errors.Join(err, parseErr); err != nil {
			t.Fatal(err)
		}
		guns = append(guns, gun)
	}
	reader := &dct.Reader{Pins: dct.Pins{TOFU: true}, Source: &dct.Server{
		URL: func(string) string { return s.URL() }, HTTP: func(string) dct.Doer { return http.DefaultClient },
	}}
	sum, err := snapshot.Save(context.Background(), t.TempDir(), reader, guns, snapshot.Options{Signer: attesting{a}})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestAttestedIsTheManifestOfVerifiedTrustData(t *testing.T) {
	t.Parallel()
	k := &key{}
	saveWith(t, &Attestor{Signer: k, Tool: "tool/1", Metadata: map[string]string{"team": "a"}}, App)
	if len(k.asked) != 1 || k.asked[0].ArtifactType != snapshot.ArtifactType || k.asked[0].Digest == "" {
		t.Fatalf("signed: got %+v, want one %s with a digest", k.asked, snapshot.ArtifactType)
	}
	want := map[string]string{MetadataGUN: App, MetadataTool: "tool/1", MetadataArtifact: snapshot.ArtifactType, "team": "a"}
	for name, value := range want {
		if k.metadata[name] != value {
			t.Errorf("metadata: got %v, want %v", k.metadata, want)
		}
	}
	if !Attests(k.metadata, App) {
		t.Errorf("its own signature %v attests %s: got false, want true", k.metadata, App)
	}
}

// A signature over an image, with tags or as a child of an index, attests no trust data. What the
// signature says tells them apart.
func TestNoImageSignatureAttestsTrustData(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]Work{
		"an image": {key: &Key{}, Targets: []dct.Target{{}}},
		"a child":  {key: &Key{}, Targets: []dct.Target{{}}, chains: []indexPath{{}}},
	} {
		if m := w.metadata("tool/1"); Attests(m, m[MetadataGUN]) {
			t.Errorf("%s: %v attests trust data: got true, want false", name, m)
		}
	}
}

// A key that refuses three times in a row is not asked for thousands more. What is saved stays
// saved.
func TestDeniedKeyIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	for class, want := range map[failure.Class]int{failure.Denied: patience, failure.Security: 1, failure.Permanent: 5} {
		k := &key{err: failure.New(class, errors.New("no"))}
		sum := saveWith(t, &Attestor{Signer: k}, App, App+"2", App+"3", App+"4", App+"5")
		if len(k.asked) != want || sum.Added != 5 || sum.Unsigned != 5 {
			t.Errorf("%s: got %d key operations, %+v, want %d, 5 added and 5 unsigned", class, len(k.asked), sum, want)
		}
	}
}

// A signature over an image does not vouch for a snapshot with the same digest. An attestation of
// another repository does not either.
func TestOnlyAttestationsAttest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		metadata map[string]string
		want     bool
	}{
		"ours":                          {map[string]string{MetadataGUN: App, MetadataTool: "x"}, true},
		"another tool's":                {nil, true},
		"of another GUN":                {map[string]string{MetadataGUN: App + "2"}, false},
		"of an image":                   {map[string]string{MetadataGUN: App, MetadataTag + "v1": "targets"}, false},
		"of an image, alone":            {map[string]string{MetadataTag + "v1": "targets"}, false},
		"ours, past its date":           {map[string]string{MetadataGUN: App, MetadataTool: "x", MetadataExpired: "timestamp", "team": "a"}, true},
		"ours, marked":                  {map[string]string{MetadataGUN: App, MetadataTool: "x", MetadataArtifact: snapshot.ArtifactType}, true},
		"marked for another":            {map[string]string{MetadataGUN: App + "2", MetadataArtifact: snapshot.ArtifactType}, false},
		"marked otherwise":              {map[string]string{MetadataGUN: App, MetadataArtifact: "application/vnd.example"}, false},
		"marked as nothing":             {map[string]string{MetadataGUN: App, MetadataArtifact: ""}, false},
		"marked, and a tag":             {map[string]string{MetadataGUN: App, MetadataArtifact: snapshot.ArtifactType, MetadataTag + "v1": "targets"}, false},
		"of a platform's image":         {map[string]string{MetadataGUN: App, MetadataTool: "x", MetadataRootKeys: "ab", MetadataIndex: "sha256:ab"}, false},
		"of one of no index":            {map[string]string{MetadataGUN: App, MetadataTool: "x", MetadataRootKeys: "ab"}, false},
		"of a report":                   {map[string]string{MetadataTool: "x", MetadataReport: "run"}, false},
		"of no repository":              {map[string]string{MetadataTool: "x"}, false},
		"another tool's, with metadata": {map[string]string{"team": "a"}, true},
	} {
		if got := Attests(c.metadata, App); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}
