package migrate

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/tools/go/packages"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Promise 1: one function calls the key for images, and one for saved trust data and reports.
// Whoever adds a caller must edit this test.
func TestNeverASignatureThatDCTDidNotVouchFor_OneCaller(t *testing.T) {
	t.Parallel()
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedExportFile,
		Dir:  "..", BuildFlags: []string{"-tags=failpoint"},
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	callers := map[string][]string{}
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			t.Fatal(p.Errors[0])
		}
		for _, file := range p.Syntax {
			rel, err := filepath.Rel(root, p.Fset.Position(file.Pos()).Filename)
			if err != nil {
				t.Fatal(err)
			}
			rel = filepath.ToSlash(rel)
			if strings.HasPrefix(rel, "internal/") || strings.HasPrefix(rel, "cmd/demo/") {
				continue // tests' own tools
			}
			if names := usersOfSign(p.TypesInfo, file); len(names) > 0 {
				callers[rel] = names
			}
		}
	}
	want := map[string][]string{
		"migrate/vouch.go":  {"vouch"},
		"migrate/attest.go": {"attest"}, // signs what is made from a snapshot.Verified or an Evidence, never an image
		"cmd/dct2notation/internal/session/registryadapter.go": {"Sign"}, // passes it on, and decides nothing
		// Only in the build of the crash tests. It passes on what it is given.
		"cmd/dct2notation/internal/session/failpoint_crash.go": {"Sign"},
		"notation/signer.go": {"envelope", "envelope"}, // into notation-go: a file's key, a plugin's
	}
	for file, names := range callers {
		if !slices.Equal(names, want[file]) {
			t.Errorf("%s: got the key called by %v, want %v", file, names, want[file])
		}
	}
	if len(callers) != len(want) {
		t.Errorf("callers of the key: got %v, want %v", callers, want)
	}
}

// usersOfSign returns the functions of a file that use the method Sign of a key, called or as a
// value: with the value, others could call the key. It looks at types, so that a variable's name
// cannot hide a use.
func usersOfSign(info *types.Info, file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		name := "a variable"
		if f, ok := decl.(*ast.FuncDecl); ok {
			name = f.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			if f, ok := info.Uses[id].(*types.Func); ok && f.Name() == "Sign" && signsImages(f.Signature()) {
				names = append(names, name)
			}
			return true
		})
	}
	return names
}

// signsImages reports whether a method takes the descriptor of what to sign.
func signsImages(s *types.Signature) bool {
	for v := range s.Params().Variables() {
		if s.Recv() != nil && v.Type().String() == "github.com/opencontainers/image-spec/specs-go/v1.Descriptor" {
			return true
		}
	}
	return false
}

