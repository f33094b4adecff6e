package policy_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/memory"
	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/notation/policy"
)

const app = "registry.example.com/team/app"

// A shelf is a repository in memory with one image, and its signatures.
type shelf struct {
	registry.Repository
	image ocispec.Descriptor
}

func newShelf(t *testing.T, by ...*pki.Identity) *shelf {
	t.Helper()
	store := memory.New()
	manifest := []byte(`{"schemaVersion":2}`)
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	must(t, store.Push(t.Context(), image, strings.NewReader(string(manifest))))
	must(t, store.Tag(t.Context(), image, image.Digest.String()))
	s := &shelf{registry.NewRepository(store), image}
	for i, id := range by {
		// Each at another time, so that no two are the same.
		blob := envelope(t, id, image, time.Now().Add(-time.Duration(i)*time.Minute))
		_, _, err := s.PushSignature(t.Context(), jws.MediaTypeEnvelope, blob, image, map[string]string{"n": string(rune('a' + i))})
		must(t, err)
	}
	return s
}

func envelope(t *testing.T, id *pki.Identity, image ocispec.Descriptor, at time.Time) []byte {
	t.Helper()
	payload, err := json.Marshal(map[string]any{"targetArtifact": image})
	must(t, err)
	signer, err := signature.NewLocalSigner(id.Chain, id.Key)
	must(t, err)
	env, err := signature.NewEnvelope(jws.MediaTypeEnvelope)
	must(t, err)
	blob, err := env.Sign(&signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:  signer, SigningTime: at, SigningScheme: signature.SigningSchemeX509,
	})
	must(t, err)
	return blob
}

// A verdict is a consumer's decision on a shelf's image under a repository's name: nil lets it
// pass.
type verdict func(t *testing.T, s *shelf, repository string) error

func asking(doc *trustpolicy.Document, store truststore.X509TrustStore, attempts int) verdict {
	return func(t *testing.T, s *shelf, repository string) error {
		t.Helper()
		v, err := verifier.New(doc, store, nil)
		must(t, err)
		_, _, err = notationgo.Verify(t.Context(), v, s, notationgo.VerifyOptions{
			ArtifactReference: repository + "@" + s.image.Digest.String(), MaxSignatureAttempts: attempts,
		})
		return err
	}
}

// files writes an output to the disk, as a user would have it.
func files(t *testing.T, o *policy.Output) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range o.Files {
		path := filepath.Join(root, filepath.FromSlash(f.Name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, f.Content, 0o600))
	}
	return root
}

func file(t *testing.T, o *policy.Output, name string) []byte {
	t.Helper()
	for _, f := range o.Files {
		if f.Name == name {
			return f.Content
		}
	}
	t.Fatalf("%s: got no file %s, want one", o.Consumer.Name, name)
	return nil
}

func document(t *testing.T, raw []byte) *trustpolicy.Document {
	t.Helper()
	var doc trustpolicy.Document
	must(t, json.Unmarshal(raw, &doc))
	must(t, doc.Validate())
	return &doc
}

// commandJudges judges as the notation command does, with the files as written.
func commandJudges(t *testing.T, o *policy.Output, policyFile, folder string) verdict {
	return asking(document(t, file(t, o, policyFile)), truststore.NewX509TrustStore(dir.NewSysFS(filepath.Join(files(t, o), folder))), 100)
}

// everything is a trust store that answers every request with the same certificates.
type everything []*x509.Certificate

func (e everything) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return e, nil
}

func firstCertificate(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("got no certificate, want one")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return c
}

// fluxJudges judges as Flux does: by the first certificate of each key of the Secret, whatever
// store is named, and by at most three signatures.
func fluxJudges(t *testing.T, o *policy.Output) verdict {
	t.Helper()
	secret := objects(t, file(t, o, "secrets.yaml"))[0]
	var certs everything
	var doc *trustpolicy.Document
	for name, text := range secret["stringData"].(map[string]any) {
		switch {
		case name == "trustpolicy.json":
			doc = document(t, []byte(text.(string)))
		case strings.HasSuffix(name, ".crt"), strings.HasSuffix(name, ".pem"):
			certs = append(certs, firstCertificate(t, text.(string)))
		default:
			t.Errorf("Flux does not know %s", name)
		}
	}
	return asking(doc, certs, 3)
}

// named is a trust store like Ratify's: by type and name, without leaves.
type named map[string][]*x509.Certificate

func (n named) GetCertificates(_ context.Context, kind truststore.Type, name string) ([]*x509.Certificate, error) {
	return n[string(kind)+":"+name], truststore.ValidateCertificates(n[string(kind)+":"+name])
}

