package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// world is one registry, one Notary server and what people have done with them, all drawn from one
// seed. It is changed directly in the servers' stores, so that the oracle knows what is there.
type world struct {
	*ground
	seed  uint64
	off   map[string]bool // features that this world must not have
	on    []string        // features that it has, in the order drawn
	drawn map[string]int  // how often each was drawn
	story []string        // what happened, for debugging

	registry       *registrytest.Registry
	keys           *worldKeys
	key            string        // name of the signing key
	now            *pki.Identity // its certificate
	begunPlatforms bool          // a run has begun to sign the images of indexes
	repos          []*place
	images         map[*place][]ocispec.Descriptor // all that ever existed
	children       map[digest.Digest][]ocispec.Descriptor
	feed           func() []feedEntry // nil: the server's own

	ledger   string                     // to which runs write
	made     map[string]map[string]bool // by ledger: the signatures that runs with it made
	copyOf   map[string]string          // by ledger: the one it was copied from
	robbed   map[digest.Digest]bool     // images whose signature somebody deleted
	quiet    bool                       // little is unusual here, and little changes
	vague    bool                       // there is something here for which false alarms are allowed
	final    bool                       // everything is repaired
	faulty   bool                       // a fault is being injected
	hidden   bool                       // a fault has hidden the referrers API from the verb, which saw it nowhere unless sighted
	sighted  bool
	lies     sync.Map               // paths for which a server said, with its own code, that nothing is there
	expiring map[digest.Digest]bool // images that were signed with an expiry which has passed
}

// feedEntry is a record of the changefeed as notary-server writes it.
type feedEntry struct {
	ID, GUN, SHA256, Category string
	Version                   int
	CreatedAt                 time.Time
}

