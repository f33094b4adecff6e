package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

func TestMain(m *testing.M) {
	session.RequestRetries, session.ItemPause, runner.ShortestWatch = -1, 20*time.Millisecond, 0
	os.Exit(awayFromHome(m))
}

// awayFromHome runs the tests with a state directory of their own, since the commands save their
// last results there.
func awayFromHome(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dct2notation-test-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }() // nothing in it is needed
		err = os.Setenv("XDG_STATE_HOME", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// yard is a registry with two repositories, of which one is in trouble, with a Notary server and a
// key.
type yard struct {
	t        *testing.T
	dir      string
	registry *registrytest.Registry
	notary   *notarytest.Server
	plugin   *kmstest.Plugin
	args     []string
	bad      ocispec.Descriptor // the image in trouble, in the repository bad
	good     ocispec.Descriptor

	repos map[string]*notarytest.Repository
	ca    *pki.Identity
	key   pki.Files
}

func newYard(t *testing.T, o registrytest.Options) *yard {
	t.Helper()
	y := &yard{t: t, dir: t.TempDir(), repos: map[string]*notarytest.Repository{}}
	var err error
	y.registry, err = registrytest.Start(o)
	must(t, err)
	t.Cleanup(y.registry.Close)
	y.notary, err = notarytest.Start(notarytest.Options{})
	must(t, err)
	t.Cleanup(y.notary.Close)
	pins := map[string][]string{}
	for name, image := range map[string]*ocispec.Descriptor{"bad": &y.bad, "good": &y.good} {
		*image, err = y.registry.PutImage(name, "v1", name)
		must(t, err)
		r, err := y.notary.NewRepository(y.registry.Host() + "/" + name)
		must(t, err)
		must(t, r.Sign("v1", image.Digest.Encoded(), image.Size))
		must(t, r.Publish())
		pins[r.GUN()] = r.RootKeyIDs()
		y.repos[name] = r
	}
	raw, err := json.Marshal(map[string]any{"trust_pinning": map[string]any{"certs": pins}})
	must(t, err)
	must(t, os.WriteFile(y.path("pins.json"), raw, 0o600))
	y.ca, err = pki.NewAuthority("yard")
	must(t, err)
	id, err := y.ca.Issue("release", nil)
	must(t, err)
	y.key, err = id.Save(y.dir, "release")
	must(t, err)
	y.plugin, err = kmstest.Install(y.dir, kmstest.Behaviour{Keys: map[string]pki.Files{"release": y.key}})
	must(t, err)
	y.args = []string{
		"run", "-o", "json", "--plain-http", "--docker-trust", "none", "--cache-dir", "none", "--no-tty",
		"--notary-server", y.notary.URL(), "--trust-pinning", y.path("pins.json"), "--state", y.path("ledger.db"),
		"--registry-config", y.path("config.json"), "--plugin", "kmstest", "--id", "release", "--plugin-path", y.plugin.Path,
		y.registry.Host() + "/bad", y.registry.Host() + "/good",
	}
	must(t, os.WriteFile(y.path("config.json"), []byte("{}"), 0o600))
	return y
}

func (y *yard) path(name string) string { return filepath.Join(y.dir, name) }

// run calls the program once.
func (y *yard) run() (int, report.Run) {
	y.t.Helper()
	var out, err bytes.Buffer
	code := Main(context.Background(), nil, y.args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	var r report.Run
	if e := json.Unmarshal(out.Bytes(), &r); e != nil && out.Len() > 0 {
		y.t.Errorf("result: %v: %s", e, out.String())
	}
	return code, r
}

func (y *yard) signatures(repo string, image ocispec.Descriptor) int {
	y.t.Helper()
	list, err := y.registry.Signatures(repo, image.Digest.String())
	must(y.t, err)
	return len(list)
}

// operations returns the number of key operations without the key's proofs: one at the start of the
// first run, and one if a later run has to push what was signed before.
func (y *yard) operations() int {
	y.t.Helper()
	calls, err := y.plugin.Calls("generate-signature")
	must(y.t, err)
	return len(slices.DeleteFunc(calls, func(c kmstest.Call) bool { return c.Proof }))
}

// Parts of a registry's API that a run requests.
const (
	onImage     = "image"     // the manifest by its digest
	onTag       = "tag"       //
	onReferrers = "referrers" // the list of signatures
	onUpload    = "upload"    // the start of a blob's upload
	onBlob      = "blob"      // its bytes
	onSignature = "signature" // the signature's manifest
	onIndex     = "index"     // the list of signatures, which clients keep in a tag
)

// part classifies a request for the repository bad. Empty: none of these.
func (y *yard) part(r *http.Request) string {
	path, bad := strings.CutPrefix(r.URL.Path, "/v2/bad/")
	put := r.Method == http.MethodPut
	switch {
	case !bad:
		return ""
	case strings.HasPrefix(path, "referrers/"):
		return onReferrers
	case path == "blobs/uploads/" && r.Method == http.MethodPost:
		return onUpload
	case strings.HasPrefix(path, "blobs/uploads/"):
		return onBlob
	case path == "manifests/"+y.bad.Digest.String():
		return onImage
	case strings.HasPrefix(path, "manifests/sha256-"):
		return onIndex
	case put && strings.HasPrefix(path, "manifests/sha256:"):
		return onSignature
	case path == "manifests/v1":
		return onTag
	}
	return ""
}

// answers are the kinds of bad answers.
var answers = map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
	"reset": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
	"lost":  func(_ http.ResponseWriter, r *http.Request, next http.Handler) { registrytest.LoseAnswer(r, next) },
	"html": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>log in</html>")
	},
	"json": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		fmt.Fprint(w, `{"schemaVersion":2,"manifests":[{`)
	},
	"quota": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"quota exceeded\u001b[2J"}]}`)
	},
	"created": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusCreated) },
	"cut": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.Header().Set("Docker-Content-Digest", rec.Header().Get("Docker-Content-Digest"))
		w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()+10))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		panic(http.ErrAbortHandler)
	},
	"elsewhere": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	},
	"circle": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	},
	"pages": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		w.Header().Set("Link", "<"+r.URL.Path+`?n=1>; rel="next"`)
		fmt.Fprint(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	},
	"other digest": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	},
	"no type": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusOK) },
}

func badAnswer(kind string) func(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if f, ok := answers[kind]; ok {
		return f
	}
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		var code int
		_, _ = fmt.Sscan(kind, &code)
		w.WriteHeader(code)
		if code == http.StatusForbidden {
			fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"not for you\u001b[2J"}]}`)
		}
	}
}

