package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dct2notation/dct2notation/internal/schematest"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/testing/tsatest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dct2notation": main, "docker-credential-keeper": credentialHelper})
}

// TestScripts runs the stories in testdata/script: the real command against real servers, which the
// commands below start and damage.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "..", "testdata", "script"),
		Setup: func(env *testscript.Env) error {
			f, err := newFixture(env)
			env.Values[fixtureKey{}] = f
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"publish": cmd(publish), "fault": cmd(fault), "signatures": cmd(signatures), "key": cmd(key),
			"harm": cmd(harm), "image": cmd(image), "operations": cmd(operations), "uploads": cmd(uploads), "await": cmd(await), "hold": cmd(hold), "exits": exits, "copy": cmd(copyImage), "offline": cmd(offline), "sameplan": cmd(sameplan), "metadata": cmd(metadata), "interrupted": interrupted, "unsign": cmd(unsign), "digest": cmd(digestOf), "publishindex": cmd(publishIndex), "children": cmd(children),
			"revoke": cmd(revoke), "rollback": cmd(rollback), "lapsed": cmd(lapsed), "spoil": cmd(spoil), "forget": cmd(forget), "anew": cmd(anew), "comeback": cmd(comeback), "rootkey": cmd(rootKey), "record": cmd(record), "stamped": cmd(stamped), "attached": cmd(attached), "schema": cmd(schema), "today": cmd(today), "fill": cmd(fill),
			"renewals": renewals, "outlive": cmd(outlive), "forge": cmd(forge),
			"freeport": freeport, "page": page, "until": until,
			"login": cmd(login), "echo": cmd(echo), "presigned": cmd(presigned), "nosecrets": cmd(noSecrets),
		},
		RequireUniqueNames: true,
	})
}

type fixtureKey struct{}

// fixture is the world of one script: a Notary server, a registry, notation's folders
// with a trust policy, and a key in a plugin.
type fixture struct {
	notary   *notarytest.Server
	registry *registrytest.Registry
	plugin   *kmstest.Plugin
	ca       *pki.Identity
	identity *pki.Identity
	alice    *pki.Identity // identity of the plugin's other key
	tsa      *tsatest.TSA
	dir      string

	repos map[string]*notarytest.Repository
	gone  map[string][]byte // files, by role, of the repository that was initialised anew last
	lapse time.Time         // when the short-lived role expires
	held  chan struct{}     // closed when a held request has arrived
}

const (
	user     = "deploy"
	password = "canary-7c1f-secret"
)

func newFixture(env *testscript.Env) (*fixture, error) {
	f := &fixture{dir: env.WorkDir, repos: map[string]*notarytest.Repository{}}
	var err error
	users := map[string]string{user: password}
	if f.notary, err = notarytest.Start(notarytest.Options{TLS: true, Token: true, Users: users}); err != nil {
		return nil, err
	}
	env.Defer(f.notary.Close)
	if f.registry, err = registrytest.Start(registrytest.Options{TLS: true, Token: true, Users: users, Referrers: true}); err != nil {
		return nil, err
	}
	env.Defer(f.registry.Close)
	if f.tsa, err = tsatest.Start(); err != nil {
		return nil, err
	}
	env.Defer(f.tsa.Close)
	env.Setenv("TSA", f.tsa.URL())
	if err := f.write("tsa.pem", f.tsa.RootPEM()); err != nil {
		return nil, err
	}
	env.Setenv("ROOT", filepath.Join(env.WorkDir, "notation", "truststore", "x509", "ca", "script", "root.pem"))
	env.Setenv("SOON", time.Now().AddDate(0, 0, 8).Format(time.DateOnly))
	env.Setenv("NOTARY", f.notary.URL())
	env.Setenv("NOTARY_HOST", f.notary.Host())
	env.Setenv("REGISTRY", f.registry.Host())
	env.Setenv("HOME", env.WorkDir)
	for name, folder := range map[string]string{"DOCKER_CONFIG": "docker", "NOTATION_CONFIG": "notation", "NOTATION_LIBEXEC": "libexec", "XDG_STATE_HOME": "state"} {
		env.Setenv(name, filepath.Join(env.WorkDir, folder))
	}
	if err := f.write("ca.pem", append(f.registry.CAPEM(), f.notary.CAPEM()...)); err != nil {
		return nil, err
	}
	auth := map[string]any{"username": user, "password": password}
	if err := f.writeJSON("docker/config.json", map[string]any{"auths": map[string]any{f.registry.Host(): auth}}); err != nil {
		return nil, err
	}
	if f.ca, err = pki.NewAuthority("script"); err != nil {
		return nil, err
	}
	if err := f.trust("app", "other", "good", "mirror/app"); err != nil {
		return nil, err
	}
	// The configuration that most scripts use.
	return f, f.write("config.yaml", []byte(fmt.Sprintf(`version: 1
notary-server: %s
trust-pinning: pins.json
ca-file: ca.pem
plugin: kmstest
id: release
plugin-config: {behaviour: "${WORK}/libexec/plugins/kmstest/kmstest.json"}
state: ledger.db
`, f.notary.URL())))
}