func ratifyJudges(t *testing.T, o *policy.Output) verdict {
	t.Helper()
	providers := map[string]*x509.Certificate{}
	store := named{}
	var doc *trustpolicy.Document
	kinds := map[string]int{}
	for _, one := range objects(t, file(t, o, "ratify.yaml")) {
		kinds[one["kind"].(string)]++
		switch one["kind"] {
		case "KeyManagementProvider":
			providers[at(t, one, "metadata", "name").(string)] = firstCertificate(t, at(t, one, "spec", "parameters", "value").(string))
		case "Verifier":
			raw, err := json.Marshal(at(t, one, "spec", "parameters", "trustPolicyDoc"))
			must(t, err)
			doc = document(t, raw)
			for kind, stores := range at(t, one, "spec", "parameters", "verificationCertStores").(map[string]any) {
				for name, list := range stores.(map[string]any) {
					for _, provider := range list.([]any) {
						store[kind+":"+name] = append(store[kind+":"+name], providers[provider.(string)])
					}
				}
			}
		case "Policy":
			if rule := at(t, one, "spec", "parameters", "artifactVerificationPolicies", "application/vnd.cncf.notary.signature"); rule != "any" {
				t.Errorf("got the policy %v, want any: a foreign signature beside a good one would deny the image", rule)
			}
		}
	}
	for _, kind := range []string{"KeyManagementProvider", "Verifier", "Store", "Policy"} {
		if kinds[kind] == 0 {
			t.Errorf("got no %s, want one: Ratify would deny everything", kind)
		}
	}
	return asking(doc, store, 100)
}

// anybody is the policy of consumers that know no identities.
func anybody(certs ...*x509.Certificate) verdict {
	return asking(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "any", RegistryScopes: []string{"*"}, TrustStores: []string{"ca:any"}, TrustedIdentities: []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
	}}}, everything(certs), 10)
}

func kyvernoJudges(t *testing.T, o *policy.Output) verdict {
	t.Helper()
	p := objects(t, file(t, o, "kyverno.yaml"))[0]
	if p["kind"] == "ClusterPolicy" {
		return anybody(firstCertificate(t, at(t, p, "spec", "rules", 0, "verifyImages", 0, "attestors", 0, "entries", 0, "certificates", "cert").(string)))
	}
	return anybody(firstCertificate(t, at(t, p, "spec", "attestors", 0, "notary", "certs", "value").(string)))
}

func connaisseurJudges(t *testing.T, o *policy.Output) verdict {
	t.Helper()
	var values map[string]any
	must(t, yaml.UnmarshalStrict(file(t, o, "values.yaml"), &values))
	return anybody(firstCertificate(t, at(t, values, "application", "validators", 2, "trustRoots", 0, "cert").(string)))
}

// judges lists how each consumer judges by the output it gets. byScope: it tells repositories
// apart by the trust policy, and not before it.
var judges = []struct {
	name    string
	write   func(policy.Trust) (*policy.Output, error)
	judge   func(*testing.T, *policy.Output) verdict
	byScope bool
}{
	{"notation", policy.Notation.Write, func(t *testing.T, o *policy.Output) verdict { return commandJudges(t, o, "trustpolicy.json", "") }, true},
	{"github-actions", policy.GitHubActions.Write, func(t *testing.T, o *policy.Output) verdict {
		return commandJudges(t, o, ".github/notation/trustpolicy.json", ".github/notation")
	}, true},
	{"flux", policy.Flux.Write, fluxJudges, true},
	{"ratify", policy.Ratify.Write, ratifyJudges, true},
	{"kyverno", policy.Kyverno.Write, kyvernoJudges, false},
	{"kyverno ClusterPolicy", func(trust policy.Trust) (*policy.Output, error) {
		trust.ClusterPolicy = true
		return policy.Kyverno.Write(trust)
	}, kyvernoJudges, false},
	{"connaisseur", policy.Connaisseur.Write, connaisseurJudges, false},
}

func issue(t *testing.T, ca *pki.Identity, name string) *pki.Identity {
	t.Helper()
	id, err := ca.Issue(name, nil)
	must(t, err)
	return id
}

func authority(t *testing.T) *pki.Identity {
	t.Helper()
	ca, err := pki.NewAuthority("policy test")
	must(t, err)
	return ca
}

func trusting(id *pki.Identity) policy.Trust {
	return policy.Trust{Name: "migrated", Stage: policy.Enforce, Namespace: "apps", Statements: []policy.Statement{{
		Name: "migrated", Repositories: []string{app}, Keys: []policy.Key{{Name: "release", Chain: id.Chain}},
	}}}
}