// registryFaults are faults for one image, with the class that results. Empty: any class.
var registryFaults = []struct{ on, kind, class string }{
	{onImage, "401", "denied"}, {onImage, "403", "denied"}, {onImage, "404", "permanent"}, {onImage, "429", "throttled"},
	{onImage, "500", "transient"}, {onImage, "503", "transient"}, {onImage, "reset", "transient"}, {onImage, "html", "security"},
	{onImage, "other digest", "security"}, {onImage, "elsewhere", "transient"}, {onImage, "circle", "permanent"}, {onImage, "no type", "security"},
	{onTag, "401", ""}, {onTag, "404", ""}, {onTag, "500", ""}, {onTag, "reset", ""}, {onTag, "html", ""}, {onTag, "other digest", ""}, {onTag, "no type", ""},
	{onReferrers, "html", "permanent"}, {onReferrers, "204", "permanent"}, {onReferrers, "401", "denied"}, {onReferrers, "403", "denied"}, {onReferrers, "429", "throttled"}, {onReferrers, "500", "transient"},
	{onReferrers, "reset", "transient"}, {onReferrers, "cut", "transient"}, {onReferrers, "json", "transient"}, {onReferrers, "pages", "permanent"},
	{onUpload, "401", "denied"}, {onUpload, "403", "denied"}, {onUpload, "404", "permanent"}, {onUpload, "413", "permanent"},
	{onUpload, "429", "throttled"}, {onUpload, "500", "transient"}, {onUpload, "507", "full"}, {onUpload, "quota", "full"}, {onUpload, "reset", "transient"},
	{onUpload, "lost", "transient"}, {onUpload, "html", "permanent"}, {onUpload, "created", "permanent"}, {onUpload, "other digest", "security"},
	{onBlob, "400", "permanent"}, {onBlob, "403", "denied"}, {onBlob, "quota", "full"}, {onBlob, "416", "permanent"}, {onBlob, "500", "transient"},
	{onBlob, "reset", "transient"}, {onBlob, "lost", "transient"},
	{onSignature, "400", "permanent"}, {onSignature, "403", "denied"}, {onSignature, "quota", "full"}, {onImage, "quota", "denied"}, {onSignature, "412", "denied"}, {onSignature, "429", "throttled"},
	{onSignature, "500", "transient"}, {onSignature, "reset", "transient"}, {onSignature, "created", "transient"},
	{onSignature, "lost", "transient"}, {onSignature, "404", "permanent"},
}

