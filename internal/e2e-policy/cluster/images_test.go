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
	tls                       *authority
	names                     *names
	release, mallory, foreign *kmstest.Identity
	digests                   map[string]string // of image references with tags
	registries                []*registrytest.Registry
}

// A sample is an image by its tag, and whether it is to pass.
type sample struct {
	repository, tag string
	by              func(w *world) []*kmstest.Identity
	pass            bool
}

// samples are the images of both registries. Only team/app is trusted.
var samples = []sample{
	{"team/app", "signed", func(w *world) []*kmstest.Identity { return ids(w.release) }, true},
	{"team/app", "foreign-and-signed", func(w *world) []*kmstest.Identity { return ids(w.foreign, w.release) }, true},
	{"team/app", "unsigned", func(*world) []*kmstest.Identity { return nil }, false},
	{"team/app", "foreign", func(w *world) []*kmstest.Identity { return ids(w.foreign) }, false},
	{"team/app", "wrong-identity", func(w *world) []*kmstest.Identity { return ids(w.mallory) }, false},
	{"team/other", "signed", func(w *world) []*kmstest.Identity { return ids(w.release) }, false},
}

func ids(all ...*kmstest.Identity) []*kmstest.Identity { return all }

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
	w := &world{tls: newAuthority(t), names: newNames(t), digests: map[string]string{},
		release: issue(t, ours, "release"), mallory: issue(t, ours, "mallory"),
		foreign: issue(t, theirs, "release")} // the same subject under another authority
	for host, o := range map[string]registrytest.Options{modern: {Referrers: true}, plain: {}} {
		r, err := registrytest.Start(o)
		must(t, err)
		t.Cleanup(r.Close)
		for i, s := range samples {
			image, err := r.PutImage(s.repository, s.tag, host+s.tag)
			must(t, err)
			w.digests[host+"/"+s.repository+":"+s.tag] = image.Digest.String()
			for j, id := range s.by(w) {
				sign(t, r, s.repository, image, id, time.Now().Add(-time.Duration(i+j)*time.Minute))
			}
		}
		w.registries = append(w.registries, r)
		w.names.serve(t, w.tls, host, r.URL())
	}
	return w
}

// trust is what was migrated: team/app of both registries, by the key release.
func (w *world) trust(stage policy.Stage) policy.Trust {
	return policy.Trust{Name: "migrated", Stage: stage, Namespace: "apps", Statements: []policy.Statement{{
		Name: "migrated", Repositories: []string{modern + "/team/app", plain + "/team/app"},
		Keys: []policy.Key{{Name: "release", Chain: w.release.Chain}},
	}}}
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
