package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/undo"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// undone is the documented JSON.
type undone struct {
	Kind       string         `json:"kind"`
	Signatures []undo.Undone  `json:"signatures"`
	Results    map[string]int `json:"results"`
	Complete   bool           `json:"complete"`
}

// undo calls the program once on a ledger.
func (y *yard) undo(ledger string, more ...string) (int, undone) {
	y.t.Helper()
	if !slices.Contains(more, "--certificate") {
		more = append(more, "--certificate", y.key.ChainFile)
	}
	args := append([]string{"undo", "--yes", "-o", "json", "--plain-http", "--registry-config", y.path("config.json"), "--state", y.path(ledger)}, more...)
	var out, err bytes.Buffer
	code := Main(context.Background(), nil, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	var u undone
	if e := json.Unmarshal(out.Bytes(), &u); e != nil && out.Len() > 0 {
		y.t.Errorf("result: %v: %s", e, out.String())
	}
	return code, u
}

// attach signs the image with the yard's key or a stranger's, and stores the signature in the
// repository bad, as another tool would.
func (y *yard) attach(key notation.Key, image ocispec.Descriptor, metadata map[string]string) digest.Digest {
	y.t.Helper()
	s, err := notation.Open(y.t.Context(), key, notation.Options{})
	must(y.t, err)
	e, err := s.Sign(y.t.Context(), image, metadata)
	must(y.t, err)
	y.store(image, e.MediaType, e.Blob, e.Manifest)
	return e.ManifestDigest
}

func (y *yard) store(image ocispec.Descriptor, mediaType string, blob, manifest []byte) {
	y.t.Helper()
	r, err := session.ConnectServers(session.RemoteOptions{RegistryOptions: session.RegistryOptions{PlainHTTP: true, RegistryLimit: 8}, Source: "server", CacheDir: "none", DockerTrust: "none"},
		session.Config{}, nil, session.Access{}, cli.Streams{In: strings.NewReader("")}, (&cli.Common{}).Logger(&bytes.Buffer{}))
	must(y.t, err)
	repo, err := r.Registry.Repository(y.registry.Host() + "/bad")
	must(y.t, err)
	_, err = repo.PushSignature(y.t.Context(), image, mediaType, blob, manifest, false)
	must(y.t, err)
}

func (y *yard) release() notation.Key {
	return notation.Key{Name: "release", Plugin: kmstest.Name, ID: "release", Config: y.plugin.Config(), PluginPath: y.plugin.Path, Timeout: 10 * time.Second}
}

// stranger returns somebody else's key.
func stranger(t *testing.T) notation.Key {
	t.Helper()
	ca, err := pki.NewAuthority("a stranger")
	must(t, err)
	id, err := ca.Issue("theirs", nil)
	must(t, err)
	dir := t.TempDir()
	saved, err := id.Save(dir, "theirs")
	must(t, err)
	p, err := kmstest.Install(dir, kmstest.Behaviour{Keys: map[string]pki.Files{"theirs": saved}})
	must(t, err)
	return notation.Key{Name: "theirs", Plugin: kmstest.Name, ID: "theirs", Config: p.Config(), PluginPath: p.Path, Timeout: 10 * time.Second}
}

func TestUndoLeavesTheSignaturesOfOthers(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", referrers), func(t *testing.T) {
			t.Parallel()
			y := newYard(t, registrytest.Options{Referrers: referrers})
			theirs := y.attach(stranger(t), y.bad, nil)
			if code, _ := y.run(); code != 0 || y.signatures("bad", y.bad) != 2 {
				t.Fatalf("run: got exit code %d, %d signatures, want 0, 2", code, y.signatures("bad", y.bad))
			}
			sameKey := y.attach(y.release(), y.bad, nil) // such as by notation sign in a pipeline
			code, u := y.undo("ledger.db")
			if code != 0 || !u.Complete || u.Results["removed"] != 2 || u.Kind != "dct2notation.undo" {
				t.Errorf("got exit code %d, %+v, want 0, complete, 2 removed", code, u)
			}
			list, err := y.registry.Signatures("bad", y.bad.Digest.String())
			must(t, err)
			if len(list) != 2 || list[0].Digest != theirs || list[1].Digest != sameKey || y.signatures("good", y.good) != 0 {
				t.Errorf("got listed %v, want %s and %s, and none of the other image", list, theirs, sameKey)
			}
			if code, r := y.run(); code != 0 || r.Results[migrate.ResultSigned] != 1 { // for bad, the key's own signature is found
				t.Errorf("run again: got exit code %d, %+v, want 0, 1 signed", code, r.Results)
			}
		})
	}
}