// indexFaults are faults of a registry without the referrers API.
var indexFaults = []struct{ on, kind, class string }{
	{onIndex, "403", "denied"}, {onIndex, "429", "throttled"}, {onIndex, "500", "transient"}, {onIndex, "reset", "transient"},
	{onIndex, "404", "permanent"}, {onIndex, "other digest", "security"}, {onIndex, "204", "permanent"},
	{onIndex, "lost", "transient"}, {onIndex, "json", "permanent"}, {onIndex, "html", "permanent"}, {onIndex, "cut", "transient"},
}

// Promises 3, 4 and 5: whatever a registry does to one image ends in its class and affects no other
// image. Afterwards, the image has one signature for one key operation.
func TestRegistryFaultsEndInTheirClass(t *testing.T) {
	t.Parallel()
	for i, f := range slices.Concat(registryFaults, indexFaults) {
		t.Run(f.on+" "+f.kind, func(t *testing.T) {
			t.Parallel()
			newYard(t, registrytest.Options{Referrers: i < len(registryFaults), TwoStepUploads: f.on == onBlob}).suffer(f.on, f.kind, f.class)
		})
	}
}

func (y *yard) suffer(on, kind, class string) {
	y.t.Helper()
	var hit atomic.Int32
	y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		part := y.part(r)
		if on == onImage && part == onTag {
			w.WriteHeader(http.StatusNotFound) // a tag with the digest makes a request for the digest unnecessary
			return true
		}
		if part != on {
			return false
		}
		hit.Add(1)
		badAnswer(kind)(w, r, next)
		return true
	})
	code, result := y.run()
	if hit.Load() == 0 {
		y.t.Fatal("the fault was not met")
	}
	if n := y.signatures("good", y.good); n != 1 {
		y.t.Errorf("the other image has %d signatures", n)
	}
	got := ""
	for _, it := range result.NotSigned {
		got += string(it.Class)
		if strings.ContainsRune(it.Reason, 0x1b) {
			y.t.Errorf("the reason holds control characters: %q", it.Reason)
		}
	}
	want := map[bool]int{true: cli.ExitFailures, false: cli.ExitDone}[class != ""]
	if got != class || code != want {
		y.t.Errorf("class %q and exit code %d, want %q and %d: %+v", got, code, class, want, result.NotSigned)
	}
	y.registry.SetHook(nil)
	if code, result := y.run(); code != cli.ExitDone {
		y.t.Errorf("when it was over: exit code %d, %+v", code, result.NotSigned)
	}
	if n := y.signatures("bad", y.bad); n != 1 {
		y.t.Errorf("the image has %d signatures", n)
	}
	if n := y.operations(); n != 2 {
		y.t.Errorf("%d key operations for two images", n)
	}
}

