package cluster

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/internal/kmstest"
	"github.com/dct2notation/dct2notation/internal/registrytest"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// The registries: one has the referrers API, the other leaves it to tags.
const (
	modern = "modern.example.com"
	plain  = "plain.example.com"
)

// A world is two registries with the same images, and who signed them.
type world struct {
	tls        *authority
	names      *names
	signers    map[string]*kmstest.Identity
	digests    map[string]string // of image references with tags
	registries []*registrytest.Registry
}

// samples are the images of both registries, by whom they are signed, and whether they are to
// pass. team/app is trusted by the key release, team/web by the key alice, team/other is not.
var samples = []struct {
	repository, tag string
	signers         string
	pass            bool
}{
	{"team/app", "signed", "release", true},
	{"team/app", "foreign-and-signed", "foreign release", true},
	{"team/app", "unsigned", "", false},
	{"team/app", "foreign", "foreign", false},
	{"team/app", "wrong-identity", "mallory", false},
	{"team/app", "by-another-key", "alice", false},
	{"team/web", "signed", "alice", true},
	{"team/web", "by-another-key", "release", false},
	{"team/other", "signed", "release", false},
	{"team/other", "unsigned", "", false},
}

// images are the references of all samples, in both registries.
func images() map[string]bool {
	all := map[string]bool{}
	for _, host := range []string{modern, plain} {
		for _, s := range samples {
			all[host+"/"+s.repository+":"+s.tag] = s.pass
		}
	}
	return all
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ours, theirs := signingAuthority(t), signingAuthority(t)
	w := &world{tls: newAuthority(t), names: newNames(t), digests: map[string]string{}, signers: map[string]*kmstest.Identity{
		"release": issue(t, ours, "release"), "alice": issue(t, ours, "alice"), "mallory": issue(t, ours, "mallory"),
		"foreign": issue(t, theirs, "release")}} // the same subject under another authority
	for host, o := range map[string]registrytest.Options{modern: {Referrers: true}, plain: {}} {
		r, err := registrytest.Start(o)
		must(t, err)
		t.Cleanup(r.Close)
		for i, s := range samples {
			image, err := r.PutImage(s.repository, s.tag, host+s.repository+s.tag)
			must(t, err)
			w.digests[host+"/"+s.repository+":"+s.tag] = image.Digest.String()
			for j, id := range strings.Fields(s.signers) {
				sign(t, r, s.repository, image, w.signers[id], time.Now().Add(-time.Duration(i+j)*time.Minute))
			}
		}
		w.registries = append(w.registries, r)
		w.names.serve(t, w.tls, host, r.URL())
	}
	return w
}

// trust is what was migrated: team/app and team/web of both registries, each by a key.
func (w *world) trust(stage policy.Stage) policy.Trust {
	of := func(repository, key string) policy.Statement {
		return policy.Statement{Name: "migrated-" + key, Repositories: []string{modern + repository, plain + repository},
			Keys: []policy.Key{{Name: key, Chain: w.signers[key].Chain}}}
	}
	return policy.Trust{Name: "migrated", Stage: stage, Namespace: "apps", Statements: []policy.Statement{of("/team/app", "release"), of("/team/web", "alice")}}
}

// env is how a process finds this world, and nothing else.
func (w *world) env() []string {
	return []string{"HTTPS_PROXY=" + w.names.URL, "NO_PROXY=127.0.0.1", "SSL_CERT_FILE=" + w.tls.file(), "SSL_CERT_DIR=" + w.tls.folder}
}

// slow lets every answer of the registries wait.
func (w *world) slow(by time.Duration) {
	for _, r := range w.registries {
		r.SetHook(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			select {
			case <-time.After(by):
			case <-r.Context().Done():
			}
			return false
		})
	}
}

func signingAuthority(t *testing.T) *kmstest.Authority {
	t.Helper()
	a, err := kmstest.NewAuthority("policy test")
	must(t, err)
	return a
}

func issue(t *testing.T, a *kmstest.Authority, name string) *kmstest.Identity {
	t.Helper()
	id, err := a.Issue(name, kmstest.EC256, kmstest.IssueOptions{})
	must(t, err)
	return id
}

// sign makes a signature and stores it as Notation does in such a registry.
func sign(t *testing.T, r *registrytest.Registry, repository string, image ocispec.Descriptor, id *kmstest.Identity, when time.Time) {
	t.Helper()
	payload, err := json.Marshal(map[string]any{"targetArtifact": image})
	must(t, err)
	signer, err := signature.NewLocalSigner(id.Chain, id.Key)
	must(t, err)
	envelope, err := signature.NewEnvelope(jws.MediaTypeEnvelope)
	must(t, err)
	blob, err := envelope.Sign(&signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:  signer, SigningTime: when, SigningScheme: signature.SigningSchemeX509,
	})
	must(t, err)
	there, err := remote.NewRepository(r.Host() + "/" + repository)
	must(t, err)
	there.PlainHTTP, there.Client = true, http.DefaultClient
	_, _, err = registry.NewRepository(there).PushSignature(t.Context(), jws.MediaTypeEnvelope, blob, image, map[string]string{
		"io.cncf.notary.x509chain.thumbprint#S256": thumbprints(t, id)})
	must(t, err)
}

func thumbprints(t *testing.T, id *kmstest.Identity) string {
	t.Helper()
	var all []string
	for _, c := range id.Chain {
		all = append(all, policy.Thumbprint(c))
	}
	raw, err := json.Marshal(all)
	must(t, err)
	return string(raw)
}

// called makes a reference a name of an object.
func called(image string) string {
	return strings.NewReplacer("/", "-", ":", "-", ".", "-", "@", "-").Replace(image)
}