// random returns random numbers for one purpose. Each purpose has its own, so that leaving out one
// feature changes nothing else in the world.
func (w *world) random(what string) *rand.Rand {
	w.drawn[what]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s#%d", what, w.drawn[what])
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// coin reports whether the world has a feature, with a probability in percent.
func (w *world) coin(feature string, percent int) bool {
	has := w.random(feature).IntN(100) < percent && !w.off[feature] && notYet[feature] == ""
	if has {
		w.on = append(w.on, feature)
	}
	return has
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// newWorld makes a world in which no verb has run yet.
func newWorld(t *testing.T, base *ground, keys *worldKeys, seed uint64, off map[string]bool) *world {
	t.Helper()
	g := *base
	g.t, g.dir = t, t.TempDir()
	w := &world{
		ground: &g, seed: seed, off: off, drawn: map[string]int{}, keys: keys, key: fmt.Sprint("k", seed), images: map[*place][]ocispec.Descriptor{},
		children: map[digest.Digest][]ocispec.Descriptor{}, made: map[string]map[string]bool{}, copyOf: map[string]string{}, robbed: map[digest.Digest]bool{}, expiring: map[digest.Digest]bool{},
	}
	w.ledger = g.path("ledger.db")
	keys.set(t, w.key, releaseName)
	w.now = w.release
	g.write("config.json", []byte("{}"))
	for name, level := range worldPolicies {
		g.write(name+".json", fmt.Appendf(nil, worldPolicy, level))
	}
	var err error
	w.notary, err = notarytest.Start(notarytest.Options{})
	must(t, err)
	t.Cleanup(w.notary.Close)
	w.registry, err = registrytest.Start(registrytest.Options{Referrers: w.coin("referrers-api", 50)})
	must(t, err)
	t.Cleanup(w.registry.Close)
	w.quiet = w.coin("quiet", 50)
	mediaType := map[bool]string{true: "application/cose", false: "application/jose+json"}[w.coin("cose", 30)]
	for i := range 1 + w.random("repositories").IntN(3) {
		w.addPlace(fmt.Sprintf("team/r%d", i), mediaType)
	}
	w.writePins()
	return w
}

const worldPolicy = `{"version":"1.0","trustPolicies":[{"name":"world","registryScopes":["*"],"signatureVerification":%s,
	"trustStores":["ca:ground"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=dct2notation test, CN=release"]}]}`

var worldPolicies = map[string]string{
	"strict": `{"level":"strict"}`, "permissive": `{"level":"permissive"}`, "audit": `{"level":"audit"}`,
	"no-expiry":    `{"level":"strict","override":{"expiry":"log"}}`,
	"no-timestamp": `{"level":"strict","override":{"authenticTimestamp":"log"}}`,
	"no-chain":     `{"level":"strict","override":{"authenticity":"log"}}`,
}

func (w *world) writePins() {
	pins := map[string][]string{}
	for _, p := range w.repos {
		pins[p.trust.GUN()] = p.trust.RootKeyIDs()
	}
	w.writeJSON("pins.json", map[string]any{"trust_pinning": map[string]any{"certs": pins}})
}

// addPlace makes a repository with images. DCT vouches for most of them.
func (w *world) addPlace(name, mediaType string) {
	p := &place{ground: w.ground, registry: w.registry, name: name, mediaType: mediaType}
	rt, err := transport.New(transport.Options{Retries: -1})
	must(w.t, err)
	client := registry.New(registry.Options{Client: transport.Client(rt, nil), PlainHTTP: func(string) bool { return true }})
	p.client, err = client.Repository(w.registry.Host() + "/" + name)
	must(w.t, err)
	p.trust, err = w.notary.NewRepository(w.registry.Host() + "/" + name)
	must(w.t, err)
	w.repos = append(w.repos, p)
	signers := w.coin("signers", 40)
	if signers {
		must(w.t, p.trust.AddSigner("alice"))
	}
	for i := range 1 + w.random("images").IntN(4) {
		d := w.newImage(p, fmt.Sprintf("v%d", i))
		if w.random("vouched").IntN(100) < 80 || i == 0 {
			w.vouch(p, fmt.Sprintf("v%d", i), d)
		}
		if w.coin("second-tag", 20) {
			must(w.t, w.registry.Tag(name, fmt.Sprintf("also%d", i), d.Digest.String()))
			w.vouch(p, fmt.Sprintf("also%d", i), d)
		}
		if !w.quiet && w.coin("signature-before", 30) {
			w.foreign(p, d)
		}
	}
	must(w.t, p.trust.Publish())
	w.oddities(p, signers)
}

// newImage stores an image of some kind under a tag.
func (w *world) newImage(p *place, tag string) ocispec.Descriptor {
	put, seed := w.registry.PutImage, fmt.Sprint(p.name, tag, w.seed, len(w.images[p]))
	index := w.coin("index", 25)
	switch {
	case index:
		put = w.registry.PutIndex
	case w.coin("docker-format", 15):
		put = w.registry.PutDockerImage
	}
	d, err := put(p.name, tag, seed)
	must(w.t, err)
	if index {
		raw, err := w.registry.Manifest(p.name, d.Digest.String())
		must(w.t, err)
		var list ocispec.Index
		must(w.t, json.Unmarshal(raw, &list))
		w.children[d.Digest] = list.Manifests
	}
	w.images[p] = append(w.images[p], d)
	return d
}

// vouch stages an entry in DCT, in the role in which docker would sign it.
func (w *world) vouch(p *place, tag string, d ocispec.Descriptor) {
	must(w.t, p.trust.Sign(tag, d.Digest.Encoded(), d.Size))
}

// oddities gives a few repositories unusual features from the beginning.
func (w *world) oddities(p *place, signers bool) {
	t := w.t
	entry := func(tag string, hashes map[string][]byte, length int64) {
		must(t, p.trust.Tamper("targets", func(signed map[string]any) {
			signed["targets"].(map[string]any)[tag] = map[string]any{"hashes": hashes, "length": length}
		}, true))
	}
	sha256 := func(d ocispec.Descriptor) map[string][]byte {
		raw := make([]byte, 32)
		_, err := fmt.Sscanf(d.Digest.Encoded(), "%x", &raw)
		must(t, err)
		return map[string][]byte{"sha256": raw}
	}
	if w.quiet && w.random("oddities").IntN(100) < 80 {
		return
	}
	if w.coin("length-zero", 8) {
		d := w.newImage(p, "zero")
		entry("zero", sha256(d), 0)
		w.push(p, d, p.envelope(w.twin, d))
	}
	if w.coin("sha512-only", 8) {
		d := w.newImage(p, "wide")
		entry("wide", map[string][]byte{"sha512": make([]byte, 64)}, d.Size)
		w.push(p, d, p.envelope(w.twin, d))
	}
	if w.coin("name-of-no-tag", 8) {
		entry("../no tag", sha256(w.images[p][0]), 7)
	}
	if signers && w.coin("signer-only", 20) {
		d := w.newImage(p, "mine")
		must(t, p.trust.Sign("mine", d.Digest.Encoded(), d.Size, "targets/alice"))
		if w.coin("signer-only-name-of-no-tag", 20) {
			must(t, p.trust.Sign("no tag", d.Digest.Encoded(), d.Size, "targets/alice"))
		}
		must(t, p.trust.Publish())
	}
	if w.coin("stray", 15) {
		w.foreign(p, w.newImage(p, "stray"))
	}
	if w.coin("tag-like-a-list", 8) {
		tag := "sha256-" + strings.Repeat("ab", 32)
		d := w.newImage(p, tag)
		if w.coin("image-like-an-artifact", 50) {
			d.ArtifactType = "application/vnd.example.made-up"
			body, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
			must(t, err)
			d, err = w.registry.PutManifest(p.name, tag, ocispec.MediaTypeImageIndex, body)
			must(t, err)
		}
		w.push(p, d, p.envelope(w.twin, d))
	}
	if w.coin("vouched-and-absent", 12) {
		d := dangling()
		w.vouch(p, "absent", d)
		must(t, p.trust.Publish())
	}
}

// foreign attaches a signature that our runs have not made.
func (w *world) foreign(p *place, d ocispec.Descriptor) {
	r := w.random("foreign")
	other := w.images[p][0]
	kinds := []struct {
		name string
		make func() []byte
	}{
		{"twin", func() []byte { return p.envelope(w.twin, d) }},
		{"stranger", func() []byte { return p.envelope(w.ground.stranger, d) }},
		{"intruder", func() []byte { return p.envelope(w.intruder, d) }},
		{"old-certificate", func() []byte { return p.envelope(w.old, d) }},
		{"expired-twin", func() []byte { return p.envelope(w.twin, d, expired) }},
		{"expired-ours", func() []byte { return p.envelope(w.release, d, expired) }},
		{"over-another", func() []byte { return p.envelope(w.twin, other) }},
		{"no-envelope", func() []byte { return []byte("no envelope") }},
	}
	k := kinds[r.IntN(len(kinds))]
	if !w.coin("signed:"+k.name, 100) {
		return
	}
	s := w.push(p, d, k.make())
	w.tell("%s@%.14s gets a signature: %s", p.name, d.Digest, k.name)
	if w.coin("dangling", 12) {
		w.vague = true
		_, blob, err := w.registry.SignatureBlob(p.name, s)
		must(w.t, err)
		must(w.t, w.registry.DeleteBlob(p.name, digest.FromBytes(blob).String()))
		w.tell("and its envelope is lost")
	}
	w.shuffle(p, d)
}

// push attaches an envelope to an image, even if the envelope is over another.
func (w *world) push(p *place, d ocispec.Descriptor, envelope []byte) ocispec.Descriptor {
	desc := p.push(d, envelope)
	w.undo = nil // nothing is reverted
	return desc
}

// shuffle changes the order of a list that is kept in a tag.
func (w *world) shuffle(p *place, d ocispec.Descriptor) {
	list, err := w.registry.Signatures(p.name, d.Digest.String())
	must(w.t, err)
	if _, err := w.registry.Resolve(p.name, fallback(d)); err != nil || !w.coin("shuffled-list", 30) {
		return
	}
	slices.Reverse(list)
	body, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list})
	must(w.t, err)
	_, err = w.registry.PutManifest(p.name, fallback(d), ocispec.MediaTypeImageIndex, body)
	if err != nil {
		w.tell("%v", err) // a listed manifest does not exist, and the registry refuses the list
	}
}