// Two repositories of DCT have hosts that are the same but written differently, so their images are
// in one place. The images are signed once, for the first of the two. The other is an error of its
// own that stops nothing else.
func TestOnePlaceIsSignedOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	_, port, err := net.SplitHostPort(y.registry.Host())
	must(t, err)
	pins := map[string][]string{y.repos["bad"].GUN(): y.repos["bad"].RootKeyIDs()}
	y.args = append(y.args[:len(y.args)-2], "--workers", "4", "--notary-concurrency", "4", y.registry.Host()+"/bad")
	for _, host := range []string{"LOCALHOST:", "LocalHost:", "localhost:"} {
		r, err := y.notary.NewRepository(host + port + "/good")
		must(t, err)
		must(t, r.Sign("v1", y.good.Digest.Encoded(), y.good.Size))
		must(t, r.Publish())
		pins[r.GUN()] = r.RootKeyIDs()
		y.args = append(y.args, r.GUN())
	}
	raw, err := json.Marshal(map[string]any{"trust_pinning": map[string]any{"certs": pins}})
	must(t, err)
	must(t, os.WriteFile(y.path("pins.json"), raw, 0o600))
	for range 2 {
		code, result := y.run()
		if code != cli.ExitFailures || len(result.Unread) != 2 || !strings.Contains(fmt.Sprint(result.Unread), "localhost:"+port+"/good") {
			t.Errorf("got exit code %d, %d not read: %+v; want %d, and both others", code, len(result.Unread), result.Unread, cli.ExitFailures)
		}
		if n := y.signatures("good", y.good); n != 1 {
			t.Errorf("got %d signatures of one image in one place, want 1", n)
		}
		if y.signatures("bad", y.bad) != 1 {
			t.Errorf("another repository: got %d signatures, want 1", y.signatures("bad", y.bad))
		}
	}
}

// Promise 4: what the registry lists but does not return may be ours. Nothing is signed a second
// time because of it, whoever answers instead, and the run is incomplete.
func TestNothingIsSignedTwiceForALostAnswer(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"/referrers/", "/manifests/sha256-", "signature", "/blobs/"} {
		for _, kind := range []string{"404", "204", "html", "other digest", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"} {
			api := on != "/manifests/sha256-"
			if on == "/referrers/" && (kind == "404" || strings.HasSuffix(kind, "_UNKNOWN") && kind != "NAME_UNKNOWN") || on == "/manifests/sha256-" && kind == "MANIFEST_UNKNOWN" {
				continue // what a registry without this API, or without a list, answers
			}
			if kind == "other digest" && api {
				continue // bytes that are requested by digest prove themselves
			}
			t.Run(on+" "+kind, func(t *testing.T) {
				t.Parallel()
				y := newYard(t, registrytest.Options{Referrers: api})
				if code, r := y.run(); code != cli.ExitDone {
					t.Fatalf("first run: got exit code %d, want %d: %+v", code, cli.ExitDone, r)
				}
				must(t, os.Remove(y.path("ledger.db")))
				list, err := y.registry.Signatures("bad", y.bad.Digest.String())
				must(t, err)
				part := map[bool]string{true: list[0].Digest.String(), false: on}[on == "signature"]
				y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
					if r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/v2/bad/") || !strings.Contains(r.URL.Path, part) {
						return false
					}
					if strings.HasSuffix(kind, "_UNKNOWN") {
						w.WriteHeader(http.StatusNotFound)
						fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, kind)
						return true
					}
					badAnswer(kind)(w, r, next)
					return true
				})
				code, r := y.run()
				if n := y.signatures("bad", y.bad); n != 1 || code != cli.ExitFailures || r.Complete {
					t.Errorf("got %d signatures, exit code %d, complete %v, want 1, %d, false: %+v", n, code, r.Complete, cli.ExitFailures, r.NotSigned)
				}
				if n := y.operations(); n != 2 {
					t.Errorf("got %d key operations for two images, want 2", n)
				}
				if n := y.signatures("good", y.good); n != 1 {
					t.Errorf("the other image: got %d signatures, want 1", n)
				}
			})
		}
	}
}