// trust writes notation's trust store and policy for repositories of the registry.
func (f *fixture) trust(repos ...string) error {
	if err := f.write("notation/truststore/x509/ca/script/root.pem", f.ca.CertificatePEM()); err != nil {
		return err
	}
	var scopes []string
	for _, r := range repos {
		scopes = append(scopes, f.registry.Host()+"/"+r)
	}
	return f.writeJSON("notation/trustpolicy.json", map[string]any{"version": "1.0", "trustPolicies": []any{map[string]any{
		"name": "script", "registryScopes": scopes, "signatureVerification": map[string]any{"level": "strict"},
		"trustStores": []string{"ca:script"}, "trustedIdentities": []string{"*"},
	}}})
}

func (f *fixture) write(name string, content []byte) error {
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

func (f *fixture) writeJSON(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.write(name, raw)
}

// cmd makes a script command from a function that uses the fixture.
func cmd(run func(ts *testscript.TestScript, f *fixture, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := run(ts, ts.Value(fixtureKey{}).(*fixture), args)
		if neg != (err != nil) {
			ts.Fatalf("%v", err)
		}
	}
}

// publish REPO TAG... puts images into the registry and signs them in DCT. With +name among the
// tags, it first adds a signer. It pins REPO in pins.json. TAG=TAG2 gives TAG the image of TAG2.
func publish(_ *testscript.TestScript, f *fixture, args []string) error {
	name := f.registry.Host() + "/" + args[0]
	r, ok := f.repos[name]
	var err error
	if !ok {
		if r, err = f.notary.NewRepository(name); err != nil {
			return err
		}
		f.repos[name] = r
	}
	for _, tag := range args[1:] {
		if signer, ok := strings.CutPrefix(tag, "+"); ok {
			if err := r.AddSigner(signer); err != nil {
				return err
			}
			continue
		}
		tag, of, same := strings.Cut(tag, "=")
		if !same {
			of = args[0] + "/" + tag
		} else {
			of = args[0] + "/" + of
		}
		desc, err := f.registry.PutImage(args[0], tag, of)
		if err != nil {
			return err
		}
		if err := r.Sign(tag, desc.Digest.Encoded(), desc.Size); err != nil {
			return err
		}
	}
	if err := r.Publish(); err != nil {
		return err
	}
	certs := map[string][]string{}
	for gun, r := range f.repos {
		certs[gun] = r.RootKeyIDs()
	}
	return f.writeJSON("pins.json", map[string]any{"trust_pinning": map[string]any{"certs": certs}})
}

// revoke REPO TAG removes a tag from DCT.
func revoke(_ *testscript.TestScript, f *fixture, args []string) error {
	r := f.repos[f.registry.Host()+"/"+args[0]]
	if err := r.Remove(args[1]); err != nil {
		return err
	}
	return r.Publish()
}

// rollback REPO makes the Notary server serve the state before the last publication.
func rollback(_ *testscript.TestScript, f *fixture, args []string) error {
	gun := f.registry.Host() + "/" + args[0]
	for _, role := range f.notary.Roles(gun) {
		if history := f.notary.History(gun, role); len(history) > 1 {
			before := history[len(history)-2]
			f.notary.Put(gun, role, before.Number, before.Raw)
		}
	}
	return nil
}

// forget REPO deletes a repository from the Notary server.
func forget(_ *testscript.TestScript, f *fixture, args []string) error {
	f.notary.Delete(f.registry.Host() + "/" + args[0])
	return nil
}

// anew REPO deletes a repository from the Notary server, so that publish initialises it anew.
func anew(ts *testscript.TestScript, f *fixture, args []string) error {
	name := f.registry.Host() + "/" + args[0]
	f.gone = map[string][]byte{}
	for _, role := range f.notary.Roles(name) {
		f.gone[role] = f.notary.Raw(name, role)
	}
	delete(f.repos, name)
	return forget(ts, f, args)
}

// comeback REPO makes the server serve what it had before the repository was initialised anew.
func comeback(_ *testscript.TestScript, f *fixture, args []string) error {
	name := f.registry.Host() + "/" + args[0]
	f.notary.Delete(name)
	for role, raw := range f.gone {
		f.notary.Put(name, role, 99, raw)
	}
	return nil
}

// rootkey REPO VARIABLE sets the variable to the id of a repository's root key.
func rootKey(ts *testscript.TestScript, f *fixture, args []string) error {
	ts.Setenv(args[1], f.repos[f.registry.Host()+"/"+args[0]].RootKeyIDs()[0])
	return nil
}

// record update|deletion NAME adds a record to the changefeed, although nothing happened.
func record(_ *testscript.TestScript, f *fixture, args []string) error {
	f.notary.Record(args[1], args[0])
	return nil
}

// image REPO TAG puts an image that DCT does not know into the registry, under a tag that DCT may
// know.
func image(_ *testscript.TestScript, f *fixture, args []string) error {
	_, err := f.registry.PutImage(args[0], args[1], "outside "+args[0]+"/"+args[1])
	return err
}

// offline writes all trust data of the server as docker would have stored it, and as a dump of the
// server's database.
func offline(_ *testscript.TestScript, f *fixture, _ []string) error {
	var dump strings.Builder
	for gun := range f.repos {
		for _, role := range f.notary.Roles(gun) {
			if err := f.write("docker/trust/tuf/"+gun+"/metadata/"+role+".json", f.notary.Raw(gun, role)); err != nil {
				return err
			}
			for _, v := range f.notary.History(gun, role) {
				fmt.Fprintf(&dump, "%s\t%s\t%d\t%s\t%s\n", gun, role, v.Number, v.SHA256, base64.StdEncoding.EncodeToString(v.Raw))
			}
		}
	}
	return f.write("dump.tsv", []byte(dump.String()))
}

// today FILE replaces each TODAY by today's date.
func today(_ *testscript.TestScript, f *fixture, args []string) error {
	raw, err := os.ReadFile(filepath.Join(f.dir, args[0]))
	if err != nil {
		return err
	}
	return f.write(args[0], bytes.ReplaceAll(raw, []byte("TODAY"), []byte(time.Now().Format(time.DateOnly))))
}

// fill FILE replaces each $NAME by the value of the environment variable.
func fill(ts *testscript.TestScript, f *fixture, args []string) error {
	return f.write(args[0], []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)))
}