// The output lets our signatures pass, and no others.
func TestOnlyOurSignaturesPass(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	release, mallory := issue(t, ca, "release"), issue(t, ca, "mallory")
	foreign := issue(t, authority(t), "release") // the same subject under another authority
	for _, c := range judges {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, err := c.write(trusting(release))
			must(t, err)
			judge := c.judge(t, o)
			for _, one := range []struct {
				what string
				by   []*pki.Identity
				pass bool
			}{
				{"signed", []*pki.Identity{release}, true},
				{"foreign and signed", []*pki.Identity{foreign, release}, true},
				{"unsigned", nil, false},
				{"foreign", []*pki.Identity{foreign}, false},
				{"wrong identity", []*pki.Identity{mallory}, false},
			} {
				if err := judge(t, newShelf(t, one.by...), app); (err == nil) != one.pass {
					t.Errorf("%s: got error %v, want it to pass: %t", one.what, err, one.pass)
				}
			}
			if err := judge(t, newShelf(t, release), "registry.example.com/team/other"); c.byScope && err == nil {
				t.Error("another repository: got it passed, want it refused")
			}
		})
	}
}

// Flux stops after three signatures, and its output says so.
func TestFluxLooksAtThreeSignatures(t *testing.T) {
	t.Parallel()
	release := issue(t, authority(t), "release")
	foreign := issue(t, authority(t), "foreign")
	o, err := policy.Flux.Write(trusting(release))
	must(t, err)
	err = fluxJudges(t, o)(t, newShelf(t, foreign, foreign, foreign, foreign), app)
	if err == nil || !strings.Contains(err.Error(), "limit of 3 signatures") {
		t.Errorf("four foreign signatures: got error %v, want one with \"limit of 3 signatures\"", err)
	}
	if !strings.Contains(string(o.Files[0].Content), "third of an image") {
		t.Errorf("got %q, want the limit said", o.Files[0].Content)
	}
}

// Flux requests images of Docker Hub under another name than everybody else, and Pods may use any
// name, whatever name was signed.
func TestDockerHubIsKnownByAllItsNames(t *testing.T) {
	t.Parallel()
	release := issue(t, authority(t), "release")
	for _, given := range []string{"docker.io/acme/tool", "index.docker.io/acme/tool", "registry-1.docker.io/acme/tool"} {
		trust := trusting(release)
		trust.Statements[0].Repositories = []string{given}
		o, err := policy.Flux.Write(trust)
		must(t, err)
		for _, name := range []string{"docker.io/acme/tool", "index.docker.io/acme/tool", given} {
			if err := fluxJudges(t, o)(t, newShelf(t, release), name); err != nil {
				t.Errorf("%s as %s: got error %v, want none", given, name, err)
			}
		}
		o, err = policy.Kyverno.Write(trust)
		must(t, err)
		for _, form := range []string{"acme/tool", "docker.io/acme/tool", "index.docker.io/acme/tool", "registry-1.docker.io/acme/tool"} {
			if !strings.Contains(string(file(t, o, "kyverno.yaml")), `"`+form+`"`) {
				t.Errorf("Kyverno, %s: got no %s, want it: a Pod may write it", given, form)
			}
		}
	}
}

// Two keys of one repository are both good, and a third under the same authority is not.
func TestEachKeyOfARepositoryIsGood(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	release, alice, mallory := issue(t, ca, "release"), issue(t, ca, "alice"), issue(t, ca, "mallory")
	trust := trusting(release)
	trust.Statements[0].Keys = append(trust.Statements[0].Keys, policy.Key{Name: "alice", Chain: alice.Chain})
	for _, c := range judges[:4] {
		o, err := c.write(trust)
		must(t, err)
		judge := c.judge(t, o)
		for _, id := range []*pki.Identity{release, alice} {
			if err := judge(t, newShelf(t, id), app); err != nil {
				t.Errorf("%s: got error %v, want none", c.name, err)
			}
		}
		if judge(t, newShelf(t, mallory), app) == nil {
			t.Errorf("%s: got a third key passed, want it refused", c.name)
		}
	}
}

// At the stage audit no signature is refused for being somebody else's; unsigned images still are.
func TestAuditLetsForeignSignaturesPass(t *testing.T) {
	t.Parallel()
	release, foreign := issue(t, authority(t), "release"), issue(t, authority(t), "foreign")
	trust := trusting(release)
	trust.Stage = policy.Audit
	o, err := policy.Notation.Write(trust)
	must(t, err)
	judge := commandJudges(t, o, "trustpolicy.json", "")
	if err := judge(t, newShelf(t, foreign), app); err != nil {
		t.Error(err)
	}
	if judge(t, newShelf(t), app) == nil {
		t.Error("got an unsigned image passed, want it refused")
	}
}