// If the ledger knows that a registry has the referrers API, and a proxy answers for the API,
// nothing is signed again while it does so. doctor says so beforehand.
func TestALedgerRemembersTheReferrersAPI(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	if code, r := y.run(); code != cli.ExitDone {
		t.Fatalf("first run: got exit code %d, want %d: %+v", code, cli.ExitDone, r)
	}
	y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		hit := strings.HasPrefix(r.URL.Path, "/v2/bad/referrers/")
		if hit {
			badAnswer("404")(w, r, next)
		}
		return hit
	})
	second, err := y.registry.PutImage("bad", "v2", "another")
	must(t, err)
	must(t, y.repos["bad"].Sign("v2", second.Digest.Encoded(), second.Size))
	must(t, y.repos["bad"].Publish())
	y.args = append(y.args, "--recheck")
	code, r := y.run()
	if n, m := y.signatures("bad", y.bad), y.signatures("bad", second); n != 1 || m != 0 || code != cli.ExitFailures || r.Complete {
		t.Errorf("got %d and %d signatures, exit code %d, complete %v, want 1, 0, %d, false: %+v", n, m, code, r.Complete, cli.ExitFailures, r.NotSigned)
	}
	for _, it := range r.NotSigned {
		if !strings.Contains(it.Reason, "--force-referrers-tag") {
			t.Errorf("got reason %q, want one that names --force-referrers-tag", it.Reason)
		}
	}
	if n := y.operations(); n != 2 {
		t.Errorf("got %d key operations, want 2", n)
	}
	var out, said bytes.Buffer
	args := append([]string{"doctor"}, y.args[1:len(y.args)-1]...)
	code = Main(context.Background(), nil, slices.DeleteFunc(args, func(a string) bool { return a == "--no-tty" }), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &said})
	var checks struct {
		Checks []report.Check
	}
	if err := json.Unmarshal(out.Bytes(), &checks); err != nil {
		t.Fatalf("doctor: got exit code %d, error %v, want JSON: %s%s", code, err, out.String(), said.String())
	}
	for _, c := range checks.Checks {
		if want := map[bool]report.Health{true: report.Fail, false: report.OK}[strings.HasSuffix(c.Subject, "/bad")]; c.Check == "registry-referrers" && c.Result != want {
			t.Errorf("doctor, %s: got %s, want %s", c.Subject, c.Result, want)
		}
	}
	y.registry.SetHook(nil)
	if code, r := y.run(); code != cli.ExitDone || y.signatures("bad", y.bad) != 1 || y.signatures("bad", second) != 1 {
		t.Errorf("when it is back: got exit code %d, want %d and 1 signature each: %+v", code, cli.ExitDone, r)
	}
}