// sameplan FILE FILE checks that two plans differ only in the time.
func sameplan(_ *testscript.TestScript, f *fixture, args []string) error {
	var plans [2]map[string]any
	for i, name := range args {
		raw, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &plans[i]); err != nil {
			return err
		}
		delete(plans[i], "created")
	}
	if !reflect.DeepEqual(plans[0], plans[1]) {
		return fmt.Errorf("%s and %s differ", args[0], args[1])
	}
	return nil
}

// copy REPO TAG PLACE also puts DCT's image of a tag into another repository.
func copyImage(_ *testscript.TestScript, f *fixture, args []string) error {
	_, err := f.registry.PutImage(args[2], args[1], args[0]+"/"+args[1])
	return err
}

// lifetime is how long a short-lived role is valid. In that time a script saves and signs it.
const lifetime = 12 * time.Second

// lapsed waits until the short-lived role has expired.
func lapsed(_ *testscript.TestScript, f *fixture, _ []string) error {
	time.Sleep(time.Until(f.lapse))
	return nil
}

// harm REPO KIND ROLE damages trust data, or makes it expire soon.
func harm(_ *testscript.TestScript, f *fixture, args []string) error {
	r := f.repos[f.registry.Host()+"/"+args[0]]
	switch args[1] {
	case "expire":
		return r.Expire(args[2])
	case "lapse":
		return r.Tamper(args[2], func(signed map[string]any) {
			f.lapse = time.Now().Add(lifetime).Truncate(time.Second)
			signed["expires"] = f.lapse.UTC().Format(time.RFC3339)
		}, true)
	case "signature":
		return r.BadSignature(args[2])
	}
	return fmt.Errorf("unknown harm %s", args[1])
}

