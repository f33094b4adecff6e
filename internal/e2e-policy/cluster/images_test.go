package cluster

import (
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// The registries: one has the referrers API, the other keeps lists in tags.
const (
	modern = "modern.example.com"
	plain  = "plain.example.com"
)

// world is two registries with the same images, and their signers.
type world struct {
	tls        *authority
	names      *names
	signers    map[string]*pki.Identity
	digests    map[string]string // of image references with tags
	registries []*registrytest.Registry
}

// samples are the images of both registries, with their signers and whether they must pass.
// team/app is trusted by the key release, team/web by the key alice, and team/other is not trusted.
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

// hub are names by which a Pod may request images of Docker Hub, which itself uses other names.
var hub = []string{"docker.io/acme/tool", "acme/tool", "docker.io/library/alpine", "library/alpine", "alpine"}

// odd are other names of an unsigned image.
var odd = []string{modern + ":443/team/app:unsigned", strings.ToUpper(modern) + "/team/app:unsigned"}

// image is what a consumer is asked about.
type image struct {
	name string
	pass bool
	ours bool // in a repository that somebody trusts
}

// images returns the samples in both registries, and those of Docker Hub by all their names.
func images() []image {
	var all []image
	for _, host := range []string{modern, plain} {
		for _, s := range samples {
			all = append(all, image{host + "/" + s.repository + ":" + s.tag, s.pass, s.repository != "team/other"})
		}
	}
	for _, name := range hub {
		all = append(all, image{name + ":signed", true, true}, image{name + ":unsigned", false, true})
	}
	return all
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ours, theirs := signingAuthority(t), signingAuthority(t)
	w := &world{tls: newAuthority(t), names: newNames(t), digests: map[string]string{}, signers: map[string]*pki.Identity{
		"release": issue(t, ours, "release"), "alice": issue(t, ours, "alice"), "mallory": issue(t, ours, "mallory"),
		"foreign": issue(t, theirs, "release")}} // the same subject under another authority
	for host, o := range map[string]registrytest.Options{modern: {Referrers: true}, plain: {}} {
		r := w.registry(t, o, host)
		for _, s := range samples {
			w.digests[host+"/"+s.repository+":"+s.tag] = w.put(t, r, s.repository, s.tag, strings.Fields(s.signers)...)
		}
	}
	r := w.registry(t, registrytest.Options{}, "registry-1.docker.io", "index.docker.io")
	signed := map[string]string{}
	for _, repository := range []string{"acme/tool", "library/alpine"} {
		signed[path.Base(repository)] = w.put(t, r, repository, "signed", "release")
		signed[path.Base(repository)+":unsigned"] = w.put(t, r, repository, "unsigned")
	}
	for _, name := range hub {
		w.digests[name+":signed"] = signed[path.Base(name)]
		w.digests[name+":unsigned"] = signed[path.Base(name)+":unsigned"]
	}
	return w
}

// registry starts a registry under names.
func (w *world) registry(t *testing.T, o registrytest.Options, hosts ...string) *registrytest.Registry {
	t.Helper()
	r, err := registrytest.Start(o)
	must(t, err)
	t.Cleanup(r.Close)
	w.registries = append(w.registries, r)
	for _, host := range hosts {
		w.names.serve(t, w.tls, host, r.URL())
	}
	return r
}

// put stores a unique image and its signatures, and returns its digest.
func (w *world) put(t *testing.T, r *registrytest.Registry, repository, tag string, signers ...string) string {
	t.Helper()
	image, err := r.PutImage(repository, tag, r.Host()+repository+tag)
	must(t, err)
	for i, id := range signers {
		sign(t, r, repository, image, w.signers[id], time.Now().Add(-time.Duration(i)*time.Minute))
	}
	return image.Digest.String()
}

// trust is what was migrated, with one key for each repository.
func (w *world) trust(stage policy.Stage) policy.Trust {
	of := func(key string, repositories ...string) policy.Statement {
		return policy.Statement{Name: "migrated-" + key, Repositories: repositories, Keys: []policy.Key{{Name: key, Chain: w.signers[key].Chain}}}
	}
	return policy.Trust{Name: "migrated", Stage: stage, Namespace: "apps", Statements: []policy.Statement{
		of("release", modern+"/team/app", plain+"/team/app", "docker.io/acme/tool", "docker.io/library/alpine"),
		of("alice", modern+"/team/web", plain+"/team/web"),
	}}
}

// byDigest names an image by its digest instead of the tag.
func (w *world) byDigest(i image) string {
	repository, _, _ := strings.Cut(i.name, ":")
	return repository + "@" + w.digests[i.name]
}

// env returns the environment with which a process finds this world, and nothing else.
func (w *world) env() []string {
	return []string{"HTTPS_PROXY=" + w.names.URL, "NO_PROXY=127.0.0.1", "SSL_CERT_FILE=" + w.tls.file(), "SSL_CERT_DIR=" + w.tls.folder}
}

// down makes the registries answer only that they are unavailable.
func (w *world) down() {
	for _, r := range w.registries {
		r.SetHook(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
	}
}

// slow delays every answer of the registries.
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

func signingAuthority(t *testing.T) *pki.Identity {
	t.Helper()
	a, err := pki.NewAuthority("policy test")
	must(t, err)
	return a
}

func issue(t *testing.T, a *pki.Identity, name string) *pki.Identity {
	t.Helper()
	id, err := a.Issue(name, nil)
	must(t, err)
	return id
}

// sign makes a signature and stores it as Notation does in such a registry.
func sign(t *testing.T, r *registrytest.Registry, repository string, image ocispec.Descriptor, id *pki.Identity, when time.Time) {
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

func thumbprints(t *testing.T, id *pki.Identity) string {
	t.Helper()
	var all []string
	for _, c := range id.Chain {
		all = append(all, policy.Thumbprint(c))
	}
	raw, err := json.Marshal(all)
	must(t, err)
	return string(raw)
}

// called turns a reference into an object's name.
func called(image string) string {
	return strings.NewReplacer("/", "-", ":", "-", ".", "-").Replace(image)
}