// A method value, a method expression and a call through another interface are found as well.
func TestUsersOfSignAreFound(t *testing.T) {
	t.Parallel()
	loaded, err := packages.Load(&packages.Config{
		Mode:    packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedExportFile,
		Overlay: map[string][]byte{fooled(t): []byte(fooledSource)},
	}, "file="+fooled(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range loaded {
		for _, file := range p.Syntax {
			if filepath.Base(p.Fset.Position(file.Pos()).Filename) != filepath.Base(fooled(t)) {
				continue
			}
			if got, want := usersOfSign(p.TypesInfo, file), []string{"value", "expression", "another", "a variable"}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			return
		}
	}
	t.Fatal("the source was not loaded")
}

func fooled(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("fooled.go")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

const fooledSource = `package migrate

import (
	"go/types"
	"golang.org/x/tools/go/packages"
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/state"
)

func value(k Key) any      { f := k.Signer.Sign; return f }
func expression() any      { return Signer.Sign }
func another(s interface {
	Sign(context.Context, ocispec.Descriptor) (state.Envelope, error)
}) {
	_, _ = s.Sign(context.Background(), ocispec.Descriptor{})
}

var held = Signer.Sign

func none(s interface{ Sign([]byte) }) { s.Sign(nil) }
`

// Promise 1: only the digest that verified trust data names is signed, whatever the registry or the
// caller says.
func TestNeverASignatureThatDCTDidNotVouchFor(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	s.Must(func() error { _, _, err := s.run(App); return err }())
	r, err := s.Trust().Read(context.Background(), s.GUNs(App)[0], dct.Known{})
	s.Must(err)
	e := &Engine{Keys: []Key{{Signer: s}}}
	before := len(s.operations)
	work, err := gather(e.Scope, e.Keys, r)
	s.Must(err)
	good, key := work[0], &e.Keys[0]
	stranger := good
	stranger.key = &Key{Signer: key.Signer, Roles: []string{"targets/alice"}}
	image := func(d digest.Digest) ocispec.Descriptor { return ocispec.Descriptor{Digest: d, Size: 100} }
	for name, c := range map[string]struct {
		work  Work
		image ocispec.Descriptor
	}{
		"another digest":               {good, image(digest.FromString("evil"))},
		"no key":                       {Work{Key: good.Key, Targets: good.Targets}, image(good.Targets[0].Digest())},
		"a key of another role":        {stranger, image(good.Targets[0].Digest())},
		"no target":                    {Work{Key: good.Key, key: key}, image(good.Targets[0].Digest())},
		"the zero target":              {Work{Key: good.Key, key: key, Targets: []dct.Target{{}}}, image("")},
		"a mixed work":                 {Work{key: key, Targets: r.Targets()}, image(r.Targets()[0].Digest())},
		"a target and the zero target": {Work{key: key, Targets: []dct.Target{good.Targets[0], {}}}, image(good.Targets[0].Digest())},
	} {
		if _, err := c.work.vouch(context.Background(), c.image, e.now(), e.Tool); err == nil {
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
	e.Now = func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	if _, err := good.vouch(context.Background(), image(good.Targets[0].Digest()), e.now(), e.Tool); !errors.Is(err, dct.ErrExpired) {
		t.Errorf("trust data that expired during the run: got %v, want %v", err, dct.ErrExpired)
	}
	if n := len(s.operations); n != before {
		t.Errorf("got %d more key operations, want none", n-before)
	}
}

// Promise 1: the ledger records progress, never authority. A forged ledger causes no signature.
func TestForgedLedgerSignsNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	evil := s.Put("evil")
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	forged := state.Key{Repository: App, Digest: evil.String(), KeyName: "release"}
	known := state.Key{Repository: App, Digest: digest.FromString("image v1").String(), KeyName: "release"}
	_, err = l.Plan([]state.Item{{Key: forged, GUN: App}, {Key: known, GUN: App}})
	s.Must(err)
	// Also an envelope over another image, under the name of one that DCT vouches for.
	blob := "signature of " + evil.String()
	s.Must(l.Sign(known, state.Envelope{MediaType: "application/jose+json", Blob: []byte(blob), Manifest: []byte("{}"), ManifestDigest: digest.FromString(blob).String(), LeafThumbprint: strings.Repeat("a", 64)}))
	s.Must(l.Close())
	summary, _, err := s.run(App)
	s.Must(err)
	if len(s.signatures[evil]) != 0 || len(s.signatures[digest.FromString("image v1")]) != 0 || len(s.operations) != 0 {
		t.Errorf("got signatures %v after %d key operations, want none after none", s.signatures, len(s.operations))
	}
	if summary.Failed[failure.Security] != 1 {
		t.Errorf("got %+v, want one failed with %s", summary, failure.Security)
	}
}

// Promise 2, in the engine: nothing of a repository is signed when a role fails.
func TestNeverASilentDowngrade_NothingOfTheRepositoryIsSigned(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(App, "v1", "v2")
	s.Must(r.AddSigner("alice"))
	s.Must(r.Sign("v3", s.Put("v3").Encoded(), 100))
	s.Must(r.Publish())
	s.Must(r.BadSignature("targets/releases"))
	s.Publish("registry.example.com/team/good", "g1")
	summary, _, err := s.run(App, "registry.example.com/team/good")
	s.Must(err)
	if len(s.operations) != 1 || summary.Unread[failure.Security] != 1 || summary.Complete() {
		t.Errorf("got %d key operations, summary %+v, want 1, incomplete, one unread with %s", len(s.operations), summary, failure.Security)
	}
	s.once("g1")
}

// Promise 3: if a run is interrupted at any of these points, with the effect or without, the next
// run ends with one signature for each image and no second key operation.
func TestResumeSignsOnce(t *testing.T) {
	t.Parallel()
	refused := failure.New(failure.Permanent, errors.New("cut"))
	for name, c := range map[string]struct {
		step       string
		happens    bool
		operations int // in both runs, for the one image that is interrupted
	}{
		"cut before the look":     {"find", false, 1},
		"cut at the key":          {"sign", false, 2},
		"cut before the push":     {"push", false, 1},
		"cut after the push":      {"push", true, 1},
		"cut at the confirmation": {"listed", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Publish(App, "v1", "v2", "v3")
			s.BreakFor(c.step, "v2", c.happens, refused)
			summary, _, err := s.run(App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultSigned: 2, ResultFailed: 1})
			s.Heal()
			if _, _, err := s.run(App); err != nil {
				t.Fatal(err)
			}
			s.once("v1", "v2", "v3")
			n := 0
			for _, d := range s.operations {
				if d == digest.FromString("image v2") {
					n++
				}
			}
			if n != c.operations {
				t.Errorf("got %d key operations, want %d", n, c.operations)
			}
			summary, _, err = s.run(App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultAlready: 3})
		})
	}
}

// The same with a context that is canceled in the middle of a step, as by a second signal.
func TestResumeSignsOnce_AfterCancel(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"resolve", "find", "sign", "push", "listed"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Publish(App, "v1", "v2", "v3")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s.Faults[step] = func(digest.Digest) (bool, error) { cancel(); return true, ctx.Err() }
			if _, _, err := s.runCtx(ctx, nil, App); !errors.Is(err, context.Canceled) {
				t.Fatalf("got error %v, want %v", err, context.Canceled)
			}
			s.Heal()
			summary, _, err := s.run(App)
			s.Must(err)
			s.once("v1", "v2", "v3")
			if !summary.Complete() {
				t.Errorf("got %+v, want it complete", summary)
			}
		})
	}
}