// fault notary|registry|tsa KIND [PATH] makes a server answer badly, everywhere or where the path
// contains PATH. KIND 404 is a proxy's, not-found the Notary server's own. KIND skew dates its
// answers ten minutes back. KIND off ends the fault.
func fault(_ *testscript.TestScript, f *fixture, args []string) error {
	where := ""
	if len(args) > 2 {
		where = args[2]
	}
	answer, ok := map[string]func(w http.ResponseWriter){
		"off": nil,
		"html": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>hello</html>")
		},
		"redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example.com/")
			w.WriteHeader(http.StatusMovedPermanently)
		},
		"401": func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"403": func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"full": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"adding 1.3 KiB of storage resource, which when updated to current usage of 10.0 MiB will exceed the configured upper limit of 10.0 MiB."}]}`)
		},
		"404": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"not-found": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist."}]}`)
		},
		"odd-names": func(w http.ResponseWriter) { fmt.Fprint(w, `{"repositories":["app","","a b/c","Notary","x:y"]}`) },
		"reset":     func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"skew": func(w http.ResponseWriter) {
			w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		},
	}[args[1]]
	if !ok {
		return fmt.Errorf("unknown fault %s", args[1])
	}
	hit := func(w http.ResponseWriter, r *http.Request) bool {
		if answer == nil || !strings.Contains(r.URL.Path, where) {
			return false
		}
		answer(w)
		return args[1] != "skew" // the next handler answers
	}
	switch args[0] {
	case "notary":
		f.notary.SetHook(hit)
		return nil
	case "tsa":
		f.tsa.SetFault(func(w http.ResponseWriter) bool {
			if answer != nil {
				answer(w)
			}
			return answer != nil
		})
		return nil
	}
	f.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool { return hit(w, r) })
	return nil
}

// hold makes the registry store the next signature manifest but withhold its answer. await waits
// until that has happened.
func hold(_ *testscript.TestScript, f *fixture, _ []string) error {
	f.held = make(chan struct{})
	var once sync.Once
	f.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		registrytest.LoseAnswer(r.WithContext(context.WithoutCancel(r.Context())), silently{next, func() { once.Do(func() { close(f.held) }) }, r})
		return true
	})
	return nil
}

// silently serves a request, signals that it did, and blocks the client until it has gone.
type silently struct {
	http.Handler
	done   func()
	client *http.Request
}

func (s silently) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Handler.ServeHTTP(w, r)
	s.done()
	<-s.client.Context().Done()
}

func await(_ *testscript.TestScript, f *fixture, _ []string) error {
	select {
	case <-f.held:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("no signature was pushed")
	}
}

// signatures REPO TAG N checks how many signatures the registry lists for DCT's digest of
// a tag.
func signatures(_ *testscript.TestScript, f *fixture, args []string) error {
	want, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	// PLACE:REPO is a repository that was copied from REPO.
	place, from, copied := strings.Cut(args[0], ":")
	if !copied {
		from = place
	}
	desc, err := f.registry.PutImage(place, "", from+"/"+args[1])
	if err != nil {
		return err
	}
	list, err := f.registry.Signatures(place, desc.Digest.String())
	if err == nil && len(list) != want {
		err = fmt.Errorf("%s:%s has %d signatures, want %d", args[0], args[1], len(list), want)
	}
	return err
}

// attached REPO TAG N checks how many signatures there are of what a tag points to, and that this
// is a report.
func attached(_ *testscript.TestScript, f *fixture, args []string) error {
	desc, err := f.registry.Resolve(args[0], args[1])
	if err != nil {
		return err
	}
	raw, err := f.registry.Manifest(args[0], args[1])
	if err != nil {
		return err
	}
	if _, err := migrate.NewEvidence(raw); err != nil {
		return err
	}
	list, err := f.registry.Signatures(args[0], desc.Digest.String())
	if err == nil && strconv.Itoa(len(list)) != args[2] {
		err = fmt.Errorf("%s:%s has %d signatures, want %s", args[0], args[1], len(list), args[2])
	}
	return err
}