// Promise 4: a signature that the ledger names is not made again because the list lacks it, whether
// the list is late or no list at all. After the ledger was lost, an answer that is no list also
// causes no second signature.
func TestNothingIsSignedTwiceForALateList(t *testing.T) {
	t.Parallel()
	for body, list := range map[string]bool{
		`{}`: false, `null`: false, `{"errors":[]}`: false, `{"Manifests":[]}`: false,
		`{"schemaVersion":2,"manifests":null}`:                                                     true, // olareg's form
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`: true,
	} {
		for _, lost := range []bool{false, true} {
			if lost && list {
				continue // nothing shows that there was a signature
			}
			t.Run(fmt.Sprintf("%s lost %t", body, lost), func(t *testing.T) {
				t.Parallel()
				y := newYard(t, registrytest.Options{Referrers: true})
				if code, r := y.run(); code != cli.ExitDone {
					t.Fatalf("first run: got exit code %d, want %d: %+v", code, cli.ExitDone, r)
				}
				if lost {
					must(t, os.Remove(y.path("ledger.db")))
				}
				y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
					hit := strings.HasPrefix(r.URL.Path, "/v2/bad/referrers/")
					if hit {
						w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
						_, _ = fmt.Fprint(w, body)
					}
					return hit
				})
				y.args = append(y.args, "--recheck")
				code, r := y.run()
				if code != cli.ExitFailures || r.Complete || y.operations() != 2 || y.signatures("good", y.good) != 1 {
					t.Errorf("got exit code %d, complete %t, %d key operations, want %d, false, 2: %+v", code, r.Complete, y.operations(), cli.ExitFailures, r.NotSigned)
				}
				y.registry.SetHook(nil)
				if code, r := y.run(); code != cli.ExitDone || y.signatures("bad", y.bad) != 1 || y.operations() != 2 {
					t.Errorf("when the list is there: got exit code %d, %d signatures, %d key operations, want %d, 1, 2: %+v",
						code, y.signatures("bad", y.bad), y.operations(), cli.ExitDone, r.NotSigned)
				}
			})
		}
	}
}

// Promise 4: a proxy that answers 404 for the referrers API a few times causes no second signature,
// although the ledger that knew of the API is lost and a tag was added since that the signature
// does not bind.
func TestReferrersAPIThatIsAwayForAFewRequestsIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, lies := range map[string]func(path string, ofPath, ofAll int) bool{
		"twice for each path":           func(_ string, ofPath, _ int) bool { return ofPath <= 2 },
		"three times for each path":     func(_ string, ofPath, _ int) bool { return ofPath <= 3 },
		"three times for each image":    func(path string, ofPath, _ int) bool { return ofPath <= 3 && !strings.Contains(path, "sha256:0000") },
		"twice for each, and one never": func(path string, ofPath, _ int) bool { return ofPath <= 2 && path[len(path)-1] < '8' },
		"for six requests":              func(_ string, _, ofAll int) bool { return ofAll <= 6 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, registrytest.Options{Referrers: true})
			images := []ocispec.Descriptor{y.bad}
			for i := range 3 {
				d, err := y.registry.PutImage("bad", fmt.Sprint("more", i), fmt.Sprint("more", i))
				must(t, err)
				must(t, y.repos["bad"].Sign(fmt.Sprint("more", i), d.Digest.Encoded(), d.Size))
				images = append(images, d)
			}
			must(t, y.repos["bad"].Publish())
			if code, r := y.run(); code != cli.ExitDone {
				t.Fatalf("first run: got exit code %d, want %d: %+v", code, cli.ExitDone, r)
			}
			must(t, os.Remove(y.path("ledger.db")))
			for i, d := range images {
				must(t, y.repos["bad"].Sign(fmt.Sprint("joined", i), d.Digest.Encoded(), d.Size))
			}
			must(t, y.repos["bad"].Publish())
			var mu sync.Mutex
			all, asked := 0, map[string]int{}
			y.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
				if !strings.HasPrefix(r.URL.Path, "/v2/bad/referrers/") {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				all++
				asked[r.URL.Path]++
				hit := lies(r.URL.Path, asked[r.URL.Path], all)
				if hit {
					w.WriteHeader(http.StatusNotFound)
				}
				return hit
			})
			y.run()
			for range 2 {
				for _, d := range images {
					if n := y.signatures("bad", d); n != 1 {
						t.Errorf("%s: got %d signatures, want 1", d.Digest, n)
					}
				}
				y.registry.SetHook(nil)
				if code, r := y.run(); code != cli.ExitDone {
					t.Errorf("when it is back: got exit code %d, want %d: %+v", code, cli.ExitDone, r.NotSigned)
				}
			}
		})
	}
}

// If the list is kept in a tag, an entry that another writer has lost is restored without the key.
func TestALostEntryIsListedAgain(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{})
	if code, r := y.run(); code != cli.ExitDone {
		t.Fatalf("first run: got exit code %d, want %d: %+v", code, cli.ExitDone, r)
	}
	before, err := y.registry.Signatures("bad", y.bad.Digest.String())
	must(t, err)
	_, err = y.registry.PutManifest("bad", fallback(y.bad), ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	must(t, err)
	if n := y.signatures("bad", y.bad); n != 0 {
		t.Fatalf("after the entry was lost: got %d listed, want 0", n)
	}
	y.args = append(y.args, "--recheck")
	code, r := y.run()
	after, err := y.registry.Signatures("bad", y.bad.Digest.String())
	must(t, err)
	if code != cli.ExitDone || len(after) != 1 || after[0].Digest != before[0].Digest || y.operations() != 2 {
		t.Errorf("got exit code %d, listed %v, %d key operations, want %d, %v, 2: %+v", code, after, y.operations(), cli.ExitDone, before, r.NotSigned)
	}
}

// keyField names the yard's key as the ledger does.
const keyField = "kmstest/release kmstest release"

// runOn calls run with more flags, on a ledger of that name.
func (y *yard) runOn(ledger string, more ...string) (int, report.Run) {
	y.t.Helper()
	other := *y
	other.args = append(slices.Clone(y.args), more...)
	other.args[slices.Index(other.args, "--state")+1] = y.path(ledger)
	return other.run()
}

// bindTo makes a ledger which says that the key has the stranger's certificate.
func (y *yard) bindTo(ledger string, s *notation.Signer, forge func(*state.Ledger)) {
	y.t.Helper()
	l, err := state.Open(y.path(ledger), state.Options{Tool: "forger"})
	must(y.t, err)
	defer func() { must(y.t, l.Close()) }()
	must(y.t, l.Bind(&state.Fingerprint{
		Keys: keyField, Signers: map[string]state.Signer{keyField: {Identity: s.Identity().String(), Chain: s.Chain()}},
	}, true))
	forge(l)
}

// A ledger cannot choose whose signatures are ours. If it says that the key has an attacker's
// certificate, his signatures in the registry do not count, and the envelope that he put into the
// outbox is not pushed.
func TestForgedCertificateInTheLedgerCountsForNothing(t *testing.T) {
	t.Parallel()
	attacker := stranger(t)
	theirs, err := notation.Open(t.Context(), attacker, notation.Options{})
	must(t, err)
	for name, configured := range map[string]bool{"": false, ", the key's certificate configured": true} {
		for place, laid := range map[string]bool{"in the registry": false, "in the outbox": true} {
			t.Run(place+name, func(t *testing.T) {
				t.Parallel()
				y := newYard(t, registrytest.Options{Referrers: true})
				var more []string
				if configured {
					more = []string{"--accept-certificate", y.key.ChainFile}
				}
				gun := y.registry.Host() + "/bad"
				bound := map[string]string{migrate.MetadataGUN: gun, migrate.MetadataTag + "v1": "targets"}
				want := 0
				y.bindTo("forged.db", theirs, func(l *state.Ledger) {
					if !laid {
						y.attach(attacker, y.bad, bound)
						want = 1
						return
					}
					e, err := session.Signer{Signer: theirs}.Sign(t.Context(), y.bad, bound)
					must(t, err)
					k := state.Key{Repository: gun, Digest: y.bad.Digest.String(), KeyName: "kmstest/release"}
					_, err = l.Plan([]state.Item{{Key: k, GUN: gun, Tags: []state.Tag{{Name: "v1", Role: "targets", TargetsVersion: 1}}}})
					must(t, err)
					must(t, l.Sign(k, e))
				})
				code, r := y.runOn("forged.db", more...)
				if code != cli.ExitCannot || r.Complete || r.Results[migrate.ResultAlready]+r.Results[migrate.ResultReplayed] != 0 {
					t.Errorf("got exit code %d, complete %t, %v, want %d and nothing that counts", code, r.Complete, r.Results, cli.ExitCannot)
				}
				if n := y.signatures("bad", y.bad); n != want {
					t.Errorf("got %d signatures in the registry, want %d", n, want)
				}
			})
		}
	}
}

// renew gives the plugin's key another certificate, and returns the file of the previous one.
func (y *yard) renew() (before string) {
	y.t.Helper()
	id, err := y.ca.Issue("release", nil)
	must(y.t, err)
	key, err := id.Save(y.t.TempDir(), "release")
	must(y.t, err)
	must(y.t, y.plugin.Set(kmstest.Behaviour{Keys: map[string]pki.Files{"release": key}}))
	before, y.key = y.key.ChainFile, key
	return before
}

func leafOfFile(t *testing.T, path string) string {
	t.Helper()
	chain, err := session.ReadCertificates(path)
	must(t, err)
	return notation.IdentityOf(chain[0]).Leaf()
}

// After an accepted renewal, nothing is signed twice, and the result says which certificates made
// the signatures. --resign signs each once more. If the ledger is lost, the user names the previous
// certificate.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		y := newYard(t, registrytest.Options{Referrers: referrers})
		if code, r := y.run(); code != 0 || r.Certificates[leafOfFile(t, y.key.ChainFile)] != 2 {
			t.Fatalf("first run: got exit code %d, %v, want 0, 2 with the certificate of the key", code, r.Certificates)
		}
		file := y.renew()
		before, now := leafOfFile(t, file), leafOfFile(t, y.key.ChainFile)
		for _, c := range []struct {
			name, ledger string
			more         []string
			code         int
			signed       int
			by           map[string]int
			signatures   int
		}{
			{"not noticed, as nothing is left to do", "ledger.db", nil, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"looked up, and not accepted", "ledger.db", []string{"--recheck"}, cli.ExitCannot, 0, nil, 1},
			{"accepted", "ledger.db", []string{"--accept-changes"}, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"looked up", "ledger.db", []string{"--recheck"}, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"lost, and told of the one before", "lost.db", []string{"--accept-certificate", file}, cli.ExitDone, 0, map[string]int{before: 2}, 1},
			{"renewed", "ledger.db", []string{"--resign"}, cli.ExitDone, 2, map[string]int{now: 2}, 2},
			{"and no more", "ledger.db", []string{"--resign"}, cli.ExitDone, 0, map[string]int{now: 2}, 2},
			{"lost, and told by thumbprint", "lost2.db", []string{"--accept-certificate", "sha256:" + before}, cli.ExitDone, 0, map[string]int{now: 2}, 2},
		} {
			code, r := y.runOn(c.ledger, c.more...)
			if code != c.code || r.Results[migrate.ResultSigned] != c.signed || r.Complete != (c.code == cli.ExitDone) {
				t.Errorf("referrers %t, %s: got exit code %d, %v, complete %t, want %d, %d signed, %t", referrers, c.name, code, r.Results, r.Complete, c.code, c.signed, c.code == cli.ExitDone)
			}
			for leaf, n := range c.by {
				if r.Certificates[leaf] != n || len(r.Certificates) != len(c.by) {
					t.Errorf("referrers %t, %s: got %v by certificate, want %v", referrers, c.name, r.Certificates, c.by)
				}
			}
			if n := y.signatures("good", y.good); n != c.signatures {
				t.Errorf("referrers %t, %s: got %d signatures, want %d", referrers, c.name, n, c.signatures)
			}
		}
	}
}

// If one of several registries has a list that names nothing, its repositories are unknown. The
// others are compared and signed, and the call is incomplete.
func TestARegistryThatNamesNothingIsNotComplete(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	both := []string{"--trust-policy", g.path("strict.json"), p.registry.Host() + "/*", g.places[1].registry.Host() + "/*"}
	var asked atomic.Int32 // requests for a changefeed, by one call
	check := func(how, body string, names int) {
		t.Helper()
		asked.Store(0)
		code, out, said := g.main("verify", append([]string{"--discover", how}, both...)...)
		var v struct {
			Agree, Complete bool
			Repositories    []struct{}
		}
		if err := json.Unmarshal(out, &v); err != nil || code != cli.ExitFailures || v.Complete || v.Agree || len(v.Repositories) != names {
			t.Errorf("verify, %s %s: got exit code %d, complete %t, agree %t, %d repositories, want %d, false, false, %d: %v %s",
				how, body, code, v.Complete, v.Agree, len(v.Repositories), cli.ExitFailures, names, err, said)
		}
		asked.Store(0)
		code, out, said = g.main("run", append([]string{"--discover", how, "--state", g.path(how + ".db")}, both[2:]...)...)
		var r struct{ Complete bool }
		if err := json.Unmarshal(out, &r); err != nil || code != cli.ExitFailures || r.Complete {
			t.Errorf("run, %s %s: got exit code %d, complete %t, want %d, false: %v %s", how, body, code, r.Complete, cli.ExitFailures, err, said)
		}
	}
	for _, body := range []string{`{}`, `[]`, `{"repositories":null}`, `{"repositories":[]}`} {
		p.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			hit := strings.HasPrefix(r.URL.Path, "/v2/_catalog")
			if hit {
				_, _ = fmt.Fprint(w, body)
			}
			return hit
		})
		check("catalog", body, 1)
		g.restore()
	}
	g.notary.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		hit := strings.HasSuffix(r.URL.Path, "/_trust/changefeed") && asked.Add(1) == 1 // for the first registry
		if hit {
			_, _ = fmt.Fprint(w, `{"count":0,"records":[]}`)
		}
		return hit
	})
	defer g.notary.SetHook(nil)
	check("changefeed", "", 2)
}