// One after the other, each request of an undo loses its answer. Each time, the next undo finishes
// the work.
func TestUndoIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", referrers), func(t *testing.T) {
			t.Parallel()
			y := newYard(t, registrytest.Options{Referrers: referrers})
			var n, last atomic.Int32
			for lost := int32(0); lost <= last.Load(); lost++ {
				if code, _ := y.run(); code != 0 {
					t.Fatalf("run: got exit code %d, want 0", code)
				}
				n.Store(0)
				y.registry.SetHook(func(_ http.ResponseWriter, req *http.Request, next http.Handler) bool {
					if n.Add(1)-1 == lost {
						registrytest.LoseAnswer(req, next)
					}
					return false
				})
				y.undo("ledger.db", y.registry.Host()+"/bad") // its result does not matter here
				last.Store(max(last.Load(), n.Load()-1))
				y.registry.SetHook(nil)
				if code, u := y.undo("ledger.db", y.registry.Host()+"/bad"); code != 0 || y.signatures("bad", y.bad) != 0 {
					t.Errorf("answer %d lost: got exit code %d, %d signatures, want 0, 0: %+v", lost, code, y.signatures("bad", y.bad), u)
				}
			}
			if last.Load() < 7 {
				t.Errorf("got %d requests tried, want at least 7", last.Load())
			}
		})
	}
}

func TestUndoSaysWhereDeletingIsDisabled(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{RefuseDelete: true})
	y.run()
	code, u := y.undo("ledger.db")
	if code != 3 || u.Complete || u.Results["failed"] != 2 || y.signatures("bad", y.bad) != 1 {
		t.Fatalf("got exit code %d, %+v, want 3, not complete, 2 failed, 1 signature left", code, u)
	}
	if s := u.Signatures[0]; s.Class != failure.Unsupported || !strings.Contains(s.Reason, "REGISTRY_STORAGE_DELETE_ENABLED") {
		t.Errorf("got %+v, want class %s and a reason that names REGISTRY_STORAGE_DELETE_ENABLED", s, failure.Unsupported)
	}
}