// stamped REPO TAG checks that the one signature of DCT's digest of a tag has a timestamp.
func stamped(_ *testscript.TestScript, f *fixture, args []string) error {
	c, err := f.contents(args[0], args[1])
	if err == nil && c.Stamped.IsZero() {
		err = errors.New("no timestamp")
	}
	return err
}

// publishindex REPO TAG KIND puts an image for two platforms into the registry, as an OCI index or
// as a docker manifest list, and signs its digest in DCT. The repository must have been published
// before.
func publishIndex(ts *testscript.TestScript, f *fixture, args []string) error {
	desc, err := f.putIndex(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	r := f.repos[f.registry.Host()+"/"+args[0]]
	if err := r.Sign(args[1], desc.Digest.Encoded(), desc.Size); err != nil {
		return err
	}
	return publish(ts, f, args[:1])
}

func (f *fixture) putIndex(repo, tag, kind string) (ocispec.Descriptor, error) {
	if kind == "docker" {
		return f.registry.PutDockerList(repo, tag, repo+"/"+tag)
	}
	return f.registry.PutIndex(repo, tag, repo+"/"+tag)
}

// children REPO TAG KIND N checks how many signatures each image of the index has.
func children(_ *testscript.TestScript, f *fixture, args []string) error {
	desc, err := f.putIndex(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	raw, err := f.registry.Manifest(args[0], desc.Digest.String())
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	for _, m := range index.Manifests {
		list, err := f.registry.Signatures(args[0], m.Digest.String())
		if err != nil || strconv.Itoa(len(list)) != args[3] {
			return fmt.Errorf("%s has %d signatures: %w", m.Digest, len(list), err)
		}
	}
	if len(index.Manifests) != 2 {
		return fmt.Errorf("%d images in the index", len(index.Manifests))
	}
	return nil
}

// unsign REPO TAG deletes the signatures of DCT's digest of a tag from the registry.
func unsign(_ *testscript.TestScript, f *fixture, args []string) error {
	desc, err := f.registry.PutImage(args[0], "", args[0]+"/"+args[1])
	if err != nil {
		return err
	}
	list, err := f.registry.Signatures(args[0], desc.Digest.String())
	for _, s := range list {
		err = errors.Join(err, f.registry.Delete(args[0], s.Digest.String()))
	}
	return err
}

// digest REPO TAG VARIABLE sets the variable to DCT's digest of a tag.
func digestOf(ts *testscript.TestScript, f *fixture, args []string) error {
	desc, err := f.registry.PutImage(args[0], "", args[0]+"/"+args[1])
	ts.Setenv(args[2], desc.Digest.String())
	return err
}

// contents reads the one signature of DCT's digest of a tag.
func (f *fixture) contents(repo, tag string) (notation.Contents, error) {
	desc, err := f.registry.PutImage(repo, "", repo+"/"+tag)
	if err != nil {
		return notation.Contents{}, err
	}
	list, err := f.registry.Signatures(repo, desc.Digest.String())
	if err != nil || len(list) != 1 {
		return notation.Contents{}, fmt.Errorf("%d signatures: %w", len(list), err)
	}
	mediaType, blob, err := f.registry.SignatureBlob(repo, list[0])
	if err != nil {
		return notation.Contents{}, err
	}
	return notation.Read(mediaType, blob)
}

// metadata REPO TAG NAME VALUE checks the signed metadata of the one signature of DCT's
// digest of a tag.
func metadata(_ *testscript.TestScript, f *fixture, args []string) error {
	c, err := f.contents(args[0], args[1])
	if err == nil && c.Target.Annotations[args[2]] != args[3] {
		err = fmt.Errorf("signed metadata %v", c.Target.Annotations)
	}
	return err
}

// key [KIND [COMMAND [COUNT]]] installs the plugin with the keys release and alice, or makes it
// fail (or slow, by 300 ms). Some kinds change the key's certificate: expired gives it an expired
// one; ending one that has 23 hours left; bare one whose subject is only a CN; renewed another one.
// envelope makes it a plugin that returns whole envelopes. rolling [OID...] makes one that renews
// the certificate for each signature, with those extended key usages; brief one whose certificates
// live for three seconds; profile [revoked|service-away|no-credentials] one of signing profiles,
// with what it says of revocation. unverifiable makes one that its signatures name for
// verification, and that cannot verify.
func key(ts *testscript.TestScript, f *fixture, args []string) (err error) {
	var change []func(*x509.Certificate)
	kind := ""
	if len(args) > 0 {
		kind = args[0]
	}
	issued := true
	switch kind {
	case "expired":
		change = append(change, pki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)))
	case "ending":
		change = append(change, pki.Valid(time.Now().Add(-time.Hour), time.Now().Add(23*time.Hour)))
	case "bare":
		change = append(change, pki.Bare)
	case "renewed":
	default:
		issued = false
	}
	id := f.identity
	if id == nil || issued {
		if id, err = f.ca.Issue("release", nil, change...); err != nil {
			return err
		}
	}
	if issued {
		kind = ""
	}
	if change == nil {
		f.identity = id // a special identity is used only once
		ts.Setenv("LEAF", notation.Thumbprint(id.Chain[0]))
	}
	b := kmstest.Behaviour{Keys: map[string]pki.Files{}}
	if b.Keys["release"], err = id.Save(f.dir, "release"); err != nil {
		return err
	}
	if f.alice == nil {
		if f.alice, err = f.ca.Issue("alice", nil); err != nil {
			return err
		}
	}
	if b.Keys["alice"], err = f.alice.Save(f.dir, "alice"); err != nil {
		return err
	}
	switch kind {
	case "envelope":
		b.Capability, kind = kmstest.ENVELOPE, ""
	case "unverifiable":
		b.Capability, kind = kmstest.ENVELOPE, ""
		b.Attributes = map[string]string{kmstest.VerificationPlugin: "kmstest"}
	case "rolling", "brief", "profile":
		authority, err := f.ca.Save(f.dir, "authority")
		if err != nil {
			return err
		}
		b.Rolling = &kmstest.Rolling{Authority: authority, Signatures: 1}
		if kind == "brief" {
			b.Rolling.LifetimeMs = 3000
		}
		answer, refused := map[string]string{"revoked": kmstest.Revoked, "service-away": kmstest.ServiceAway, "no-credentials": kmstest.NoCredentials}[args[len(args)-1]]
		if refused {
			b.Rejects = map[string]string{string(plugin.CapabilityRevocationCheckVerifier): answer}
			args = args[:len(args)-1]
		}
		for _, usage := range args[1:] {
			var oid asn1.ObjectIdentifier
			for part := range strings.SplitSeq(usage, ".") {
				n, err := strconv.Atoi(part)
				if err != nil {
					return err
				}
				oid = append(oid, n)
			}
			b.Rolling.EKUs = append(b.Rolling.EKUs, oid)
		}
		if kind == "profile" {
			b.Capability, b.SigningAuthority = kmstest.MANAGED, true
			b.Attributes = map[string]string{kmstest.VerificationPlugin: "kmstest", kmstest.SigningProfileVersion: "{id}/v1"}
			for _, name := range []string{"release", "neighbour"} {
				b.Keys["arn:aws:signer:eu-west-1:111122223333:/signing-profiles/"+name] = b.Keys["release"]
			}
		}
		kind = ""
	}
	if kind != "" {
		fault := kmstest.Fault{Kind: kmstest.Kind(kind), Command: "generate-signature", Ms: 300}
		if len(args) > 1 {
			fault.Command = args[1]
		}
		if len(args) > 2 {
			if fault.Count, err = strconv.Atoi(args[2]); err != nil {
				return err
			}
		}
		b.Faults = append(b.Faults, fault)
	}
	if f.plugin != nil {
		return f.plugin.Set(b)
	}
	f.plugin, err = kmstest.Install(filepath.Join(f.dir, "libexec"), b)
	return err
}