// A lost ledger is rebuilt from trust data and registry, without a key operation.
func TestLostLedgerIsRebuilt(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	s.Must(func() error { _, _, err := s.run(App); return err }())
	s.Must(os.Remove(s.ledger))
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultAlready: 2})
	s.once("v1", "v2")
}

// Promise 4: a lookup that failed, for whatever reason, spends no key operation.
func TestUnknownIsNotUnsigned(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Throttled, failure.Transient, failure.Denied, failure.Permanent, failure.Security} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Publish(App, "v1")
			s.signatures[digest.FromString("image v1")] = []string{"ours"}
			s.BreakFor("find", "v1", false, failure.New(class, errors.New("no answer")))
			stop := make(chan struct{})
			if class.Repeatable() {
				// The test does not wait for the pauses between tries.
				s.Faults["find"] = func(digest.Digest) (bool, error) {
					select {
					case <-stop:
					default:
						close(stop)
					}
					return false, failure.New(class, errors.New("no answer"))
				}
			}
			summary, _, err := s.runCtx(context.Background(), stop, App)
			s.Must(err)
			if len(s.operations) != 0 || summary.Failed[class] != 1 {
				t.Errorf("got %d key operations, summary %+v, want none, one failed with %s", len(s.operations), summary, class)
			}
			s.once("v1")
		})
	}
}

// A foreign signature does not stop an image from being signed; ours does.
func TestOnlyOursCountsAsSigned(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "squatted", "ours")
	s.signedBy["ours"] = "release"
	squatted, ours := digest.FromString("image squatted"), digest.FromString("image ours")
	s.signatures[squatted] = []string{"foreign1", "foreign2"}
	s.signatures[ours] = []string{"ours"}
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1, ResultAlready: 1})
	if len(s.signatures[squatted]) != 3 || len(s.signatures[ours]) != 1 {
		t.Errorf("got signatures %v, want 3 of %s and 1 of %s", s.signatures, squatted, ours)
	}
}

// Promise 5: one bad item stops nothing else, and the summary reports it.
func TestOneBadItemStopsNothingElse(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2", "v3", "gone", "schema1", "moved")
	s.Publish("registry.example.com/team/other", "o1")
	gone, old, moved := digest.FromString("image gone"), digest.FromString("image schema1"), digest.FromString("image moved")
	delete(s.Images, gone)
	s.Images[old] = ocispec.Descriptor{MediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", Digest: old, Size: 100}
	s.Tagged["moved"] = digest.FromString("image v1")
	s.BreakFor("sign", "v2", false, failure.New(failure.Permanent, errors.New("this one not")))
	summary, outcomes, err := s.run("registry.example.com/team/unsigned", App, "registry.example.com/team/other")
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 4, ResultSkipped: 2, ResultFailed: 1})
	if summary.Skipped[failure.Missing] != 1 || summary.Skipped[failure.Unsignable] != 1 || summary.Unread[failure.Unsigned] != 1 || summary.Complete() {
		t.Errorf("got %+v, want incomplete, one missing, one unsignable, one unsigned", summary)
	}
	s.once("v1", "v3", "o1", "moved")
	i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Digest == moved.String() })
	if i < 0 || len(outcomes[i].Notes) != 1 || !strings.HasPrefix(outcomes[i].Notes[0], "tag-moved: ") {
		t.Errorf("got %+v, want %s with the note tag-moved", outcomes, moved)
	}
}