// changes are what people do between two verbs.
var changes = []struct {
	name string
	do   func(w *world, p *place, r *rand.Rand)
}{
	{"revoke", func(w *world, p *place, r *rand.Rand) {
		if tag := pickOne(r, slices.Sorted(maps.Keys(w.dct(p).tags))); tag != "" {
			role := "targets"
			if _, in := w.targets(p, "targets/releases")[tag]; in {
				role = "targets/releases"
			}
			must(w.t, p.trust.Remove(tag, role))
			must(w.t, p.trust.Publish())
			w.tell("DCT revokes %s:%s", p.name, tag)
		}
	}},
	{"vouch-anew", func(w *world, p *place, r *rand.Rand) {
		tag := fmt.Sprintf("n%d", len(w.images[p]))
		w.vouch(p, tag, w.newImage(p, tag))
		must(w.t, p.trust.Publish())
		w.tell("DCT vouches for the new %s:%s", p.name, tag)
	}},
	{"vouch-for-another", func(w *world, p *place, r *rand.Rand) {
		if tag := pickOne(r, slices.Sorted(maps.Keys(w.dct(p).tags))); tag != "" {
			d := w.images[p][r.IntN(len(w.images[p]))]
			w.vouch(p, tag, d)
			must(w.t, p.trust.Publish())
			w.tell("DCT vouches for %s:%s as %.14s", p.name, tag, d.Digest)
		}
	}},
	{"move-tag", func(w *world, p *place, r *rand.Rand) {
		tag, d := pickOne(r, w.tagNames(p)), w.images[p][r.IntN(len(w.images[p]))]
		if tag == "" {
			return
		}
		if err := w.registry.Tag(p.name, tag, d.Digest.String()); err == nil {
			w.tell("the tag %s:%s moves to %.14s", p.name, tag, d.Digest)
		}
	}},
	{"delete-tag", func(w *world, p *place, r *rand.Rand) {
		tag := pickOne(r, w.tagNames(p))
		if err := w.registry.Delete(p.name, tag); err == nil {
			w.tell("the tag %s:%s is deleted", p.name, tag)
		}
	}},
	{"delete-image", func(w *world, p *place, r *rand.Rand) {
		d := w.images[p][r.IntN(len(w.images[p]))]
		if err := w.registry.Delete(p.name, d.Digest.String()); err == nil {
			w.tell("the image %s@%.14s is deleted", p.name, d.Digest)
		}
	}},
	{"delete-signature", func(w *world, p *place, r *rand.Rand) {
		d := w.images[p][r.IntN(len(w.images[p]))]
		for _, s := range w.attached(p, d.Digest) {
			must(w.t, w.registry.Delete(p.name, s.digest.String()))
			w.robbed[d.Digest] = true
			w.vague = true // where lists are kept in tags, it is still in one
			w.tell("a signature of %s@%.14s is deleted", p.name, d.Digest)
			break
		}
	}},
	{"lose-envelope", func(w *world, p *place, r *rand.Rand) {
		d := w.images[p][r.IntN(len(w.images[p]))]
		for _, s := range w.attached(p, d.Digest) {
			if s.blob != "" {
				must(w.t, w.registry.DeleteBlob(p.name, s.blob.String()))
				w.robbed[d.Digest], w.vague = true, true
				w.tell("the envelope of a signature of %s@%.14s is lost", p.name, d.Digest)
				break
			}
		}
	}},
	{"sign-foreign", func(w *world, p *place, r *rand.Rand) {
		if d := w.images[p][r.IntN(len(w.images[p]))]; w.stored(p, d.Digest) {
			w.foreign(p, d)
		}
	}},
	{"relabel-list", func(w *world, p *place, r *rand.Rand) {
		d := w.images[p][r.IntN(len(w.images[p]))]
		raw, err := w.registry.Manifest(p.name, fallback(d))
		var list ocispec.Index
		if err != nil || json.Unmarshal(raw, &list) != nil {
			return
		}
		for i := range list.Manifests {
			list.Manifests[i].Annotations = map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["` + strings.Repeat("5a", 32) + `"]`}
		}
		body, err := json.Marshal(list)
		must(w.t, err)
		if _, err = w.registry.PutManifest(p.name, fallback(d), ocispec.MediaTypeImageIndex, body); err == nil {
			w.tell("the list of %s@%.14s says that all is signed by another", p.name, d.Digest)
		}
	}},
	{"expire-trust", func(w *world, p *place, r *rand.Rand) {
		roles := []string{"targets", "snapshot", "timestamp"}
		role := roles[r.IntN(len(roles))]
		must(w.t, p.trust.Expire(role))
		w.tell("%s of %s expires", role, p.name)
	}},
	{"delete-trust", func(w *world, p *place, r *rand.Rand) {
		w.notary.Delete(p.trust.GUN())
		w.tell("the trust data of %s is deleted", p.name)
	}},
	{"new-repository", func(w *world, p *place, r *rand.Rand) {
		w.addPlace(fmt.Sprintf("team/late%d", len(w.repos)), p.mediaType)
		w.writePins()
		w.tell("there is a new repository")
	}},
}

// change makes people do a few things.
func (w *world) change() {
	for range w.random("changes").IntN(3) {
		if w.quiet && w.random("quiet").IntN(100) < 80 {
			continue
		}
		r := w.random("change")
		c, p := changes[r.IntN(len(changes))], w.repos[r.IntN(len(w.repos))]
		if w.coin(c.name, 100) && (w.dct(p).state == dctGood || c.name == "new-repository") {
			c.do(w, p, w.random(c.name+" how"))
		}
	}
}

func pickOne(r *rand.Rand, of []string) string {
	if len(of) == 0 {
		return ""
	}
	return of[r.IntN(len(of))]
}

// tagNames returns the tags of a repository that are not signature lists.
func (w *world) tagNames(p *place) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.registry.Tags(p.name))), func(tag string) bool { return w.isList(p, tag) })
}

// Kinds of faults, and the parts of the servers that they affect.
var (
	faultKinds    = []string{"404", "404-html", "404-json", "404-any", "404-both", "404-own", "429", "500", "503", "html", "cut", "reset", "stall", "round"}
	registryParts = map[string]*regexp.Regexp{
		"tag": regexp.MustCompile(`^(GET|HEAD) .*/manifests/[a-z0-9]+$`), "digest": regexp.MustCompile(`^(GET|HEAD) .*/manifests/sha256:`),
		"list": regexp.MustCompile(`^(GET|HEAD) .*/(referrers/|manifests/sha256-)`), "blob": regexp.MustCompile(`^(GET|HEAD) .*/blobs/sha256`),
		"upload": regexp.MustCompile(`^(POST|PUT|PATCH) .*/blobs/`), "push": regexp.MustCompile(`^PUT .*/manifests/`), "tags": regexp.MustCompile(`/tags/list`),
		"catalog": regexp.MustCompile(`/_catalog`), "delete": regexp.MustCompile(`^DELETE `),
		"api": regexp.MustCompile(`^(GET|HEAD) .*/referrers/`), "everything": regexp.MustCompile(`.`),
	}
	notaryParts = map[string]*regexp.Regexp{
		"root": regexp.MustCompile(`/tuf/root`), "timestamp": regexp.MustCompile(`/tuf/timestamp`),
		"targets": regexp.MustCompile(`/tuf/(targets|snapshot)`), "changefeed": regexp.MustCompile(`_trust/changefeed`),
	}
	ownCodes = map[string]string{
		"tag": "MANIFEST_UNKNOWN", "digest": "MANIFEST_UNKNOWN", "list": "MANIFEST_UNKNOWN", "blob": "BLOB_UNKNOWN", "tags": "NAME_UNKNOWN",
		"api": "MANIFEST_UNKNOWN", "everything": "MANIFEST_UNKNOWN",
		"root": "METADATA_NOT_FOUND", "timestamp": "METADATA_NOT_FOUND", "targets": "METADATA_NOT_FOUND",
	}
)

// trouble makes one of the servers answer badly until the returned function is called.
func (w *world) trouble() (over func()) {
	w.serveFeed(nil)
	r := w.random("trouble")
	if w.coin("changefeed-of-a-proxy", 6) {
		w.faulty = true
		w.tell("a proxy answers for the changefeed, and names nothing")
		w.serveFeed(func(wr http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v2/_trust/changefeed" {
				return false
			}
			_, _ = wr.Write([]byte(`{"count":0,"records":null}`))
			return true
		})
		return func() { w.serveFeed(nil); w.faulty = false }
	}
	if !w.coin("faults", 50) {
		return func() {}
	}
	parts := registryParts
	where := "registry"
	if r.IntN(3) == 0 {
		parts, where = notaryParts, "notary"
	}
	part := pickOne(r, slices.Sorted(maps.Keys(parts)))
	kind, when, half := faultKinds[r.IntN(len(faultKinds))], []string{"always", "first", "second", "twice"}[r.IntN(4)], r.IntN(3)
	if where == "registry" && r.IntN(4) == 0 { // a proxy that does not know a path, or any path
		part, kind = pickOne(r, []string{"api", "everything"}), faultKinds[r.IntN(6)]
	}
	if !w.coin(kind, 100) || !w.coin(where+":"+part, 100) {
		return func() {}
	}
	w.faulty = true
	var mu sync.Mutex
	seen := map[string]int{}
	strike := func(wr http.ResponseWriter, req *http.Request, next http.Handler) (struck bool) {
		line := req.Method + " " + req.URL.Path
		if where == "registry" && part == "api" && registryParts["api"].MatchString(line) {
			defer func() {
				if mu.Lock(); !struck || !strings.HasPrefix(kind, "404") {
					w.sighted = true
				} else {
					w.hidden = true
				}
				mu.Unlock()
			}()
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(req.URL.Path))
		if !parts[part].MatchString(line) || half < 2 && h.Sum64()%2 != uint64(half) {
			return false
		}
		mu.Lock()
		n := seen[line]
		seen[line]++
		mu.Unlock()
		if when == "first" && n > 0 || when == "second" && n != 1 || when == "twice" && n > 1 {
			return false
		}
		// Only the list of tags reveals this as a lie, and that is requested once, so it must fail
		// too.
		if kind == "404-own" || kind == "404-any" && where == "registry" && (part != "everything" || half < 2 || when == "twice") {
			w.lies.Store(req.URL.Path, true)
		}
		w.answerBadly(wr, req, next, kind, ownCodes[part])
		return true
	}
	w.tell("%s of the %s: %s %s", part, where, kind, when)
	if where == "registry" {
		w.registry.SetHook(strike)
	} else {
		w.serveFeed(func(wr http.ResponseWriter, r *http.Request) bool { return strike(wr, r, nil) })
	}
	return func() {
		w.registry.SetHook(nil)
		w.serveFeed(nil)
		w.faulty, w.hidden, w.sighted = false, false, false
		w.lies.Clear()
	}
}

// answerBadly sends one bad answer. If next is nil, there is no real answer to truncate.
func (w *world) answerBadly(wr http.ResponseWriter, r *http.Request, next http.Handler, kind, own string) {
	say := func(code int, mediaType, body string) {
		wr.Header().Set("Content-Type", mediaType)
		wr.WriteHeader(code)
		_, _ = wr.Write([]byte(body))
	}
	switch kind {
	case "404":
		wr.WriteHeader(http.StatusNotFound)
	case "404-html":
		say(http.StatusNotFound, "text/html", "<html>not here</html>")
	case "404-json":
		say(http.StatusNotFound, "application/json", `{"errors":[{"code":"NO_ROUTE","message":"no such upstream"}],"status":404}`)
	case "404-any":
		say(http.StatusNotFound, "application/json", `{"errors":[{"code":"NOT_FOUND","message":"not found"}]}`)
	case "404-both":
		say(http.StatusNotFound, "application/json", `{"errors":[{"code":"`+own+`"},{"code":"NO_ROUTE"}]}`)
	case "404-own":
		say(http.StatusNotFound, "application/json", `{"errors":[{"code":"`+own+`","message":"unknown"}]}`)
	case "429", "500", "503":
		badAnswer(kind)(wr, r, next)
	case "html":
		say(http.StatusOK, "text/html", "<html>log in</html>")
	case "round": // endless pages
		wr.Header().Set("Link", "<"+r.URL.Path+`?n=1>; rel="next"`)
		say(http.StatusOK, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"tags":["v0"],"repositories":["team/r0"]}`)
	case "stall":
		time.Sleep(100 * time.Millisecond)
		panic(http.ErrAbortHandler)
	default:
		if kind == "cut" && next != nil {
			badAnswer(kind)(wr, r, next)
		}
		panic(http.ErrAbortHandler)
	}
}

// serveFeed puts a hook before the Notary server, and the world's changefeed behind it.
func (w *world) serveFeed(first notarytest.Hook) {
	w.notary.SetHook(func(wr http.ResponseWriter, r *http.Request) bool {
		if first != nil && first(wr, r) {
			return true
		}
		if w.feed == nil || r.URL.Path != "/v2/_trust/changefeed" {
			return false
		}
		page := w.feed()
		if at := slices.IndexFunc(page, func(e feedEntry) bool { return e.ID == r.URL.Query().Get("change_id") }); at >= 0 {
			page = page[at+1:]
		} else if after := r.URL.Query().Get("change_id"); after != "" {
			page = slices.DeleteFunc(page, func(e feedEntry) bool { return len(e.ID) < len(after) || len(e.ID) == len(after) && e.ID <= after })
		}
		_ = json.NewEncoder(wr).Encode(map[string]any{"count": len(page), "records": page})
		return true
	})
}

// strangeFeed makes the changefeed tell the truth in a strange way. Each repository that the server
// has is in it.
func (w *world) strangeFeed() {
	gaps, repeats, deletions, names, anew := w.coin("feed-gaps", 20), w.coin("feed-repeats", 20), w.coin("feed-deletion-of-live", 15), w.coin("feed-odd-names", 10), w.coin("feed-made-anew", 15)
	if !gaps && !repeats && !deletions && !names && !anew {
		return
	}
	w.vague = w.vague || deletions || names
	base, asked := 1, 0
	if anew {
		base = 100_000 // as many as the first database had
	}
	w.feed = func() (all []feedEntry) {
		if asked++; anew && asked > 4 {
			base = 1
		}
		add := func(gun, category string) {
			id := base + len(all)
			if gaps {
				id = base + 7*len(all)
			}
			all = append(all, feedEntry{ID: fmt.Sprint(id), GUN: gun, Category: category, Version: 1, SHA256: digest.FromBytes(w.notary.Raw(gun, "timestamp")).Encoded(), CreatedAt: time.Now()})
		}
		for i, gun := range w.notary.GUNs() {
			add(gun, "update")
			if repeats {
				add(gun, "update")
			}
			if deletions && i == 0 {
				add(gun, "deletion")
			}
		}
		if names {
			add(w.registry.Host()+"/team/../UPPER case", "update")
		}
		return all
	}
	w.serveFeed(nil)
}

// changeLedger makes later runs use another ledger, or keeps a copy of this one.
func (w *world) changeLedger() {
	earlier := w.path("copy.db")
	raw, err := os.ReadFile(w.ledger)
	switch {
	case err == nil && w.coin("ledger-copied", 15):
		w.write("copy.db", raw)
		w.made[earlier], w.copyOf[earlier] = maps.Clone(w.made[w.ledger]), w.ledger
	case w.made[earlier] != nil && w.coin("ledger-of-earlier", 30):
		w.ledger = earlier
		w.tell("from here on the copy of the ledger")
	case w.coin("ledger-anew", 15):
		w.ledger = w.path(fmt.Sprintf("ledger%d.db", w.drawn["ledger-anew"]))
		w.tell("from here on a new ledger")
	}
}

// command calls a verb that contacts the servers.
func (w *world) command(verb string, args ...string) (int, []byte, string) {
	args = append([]string{verb, "-o", "json", "--plain-http", "--docker-trust", "none", "--cache-dir", "none", "--notary-server", w.notary.URL(),
		"--trust-pinning", w.path("pins.json"), "--registry-config", w.path("config.json")}, args...)
	if verb == "run" || verb == "verify" {
		args = append(args, "--results", "none")
	}
	return w.mainOf(args...)
}

// mainOf calls the program with exactly these arguments.
func (w *world) mainOf(args ...string) (int, []byte, string) {
	var out, err bytes.Buffer
	code := Main(context.Background(), nil, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return code, out.Bytes(), err.String()
}