// schema KIND FILE... checks files against the schema of that kind. In results, each line is a
// value.
func schema(ts *testscript.TestScript, _ *fixture, args []string) error {
	rules, ok := report.Schema(args[0])
	if !ok {
		return fmt.Errorf("no schema %s", args[0])
	}
	strict, err := schematest.Strict(rules)
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		values := []string{ts.ReadFile(name)}
		if args[0] == "result" {
			values = strings.SplitAfter(strings.TrimSpace(values[0]), "\n")
		}
		for _, v := range values {
			if err := schematest.Validate(strict, []byte(v)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// exits CODE COMMAND... runs a command that must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if neg || got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// spoil FILE WORD flips one bit of each occurrence of the word in a file, as a bad disk does.
func spoil(_ *testscript.TestScript, f *fixture, args []string) error {
	path := filepath.Join(f.dir, args[0])
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	spoilt := bytes.ReplaceAll(content, []byte(args[1]), append([]byte{args[1][0] ^ 1}, args[1][1:]...))
	if bytes.Equal(spoilt, content) {
		return fmt.Errorf("%s is not in %s", args[1], args[0])
	}
	return os.WriteFile(path, spoilt, 0o600)
}

// interrupted TIMES CODE COMMAND... starts a command, sends SIGINT that many times once the key has
// been used, and checks the exit code.
func interrupted(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value(fixtureKey{}).(*fixture)
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	c := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], args[2]), args[3:]...)
	c.Dir = f.dir
	c.Env = []string{"PATH=" + ts.Getenv("PATH")}
	for _, name := range []string{"HOME", "WORK", "DOCKER_CONFIG", "NOTATION_CONFIG", "NOTATION_LIBEXEC", "XDG_STATE_HOME"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	before, err := f.plugin.Calls("generate-signature")
	ts.Check(err)
	ts.Check(c.Start())
	defer func() { _ = c.Process.Kill() }() // if it is still running
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		calls, err := f.plugin.Calls("generate-signature")
		ts.Check(err)
		if len(calls) > len(before)+2 {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the key was not used\n%s", out.String())
		}
	}
	for range times {
		ts.Check(c.Process.Signal(os.Interrupt))
		time.Sleep(50 * time.Millisecond)
	}
	_ = c.Wait() // its exit code is checked below
	ts.Logf("%s", out.String())
	if got := strconv.Itoa(c.ProcessState.ExitCode()); neg || got != args[1] {
		ts.Fatalf("exit code %s, want %s", got, args[1])
	}
	if text := out.String(); strings.Contains(text, "context canceled") || times > 1 && strings.Count(text, "Error: interrupted\n") != 1 {
		ts.Fatalf("it does not say that it was interrupted, or says more")
	}
}