// If DCT's length differs from the manifest's, the bytes are hashed, and must match.
func TestSizeThatDiffersIsHashed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	for _, tag := range []string{"v1", "v2"} {
		d := digest.FromString("image " + tag)
		s.Images[d] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d, Size: 4711}
	}
	s.BreakFor("manifest", "v2", false, failure.New(failure.Security, errors.New("other bytes")))
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1, ResultFailed: 1})
	s.once("v1")
	if summary.Failed[failure.Security] != 1 || len(s.operations) != 1 {
		t.Errorf("got %+v after %d key operations, want one failed with %s after 1", summary, len(s.operations), failure.Security)
	}
}

// One signature for a digest, with all its tags in the signed metadata.
func TestTagsOfADigestShareItsSignature(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := s.Notary.NewRepository(App)
	s.Must(err)
	d := s.Put("v1")
	s.Tagged["latest"] = d
	s.Must(r.Sign("v1", d.Encoded(), 100))
	s.Must(r.Sign("latest", d.Encoded(), 100))
	s.Must(r.Publish())
	s.Pins.Certs[App] = r.RootKeyIDs()
	var metadata map[string]string
	s.mutate = func(e *Engine) {
		key := signerFunc{s, func(m map[string]string) { metadata = m }}
		e.Keys = []Key{{Signer: key, Metadata: map[string]string{"team": "blue"}}}
	}
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	trusted, err := s.Trust().Read(context.Background(), s.GUNs(App)[0], dct.Known{})
	s.Must(err)
	want := map[string]string{
		"io.dct2notation.gun": App, "io.dct2notation.tag.v1": "targets", "io.dct2notation.tag.latest": "targets",
		"io.dct2notation.version.targets": fmt.Sprint(trusted.Version("targets")), "io.dct2notation.tool": "test/1", "team": "blue",
		"io.dct2notation.root-keys": strings.Join(r.RootKeyIDs(), ","),
	}
	for k, v := range want {
		if metadata[k] != v {
			t.Errorf("%s: got %q, want %q", k, metadata[k], v)
		}
	}
	if len(metadata) != len(want) {
		t.Errorf("got metadata %v, want %v", metadata, want)
	}
	for _, reserved := range []string{"io.dct2notation.tag.v2", "io.cncf.notary.x"} {
		if CheckMetadata(map[string]string{reserved: "x"}) == nil {
			t.Errorf("%s: got no error, want it refused", reserved)
		}
	}
}

type signerFunc struct {
	*scene
	saw func(map[string]string)
}

func (s signerFunc) Sign(ctx context.Context, subject ocispec.Descriptor, m map[string]string) (state.Envelope, error) {
	s.saw(m)
	return s.scene.Sign(ctx, subject, m)
}

// swapped is a registry that returns another image for each digest, and reports that image's
// digest.
type swapped struct{ Registry }

func (s swapped) Resolve(context.Context, string, digest.Digest) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("evil"), Size: 100}, nil
}

// If the last check before the key refuses, the run ends. The key is not blamed, since it was not
// asked.
func TestRefusalOfOurOwnIsNotTheKeys(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2", "v3")
	s.mutate = func(e *Engine) { e.Registry = swapped{s} }
	_, outcomes, err := s.run(App)
	if !errors.Is(err, ErrNotVouched) || errors.Is(err, ErrKeyAstray) || len(s.operations) != 0 {
		t.Errorf("got error %v after %d key operations, want %v after none", err, len(s.operations), ErrNotVouched)
	}
	for _, o := range outcomes {
		if o.Class != failure.Security {
			t.Errorf("got %s: %s, want %s", o.Class, o.Reason, failure.Security)
		}
	}
}

// If any target of a digest rests on something expired, not only the first, this is noted and
// signed.
func TestAgeOfEveryTargetIsNoted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	repo := s.Publish(App, "v1")
	ctx, gun := context.Background(), s.GUNs(App)[0]
	fresh, err := s.Trust().Read(ctx, gun, dct.Known{})
	s.Must(err)
	s.Must(repo.Expire("targets"))
	reader := s.Trust()
	reader.AllowExpired = []string{"targets"}
	aged, err := reader.Read(ctx, gun, dct.Known{})
	s.Must(err)
	for _, targets := range [][]dct.Target{
		append(fresh.Targets(), aged.Targets()...), append(aged.Targets(), fresh.Targets()...), append(aged.Targets(), aged.Targets()...),
	} {
		w := Work{Targets: targets, key: &Key{}}
		if notes := w.item().Notes; len(notes) != 1 || notes[0] != "allowed-expired: targets" {
			t.Errorf("got notes %q, want allowed-expired: targets", notes)
		}
		if got := w.metadata("test/1")[MetadataExpired]; got != "targets" {
			t.Errorf("signed as expired: got %q, want targets", got)
		}
	}
}