// A ledger is a file: whoever can write it can recompute its hash chain. What it then names is
// deleted only if it is what the ledger says.
func TestForgedLedgerDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", referrers), func(t *testing.T) {
			t.Parallel()
			y := newYard(t, registrytest.Options{Referrers: referrers})
			if code, _ := y.run(); code != 0 {
				t.Fatalf("run: got exit code %d, want 0", code)
			}
			host := y.registry.Host()
			listed, err := y.registry.Signatures("bad", y.bad.Digest.String())
			must(t, err)
			ours := listed[0]
			mediaType, blob, err := y.registry.SignatureBlob("bad", ours)
			must(t, err)
			says, err := notation.Read(mediaType, blob)
			must(t, err)
			leaf, gun := notation.Thumbprint(says.Chain[0]), host+"/bad"
			image, err := y.registry.PutImage("bad", "v2", "another")
			must(t, err)
			index, err := y.registry.PutIndex("bad", "multi", "multi")
			must(t, err)
			// The envelope of one image, in a manifest that names another.
			annotations := map[string]string{ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"}
			manifest, moved, err := registry.PackSignature(image, mediaType, blob, annotations)
			must(t, err)
			y.store(image, mediaType, blob, manifest)
			broken := []byte(`{"payload":"x"}`)
			manifest, nonsense, err := registry.PackSignature(y.bad, mediaType, broken, annotations)
			must(t, err)
			y.store(y.bad, mediaType, broken, manifest)
			theirs, sameKey := y.attach(stranger(t), y.bad, nil), y.attach(y.release(), y.bad, nil)
			before := len(y.writes())

			type forged struct {
				repo, gun, leaf string
				image           ocispec.Descriptor
				signature       digest.Digest
			}
			truth := forged{"bad", gun, leaf, y.bad, ours.Digest}
			for name, lie := range map[string]func(*forged){
				"the image itself":              func(f *forged) { f.signature = y.bad.Digest },
				"another image":                 func(f *forged) { f.signature = image.Digest },
				"an index":                      func(f *forged) { f.signature = index.Digest },
				"a signature of another image":  func(f *forged) { f.image = image },
				"an envelope of another image":  func(f *forged) { f.image, f.signature = image, moved.Digest },
				"an envelope that is none":      func(f *forged) { f.signature = nonsense.Digest },
				"another's signature":           func(f *forged) { f.signature = theirs },
				"another certificate":           func(f *forged) { f.leaf = strings.Repeat("a", 64) },
				"no certificate":                func(f *forged) { f.leaf = "" },
				"another tool, of the same key": func(f *forged) { f.signature = sameKey },
				"another GUN":                   func(f *forged) { f.gun = host + "/good" },
				"no digest":                     func(f *forged) { f.signature = "../../good/manifests/v1" },
				"another repository":            func(f *forged) { f.repo = "good" },
				"a repository that is not":      func(f *forged) { f.repo = "absent" },
			} {
				f := truth
				lie(&f)
				ledger := strings.ReplaceAll(name, " ", "-") + ".db"
				y.forge(ledger, state.Key{Repository: host + "/" + f.repo, Digest: f.image.Digest.String(), KeyName: "release"}, f.gun, f.leaf, f.signature)
				code, u := y.undo(ledger)
				if w := y.writes(); len(w) != before {
					t.Fatalf("%s: got writes %q, want none", name, w[before:])
				}
				switch name {
				case "another repository": // it does not have it, which is all that is required
					if code != 0 || u.Results["gone"] != 1 {
						t.Errorf("%s: got exit code %d, %+v, want 0, 1 gone", name, code, u)
					}
				case "no digest", "a repository that is not":
					if code != 3 || u.Results["failed"] != 1 {
						t.Errorf("%s: got exit code %d, %+v, want 3, 1 failed", name, code, u)
					}
				default:
					if code != 3 || u.Results["refused"] != 1 || u.Signatures[0].Class != failure.Security {
						t.Errorf("%s: got exit code %d, %+v, want 3, 1 refused, class %s", name, code, u, failure.Security)
					}
				}
			}
			// The same ledger without the lies works, so it was the lies that were refused.
			y.forge("true.db", state.Key{Repository: host + "/bad", Digest: y.bad.Digest.String(), KeyName: "release"}, gun, leaf, ours.Digest)
			if code, u := y.undo("true.db"); code != 0 || u.Results["removed"] != 1 || len(y.writes()) == before {
				t.Errorf("the truth: got exit code %d, %+v, want 0, 1 removed", code, u)
			}
		})
	}
}