// uploads N checks how many open uploads the registry has.
func uploads(_ *testscript.TestScript, f *fixture, args []string) error {
	if got := strconv.Itoa(f.registry.Uploads()); got != args[0] {
		return fmt.Errorf("%s uploads are open, want %s", got, args[0])
	}
	return nil
}

// operations N [PROOFS] checks how many key operations were spent, including proofs of the key.
// With PROOFS, it also checks how many of them were proofs.
func operations(_ *testscript.TestScript, f *fixture, args []string) error {
	calls, err := f.plugin.Calls("generate-signature")
	if err != nil {
		return err
	}
	proofs := 0
	for _, c := range calls {
		if c.Proof {
			proofs++
		}
	}
	if strconv.Itoa(len(calls)) != args[0] {
		return fmt.Errorf("%d key operations, want %s", len(calls), args[0])
	}
	if len(args) > 1 && strconv.Itoa(proofs) != args[1] {
		return fmt.Errorf("%d proofs of the key, want %s", proofs, args[1])
	}
	return nil
}

// renewals LEDGER N checks that the ledger's history has N renewals of a key's certificate, each
// with a different chain.
func renewals(ts *testscript.TestScript, _ bool, args []string) {
	l, err := state.Open(ts.MkAbs(args[0]), state.Options{ReadOnly: true})
	ts.Check(err)
	events, err := l.Events(0, 10_000)
	ts.Check(errors.Join(err, l.VerifyEvents(), l.Close()))
	leaves := map[string]bool{}
	for _, e := range events {
		if e.Kind == state.EventRenewed {
			leaves[string(e.Chain[0])] = true
		}
	}
	if strconv.Itoa(len(leaves)) != args[1] {
		ts.Fatalf("the history has %d renewed certificates, want %s", len(leaves), args[1])
	}
}