// A history has no key: whoever writes the ledger can claim that a run of the same tool made a
// signature with another certificate. Only signatures by a certificate that the caller names are
// deleted. Without one, nothing is deleted.
func TestUndoDeletesNothingOfACertificateThatIsNotNamed(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{Referrers: true})
	if code, _ := y.run(); code != 0 {
		t.Fatalf("run: got exit code %d, want 0", code)
	}
	host, victim := y.registry.Host(), stranger(t)
	gun := host + "/bad"
	theirs := y.attach(victim, y.bad, map[string]string{migrate.MetadataGUN: gun}) // as another team's run would
	s, err := notation.Open(t.Context(), victim, notation.Options{})
	must(t, err)
	y.forge("forged.db", state.Key{Repository: gun, Digest: y.bad.Digest.String(), KeyName: "release"}, gun, s.Leaf(), theirs)
	before := len(y.writes())
	for name, c := range map[string]struct {
		args          []string
		code, refused int
	}{
		"another certificate is named": {[]string{"--certificate", y.key.ChainFile}, cli.ExitFailures, 1},
		"its thumbprint":               {[]string{"--certificate", "sha256:" + strings.Repeat("a", 64)}, cli.ExitFailures, 1},
		"nothing that makes sense":     {[]string{"--certificate", "sha256:"}, cli.ExitUsage, 0},
		"a file that is not":           {[]string{"--certificate", y.path("absent.pem")}, cli.ExitUsage, 0},
		"none":                         {[]string{"--certificate"}, cli.ExitUsage, 0},
	} {
		args := c.args
		if name == "none" { // not even the test's own certificate
			code := Main(context.Background(), nil, []string{"undo", "--yes", "--plain-http", "--registry-config", y.path("config.json"), "--state", y.path("forged.db")},
				cli.Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
			if code != c.code {
				t.Errorf("%s: got exit code %d, want %d", name, code, c.code)
			}
			continue
		}
		if code, u := y.undo("forged.db", args...); code != c.code || u.Results["refused"] != c.refused {
			t.Errorf("%s: got exit code %d, %+v, want %d and %d refused", name, code, u, c.code, c.refused)
		}
	}
	if w := y.writes(); len(w) != before {
		t.Fatalf("got written %q, want nothing", w[before:])
	}
	if code, u := y.undo("forged.db", "--certificate", "sha256:"+strings.ToUpper(s.Leaf())); code != 0 || u.Results["removed"] != 1 {
		t.Errorf("its own certificate: got exit code %d, %+v, want 0, 1 removed", code, u)
	}
}

// An entry that points to nothing, as other tools leave it, is removed from the list. What the
// registry does not show now is not deleted, even if the list and the ledger name it.
func TestUndoMendsTheListAndDeletesNothingUnseen(t *testing.T) {
	t.Parallel()
	y := newYard(t, registrytest.Options{})
	y.run()
	host, tag := y.registry.Host(), "sha256-"+y.bad.Digest.Encoded()
	list, err := y.registry.Signatures("bad", y.bad.Digest.String())
	must(t, err)
	image, err := y.registry.PutImage("bad", "v2", "another")
	must(t, err)
	planted := image
	planted.ArtifactType = registry.ArtifactType
	raw, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: append(list, planted)})
	must(t, err)
	_, err = y.registry.PutManifest("bad", tag, ocispec.MediaTypeImageIndex, raw)
	must(t, err)
	must(t, y.registry.Delete("bad", list[0].Digest.String()))
	y.registry.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		if req.Method != http.MethodGet || !strings.HasSuffix(req.URL.Path, image.Digest.String()) {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
		return true
	})
	y.forge("forged.db", state.Key{Repository: host + "/bad", Digest: y.bad.Digest.String(), KeyName: "release"}, host+"/bad", "leaf", image.Digest)
	for _, ledger := range []string{"ledger.db", "forged.db"} {
		if code, u := y.undo(ledger, host+"/bad"); code != 0 || u.Results["gone"] != 1 {
			t.Errorf("%s: got exit code %d, %+v, want 0, 1 gone", ledger, code, u)
		}
	}
	y.registry.SetHook(nil)
	if _, err := y.registry.Manifest("bad", image.Digest.String()); err != nil || y.signatures("bad", y.bad) != 0 {
		t.Errorf("image: got error %v, %d entries left, want none, 0", err, y.signatures("bad", y.bad))
	}
}

// forge makes a complete, consistent ledger with one signed item.
func (y *yard) forge(name string, k state.Key, gun, leaf string, signature digest.Digest) {
	y.t.Helper()
	l, err := state.Open(y.path(name), state.Options{Tool: "forger"})
	must(y.t, err)
	_, err = l.Plan([]state.Item{{Key: k, GUN: gun, Tags: []state.Tag{{Name: "v1", Role: "targets"}}}})
	must(y.t, err)
	must(y.t, l.Sign(k, state.Envelope{MediaType: "x", Blob: []byte("x"), ManifestDigest: signature.String(), LeafThumbprint: leaf}))
	must(y.t, l.Close())
}

// writes returns the requests that may have changed something in the registry.
func (y *yard) writes() []string {
	return slices.DeleteFunc(y.registry.Log(), func(line string) bool {
		return strings.HasPrefix(line, "GET ") || strings.HasPrefix(line, "HEAD ")
	})
}