// forge LEDGER WHAT REPO TAG changes a ledger as somebody would who can write to its file and knows
// what it is bound to. It is about the one signature that the registry has of the tag. WHAT is one
// of these. done: the ledger has the item as done by it, and by the key's identity. made: a run of
// this ledger has made it. listed: it is in the outbox. pending: it is also gone from the registry.
// earlier NAME OTHER: its certificate, and the key's identity with OTHER in place of NAME, are
// earlier identities of the key, whose last chain is the signature's.
func forge(ts *testscript.TestScript, f *fixture, args []string) error {
	what, repo, tag := args[1], args[2], args[3]
	image, err := f.registry.PutImage(repo, "", repo+"/"+tag)
	if err != nil {
		return err
	}
	list, err := f.registry.Signatures(repo, image.Digest.String())
	if err != nil || len(list) != 1 {
		return fmt.Errorf("%d signatures: %w", len(list), err)
	}
	signature := list[0].Digest.String()
	mediaType, blob, err := f.registry.SignatureBlob(repo, list[0])
	if err != nil {
		return err
	}
	manifest, err := f.registry.Manifest(repo, signature)
	if err != nil {
		return err
	}
	says, err := notation.Read(mediaType, blob)
	if err != nil {
		return err
	}
	l, err := state.Open(ts.MkAbs(args[0]), state.Options{Tool: "forger"})
	if err != nil {
		return err
	}
	defer func() { ts.Check(l.Close()) }()
	bound, err := l.Fingerprint()
	if err != nil {
		return err
	}
	items, err := l.Items(state.Key{}, 1)
	if err != nil {
		return err
	}
	id := slices.Collect(maps.Keys(bound.Signers))[0]
	signer := bound.Signers[id]
	own := signer.Identity
	if what == "earlier" {
		signer.Chain = nil
		for _, c := range says.Chain {
			signer.Chain = append(signer.Chain, c.Raw)
		}
		for _, signer.Identity = range []string{notation.IdentityOf(says.Chain[0]).String(), strings.Replace(own, args[4], args[5], 1), own} {
			bound.Signers[id] = signer
			if err := l.Bind(bound, true); err != nil {
				return err
			}
		}
		return nil
	}
	k := state.Key{Repository: f.registry.Host() + "/" + repo, Digest: image.Digest.String(), KeyName: items[0].Key.KeyName}
	if _, err := l.Plan([]state.Item{{Key: k, GUN: k.Repository, Tags: []state.Tag{{Name: tag, Role: "targets"}}}}); err != nil {
		return err
	}
	by := state.SignedBy{Identity: own, Leaf: notation.Thumbprint(says.Chain[0]), ChainEnds: says.ChainEnds(), Timestamped: true, Format: mediaType}
	if what == "done" {
		return l.Adopt(k, signature, by, map[string]string{tag: "targets"})
	}
	err = l.Sign(k, state.Envelope{MediaType: mediaType, Blob: blob, Manifest: manifest, ManifestDigest: signature, LeafThumbprint: by.Leaf, Metadata: says.Target.Annotations, SignedBy: by})
	switch {
	case err == nil && what == "made":
		err = l.Confirm(k, signature, "")
	case err == nil && what == "pending":
		err = f.registry.Delete(repo, signature)
	}
	return err
}

// outlive REPOSITORY TAG waits until the certificate of a tag's signature has expired.
func outlive(_ *testscript.TestScript, f *fixture, args []string) error {
	c, err := f.contents(args[0], args[1])
	if err == nil {
		time.Sleep(time.Until(c.Chain[0].NotAfter.Add(time.Second)))
	}
	return err
}

// freeport NAME sets an environment variable to an address on which nobody listens.
func freeport(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// page ADDRESS CODE PATTERN... gets a page and checks its status code and lines.
func page(ts *testscript.TestScript, neg bool, args []string) {
	if err := getPage(args); neg != (err != nil) {
		ts.Fatalf("%v", err)
	}
}

func getPage(args []string) error {
	response, err := http.Get("http://" + args[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && strconv.Itoa(response.StatusCode) != args[1] {
		err = fmt.Errorf("%s: %s, want %s", args[0], response.Status, args[1])
	}
	for _, pattern := range args[2:] {
		re, bad := regexp.Compile("(?m)" + pattern)
		err = errors.Join(err, bad)
		if err == nil && !re.Match(body) {
			err = fmt.Errorf("%s does not show %s:\n%s", args[0], pattern, body)
		}
	}
	return err
}

// until COMMAND... repeats page or signatures until it succeeds.
func until(ts *testscript.TestScript, _ bool, args []string) {
	look := func() error { return getPage(args[1:]) }
	if args[0] == "signatures" {
		look = func() error { return signatures(ts, ts.Value(fixtureKey{}).(*fixture), args[1:]) }
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
	}
}
