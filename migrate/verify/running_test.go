package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
)

var (
	one = "sha256:" + strings.Repeat("1", 64)
	two = "sha256:" + strings.Repeat("2", 64)
)

// podList returns an API server's list with one Pod.
func podList(spec, status string) string {
	return `{"apiVersion":"v1","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"apps","name":"web","annotations":{"items":"x"}},"spec":` + spec + `,"status":` + status + `}],"kind":"List","metadata":{"resourceVersion":""}}`
}

// The list of running images is read from kubectl's output and from plain lines, for every kind of
// container and every form in which a runtime names its image.
func TestListsOfWhatRuns(t *testing.T) {
	t.Parallel()
	app := func(status string) string {
		return podList(`{"containers":[{"name":"c","image":"alpine:3"}]}`, status)
	}
	status := func(id string) string {
		return app(`{"containerStatuses":[{"name":"c","image":"alpine:3","imageID":"` + id + `"}]}`)
	}
	for name, c := range map[string]struct {
		list string
		want []string // name, digest, what else is known, places
	}{
		"lines": {"# what runs\n\n alpine # Docker's\r\nregistry.example.com/app:v1\nregistry.example.com/app:v1\nregistry.example.com:5000/a/b:v1@" + one + "\n", []string{
			"docker.io/library/alpine:latest   1", "registry.example.com/app:v1   2", "registry.example.com:5000/a/b:v1@" + one + " " + one + "  1"}},
		"a mark, and no line feed at the end": {"\ufeff alpine@" + one, []string{"docker.io/library/alpine@" + one + " " + one + "  1"}},
		"no status":                           {app(`{}`), []string{"docker.io/library/alpine:3   1 apps/web/c"}},
		"containerd":                          {status("docker.io/library/alpine@" + one), []string{"docker.io/library/alpine:3 " + one + " status 1 apps/web/c"}},
		"docker":                              {status("docker-pullable://alpine@" + one), []string{"docker.io/library/alpine:3 " + one + " status 1 apps/web/c"}},
		"another repository's":                {status("quay.io/x/y@" + one), []string{"docker.io/library/alpine:3 " + one + " status 1 apps/web/c"}},
		"a configuration":                     {status(one), []string{"docker.io/library/alpine:3  config " + one + " 1 apps/web/c"}},
		"docker's configuration":              {status("docker://" + one), []string{"docker.io/library/alpine:3  config " + one + " 1 apps/web/c"}},
		"bare hex":                            {status(strings.Repeat("1", 64)), []string{"docker.io/library/alpine:3  config " + one + " 1 apps/web/c"}},
		"nothing that is known":               {status("x@sha256:12"), []string{"docker.io/library/alpine:3   1 apps/web/c"}},
		"an image of the index that was asked for": {
			podList(`{"containers":[{"name":"c","image":"alpine@`+one+`"}]}`, `{"containerStatuses":[{"name":"c","imageID":"docker.io/library/alpine@`+two+`"}]}`),
			[]string{"docker.io/library/alpine@" + one + " " + two + " status asked " + one + " 1 apps/web/c"}},
		"a digest, and a configuration": {
			podList(`{"containers":[{"name":"c","image":"alpine@`+one+`"}]}`, `{"containerStatuses":[{"name":"c","imageID":"`+two+`"}]}`),
			[]string{"docker.io/library/alpine@" + one + " " + one + "  1 apps/web/c"}},
		"no image": {podList(`{"containers":[{"name":"c","image":"Not An Image"}]}`, `{}`), []string{"Not An Image  invalid 1 apps/web/c"}},
		"named like an ID": {"0123456789ab:v1\na/0123456789ab\n0123456789a\n", []string{
			"docker.io/library/0123456789ab:v1   1", "docker.io/a/0123456789ab:latest   1", "docker.io/library/0123456789a:latest   1"}},
		"each kind of container, and volumes": {
			podList(`{"containers":[{"name":"c","image":"a:1"},{"name":"d","image":"a:1"}],"initContainers":[{"name":"c","image":"b:1"}],"ephemeralContainers":[{"name":"e","image":"c:1"}],
				"volumes":[{"name":"v","image":{"reference":"d:1"}},{"name":"w","emptyDir":{}},{"name":"x","image":{"pullPolicy":"Always"}}]}`,
				`{"initContainerStatuses":[{"name":"c","imageID":"b@`+two+`"}],"ephemeralContainerStatuses":[{"name":"e","imageID":"c@`+two+`"}],
				"containerStatuses":[{"name":"d","imageID":"a@`+one+`"},{"name":"c","imageID":"a@`+one+`","volumeMounts":[{"name":"v","mountPath":"/v","volumeStatus":{"image":{"imageRef":"d@`+one+`"}}},{"name":"w"}]}]}`),
			[]string{"docker.io/library/a:1 " + one + " status 2 apps/web/c apps/web/d", "docker.io/library/b:1 " + two + " status 1 apps/web/c (init)",
				"docker.io/library/c:1 " + two + " status 1 apps/web/e (ephemeral)", "docker.io/library/d:1 " + one + " status 1 apps/web/v (volume)"}},
		"two lists, and a Pod": {
			app(`{}`) + "\n" + app(`{}`) + `{"kind":"Pod","spec":{"containers":[{"name":"c","image":"alpine:3"}]},"metadata":{"name":"p","namespace":"n"}}`,
			[]string{"docker.io/library/alpine:3   3 apps/web/c apps/web/c n/p/c"}},
	} {
		images, err := ReadRunning(strings.NewReader(c.list))
		var got []string
		for _, i := range images {
			parts := []string{i.Name, i.Digest.String(), map[bool]string{true: "status"}[i.FromStatus]}
			if i.Asked != "" {
				parts = append(parts, "asked", i.Asked.String())
			}
			if i.Config != "" {
				parts = append(parts[:2], "config", i.Config.String())
			}
			if i.Invalid != "" {
				parts = append(parts[:2], "invalid")
			}
			parts = append(parts, fmt.Sprint(i.Count))
			for _, p := range i.Places {
				at := p.Namespace + "/" + p.Pod + "/" + p.Container
				if p.As != "" {
					at += " (" + p.As + ")"
				}
				parts = append(parts, at)
			}
			got = append(got, strings.Join(parts, " "))
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v\n%s\nwant\n%s", name, err, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// A malformed or truncated list is refused, not taken for a shorter one.
func TestListsThatAreNone(t *testing.T) {
	t.Parallel()
	whole := podList(`{"containers":[{"name":"c","image":"alpine:3"}]}`, `{}`)
	for name, c := range map[string]struct{ list, want string }{
		"empty":                           {" \n", "names no image"},
		"comments":                        {"# none\n", "names no image"},
		"no Pods":                         {`{"items":[],"kind":"List"}`, "names no image"},
		"null":                            {`{"items":null,"kind":"PodList"}`, "names no image"},
		"cut":                             {whole[:len(whole)-30], "it is cut"},
		"cut after the items":             {whole[:strings.LastIndex(whole, `,"kind":"List"`)], "it is cut"},
		"cut in a second one":             {whole + whole[:20], "it is cut"},
		"a page of several":               {strings.Replace(whole, `{"resourceVersion":""}`, `{"continue":"abc"}`, 1), "the list goes on"},
		"other objects beside":            {strings.Replace(whole, `"kind":"Pod"`, `"kind":"Deployment"`, 1), "it has a Deployment beside Pods"},
		"another object":                  {`{"kind":"Deployment","spec":{}}`, "of kind Deployment"},
		"an object of another kind":       {`{"images":["alpine"]}`, "of kind "},
		"a table":                         {`{"kind":"Table","items":[]}`, "of kind Table"},
		"a Pod without containers":        {`{"kind":"Pod","spec":{}}`, "no containers"},
		"items of none":                   {`{"kind":"List","items":[{}]}`, "no containers"},
		"text behind":                     {whole + "x", "invalid character"},
		"a JSON list":                     {`["alpine"]`, "line 1: "},
		"YAML":                            {"apiVersion: v1\nkind: List\n", "line 1: "},
		"a bare digest":                   {"alpine\n" + one + "\n", "line 2: "},
		"an ID, as docker ps has it":      {"alpine\n0123456789ab\n", "line 2: "},
		"a hostile name":                  {"a\x1b[31m\n", `line 1: a\x1b[31m`},
		"UTF-16, as PowerShell writes it": {"\xff\xfe{\x00\"\x00", "it is UTF-16"},
		"UTF-16, the other way":           {"\xfe\xff\x00{\x00\"", "it is UTF-16"},
		"a very long line":                {strings.Repeat("a", 100_000), "line 1: "},
		"a very large object":             {`{"kind":"List","items":[{"x":"` + strings.Repeat("a", maxPod+100_000) + `"}]}`, "more than 16 MiB"},
	} {
		if images, err := ReadRunning(strings.NewReader(c.list)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v with %d images, want an error with %q", name, err, len(images), c.want)
		}
	}
}

// repeated reads one text n times.
type repeated struct {
	text string
	n    int
	left string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == "" {
		if r.n--; r.n < 0 {
			return 0, io.EOF
		}
		r.left = r.text
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// manyLines reads lines that are all different.
type manyLines struct {
	n    int
	left string
}

func (m *manyLines) Read(p []byte) (int, error) {
	if m.left == "" {
		m.n++
		m.left = fmt.Sprintf("a/b:%d\n", m.n)
	}
	n := copy(p, m.left)
	m.left = m.left[n:]
	return n, nil
}

// An endless list is refused at the limit of what is kept.
func TestTooManyImagesAreRefused(t *testing.T) {
	t.Parallel()
	lines := &manyLines{}
	if _, err := readRunning(lines, 1000); err == nil || !strings.HasPrefix(err.Error(), "it names more than 1000 different images") || lines.n > 1000+maxLine {
		t.Errorf("got %v after %d lines, want it refused at 1000", err, lines.n)
	}
	if images, err := readRunning(io.MultiReader(&repeated{text: "a/b:1\n", n: 1000}, &repeated{text: "a/b:2\n", n: 1000}), 2); err != nil || len(images) != 2 {
		t.Errorf("exactly as many: got %v, %d images, want 2", err, len(images))
	}
}

// However many entries a list has, only one is kept for each image.
func TestManyEntriesAreOneImage(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"lines": "registry.example.com/app:v1\n", "Pods": podList(`{"containers":[{"name":"c","image":"registry.example.com/app:v1"}]}`, `{}`)} {
		const n = 20_000
		images, err := ReadRunning(&repeated{text: text, n: n})
		if err != nil || len(images) != 1 || images[0].Count != n || len(images[0].Places) > maxPlaces {
			t.Errorf("%s: got %v, %d images, want one of %d", name, err, len(images), n)
		}
	}
}

// countingJudge returns the verdicts that it is given, and counts how often it is asked.
type countingJudge struct {
	trusts map[digest.Digest]Verdict
	asked  map[digest.Digest]int
}

func (j *countingJudge) Judge(_ context.Context, image migrate.Image) (Verdict, error) {
	j.asked[image.Descriptor.Digest]++
	if v, ok := j.trusts[image.Descriptor.Digest]; ok {
		if v.Reason == "down" {
			return Verdict{}, errors.New("registry down")
		}
		return v, nil
	}
	return Verdict{}, nil
}

// Each side is asked about the digest that is running. What cannot be found out is unknown.
func TestWhoTrustsWhatRuns(t *testing.T) {
	t.Parallel()
	s := newMulti(t)
	s.Publish("registry.example.com/team/other", "o1")
	unpinned := "registry.example.com/team/unpinned"
	s.Publish(unpinned, "u1")
	delete(s.Pins.Certs, unpinned)
	s.Must(s.Repo.Sign("both", s.Put("both").Encoded(), 100))
	s.Must(s.Repo.Sign("moved", s.Put("moved").Encoded(), 100))
	s.Must(s.Repo.Sign("expired", s.Put("expired").Encoded(), 100))
	s.Must(s.Repo.Sign("unsure", s.Put("unsure").Encoded(), 100))
	s.Must(s.Repo.Publish())
	s.Put("outside")
	s.Put("outside2")
	s.Put("unread")
	s.Put("stray")
	s.Tagged["moved"] = of("outside")
	config := digest.FromString("config")
	single := s.Bytes(ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"config":{"digest":"`+config.String()+`"}}`))
	s.SignTag("single", single)
	stranger := s.Image("stranger", "amd64")
	good := Verdict{Signatures: 1, Trusted: true}
	judge := &countingJudge{asked: map[digest.Digest]int{}, trusts: map[digest.Digest]Verdict{
		of("both"): good, s.List.Digest: good, of("stray"): good, single.Digest: good, of("outside"): good,
		of("expired"): {Signatures: 1, Trusted: true, Doubt: Expired, Reason: "certificate ended"},
		of("unsure"):  {Signatures: 1, Doubt: Unknown, Reason: "revocation"},
		of("plain"):   {Signatures: 1, Trusted: true, Refused: "entry 1"},
		of("down"):    {Reason: "down"},
		of("unread"):  {Signatures: 1, Doubt: Untrusted, Unread: true, Reason: "cannot be read"},
	}}
	s.Put("down")
	lone := s.Image("lone", "amd64")
	s.SignTag("lone", s.Index(lone))
	torn := s.Index(s.AMD64, s.Image("half", "amd64"))
	s.SignTag("torn", torn)
	s.Manifests[torn.Digest] = []byte("{")
	app := scenetest.App
	for name, c := range map[string]struct {
		name, id string
		want     TrustedBy
		reason   string
	}{
		"both":                                {app + ":both", app + "@" + of("both").String(), ByBoth, ""},
		"both, by the tag":                    {app + ":both", "", ByBoth, ""},
		"the tag was moved since":             {app + ":moved", app + "@" + of("moved").String(), ByDCT, "Notation: no Notation signature"},
		"the tag as it is now":                {app + ":moved", "", ByNotation, "DCT: it does not name the digest"},
		"neither":                             {app + ":outside2", app + "@" + of("outside2").String(), ByNeither, "DCT: it does not name the digest; Notation: no Notation signature"},
		"Notation alone":                      {app + "@" + of("stray").String(), "", ByNotation, "DCT"},
		"expired":                             {app + ":expired", app + "@" + of("expired").String(), ByDCT, "certificate ended"},
		"refused by notation verify":          {app + ":plain", app + "@" + of("plain").String(), ByDCT, "entry 1"},
		"revocation is not known":             {app + ":unsure", app + "@" + of("unsure").String(), ByUnknown, "revocation"},
		"the registry is down":                {app + "@" + of("down").String(), "", ByUnknown, "registry down"},
		"an image of the index of its tag":    {app + ":v1", app + "@" + s.AMD64.Digest.String(), ByBoth, ""},
		"an image of the index asked for":     {app + "@" + s.List.Digest.String(), app + "@" + s.AMD64.Digest.String(), ByBoth, ""},
		"another image than the tag's index":  {app + ":v1", app + "@" + stranger.Digest.String(), ByNeither, ""},
		"an image by its digest alone":        {app + "@" + s.AMD64.Digest.String(), "", ByNeither, "; it is an image of index " + s.List.Digest.String() + " (tag v1), which both sides trust"},
		"an image of an index, DCT's alone":   {app + "@" + lone.Digest.String(), "", ByNeither, " (tag lone), which DCT trusts, and Notation does not"},
		"an index that cannot be read":        {app + ":torn", app + "@" + digest.FromString("image half").String(), ByUnknown, "which may list it"},
		"a signature that cannot be read":     {app + "@" + of("unread").String(), "", ByUnknown, "cannot be read"},
		"the registry has it no more":         {app + ":gone", app + "@" + one, ByNeither, "Notation: the registry has no such digest"},
		"the tag is there no more":            {app + ":gone", "", ByUnknown, "does not say which digest runs"},
		"the configuration of the tag":        {app + ":single", config.String(), ByBoth, ""},
		"the configuration of another":        {app + ":single", one, ByUnknown, "the tag is now of another image"},
		"no trust data":                       {"registry.example.com/team/none:both", app + "@" + of("both").String(), ByNotation, "no trust data"},
		"no pin":                              {unpinned + ":u1", unpinned + "@" + of("both").String(), ByUnknown, "DCT: "},
		"another registry":                    {"quay.io/x/y:both", app + "@" + of("both").String(), NotAsked, ""},
		"no image":                            {"Not An Image", "", ByUnknown, "reference format"},
		"images of elsewhere, where they are": {"mirror.example.com/app:both", app + "@" + of("both").String(), ByBoth, ""},
	} {
		var got []Running
		v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 4}
		err := v.Running(context.Background(), []RunningImage{ran(c.name, c.id)}, RunningScope{
			Asks: func(host string) bool { return host == "registry.example.com" || host == "mirror.example.com" },
			Signed: func(repository string) (dct.GUN, error) {
				return dct.ParseGUN(strings.Replace(repository, "mirror.example.com/app", app, 1))
			},
		}, func(r Running) error { got = append(got, r); return nil })
		if err != nil || len(got) != 1 || got[0].TrustedBy != c.want || !strings.Contains(got[0].Reason, c.reason) {
			t.Errorf("%s: got %v, %+v, want %s for %q", name, err, got, c.want, c.reason)
		}
	}
}

// One image under many names is judged once, and trust data is read once for each repository.
func TestWhatRunsIsAskedForOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	judge := &countingJudge{asked: map[digest.Digest]int{}}
	var images []RunningImage
	for i := range 1000 {
		images = append(images, ran(fmt.Sprintf("%s:t%d", scenetest.App, i), "x@"+of("v1").String()))
	}
	n := 0
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 1}
	before := s.Notary.Requests()
	s.Must(v.Running(context.Background(), images, RunningScope{Asks: func(string) bool { return true }, Signed: dct.ParseGUN}, func(Running) error { n++; return nil }))
	if reads := s.Notary.Requests() - before; n != 1000 || judge.asked[of("v1")] != 1 || reads > 10 {
		t.Errorf("got %d images, %d questions, %d requests for trust data, want 1000, 1, those of one reading", n, judge.asked[of("v1")], reads)
	}
}

// A list of running images is evidence for the check that people tick. It passes no gate by itself,
// and no tick outweighs what Notation will refuse, what is unknown, or an old list.
func TestWhatRunsIsEvidenceForATick(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "good", "bad", "down")
	now := time.Now()
	judge := &countingJudge{asked: map[digest.Digest]int{}, trusts: map[digest.Digest]Verdict{of("good"): {Signatures: 1, Trusted: true}, of("down"): {Reason: "down"}}}
	ticked := Decisions{Ticks: []Tick{{Check: gateDigests, By: "Jane", Date: dayOf(now)}}}
	app := func(tags ...string) (images []RunningImage) {
		for _, tag := range tags {
			images = append(images, ran(scenetest.App+":"+tag, scenetest.App+"@"+of(tag).String()))
		}
		return images
	}
	for name, c := range map[string]struct {
		decisions Decisions
		images    []RunningImage
		age       time.Duration
		tofu      bool
		want      GateState
		says      string
	}{
		"no tick":               {Decisions{}, app("good"), 0, false, Open, "1 trusted by both"},
		"ticked":                {ticked, app("good"), 0, false, Holds, "ticked by Jane"},
		"nothing listed":        {ticked, nil, 0, false, Holds, "ticked by Jane"},
		"refused by Notation":   {ticked, app("good", "bad"), 0, false, Fails, "Notation will refuse it"},
		"refused, and not told": {Decisions{}, app("bad", "down"), 0, false, Fails, "registry down"},
		"unknown":               {ticked, app("down"), 0, false, NotTold, "registry down"},
		"old":                   {ticked, app("good"), maxListAge + time.Hour, false, NotTold, "more than seven days old"},
		"of the future":         {ticked, app("good"), -24 * time.Hour, false, NotTold, "in the future"},
		"of other registries":   {ticked, []RunningImage{ran("quay.io/x/y:1", "")}, 0, false, NotTold, "no image of it"},
		"trusted on first use":  {ticked, app("good"), 0, true, NotTold, "on first use"},
	} {
		trust := s.Trust()
		if c.tofu {
			trust.Pins = dct.Pins{TOFU: true}
		}
		r := &Readiness{
			Verification: &Verification{Trust: trust, Registry: s, Judge: described{judge}, Workers: 1}, Decisions: c.decisions, Planned: now, Now: now,
			Scope: RunningScope{Asks: func(host string) bool { return host == "registry.example.com" }, Signed: dct.ParseGUN},
		}
		if c.images != nil {
			r.Running = &RunningList{Images: c.images, Name: "pods.json", At: now.Add(-c.age)}
		}
		gates, err := r.Assess(context.Background(), s.GUNs(scenetest.App))
		s.Must(err)
		for _, g := range gates {
			if said := strings.Join(g.Evidence, "\n"); g.ID == gateDigests && (g.State != c.want || !strings.Contains(said, c.says)) {
				t.Errorf("%s: got %s for\n%s\nwant %s for %q", name, g.State, said, c.want, c.says)
			}
			if g.ID == gateDigests && strings.Contains(g.Hint, "--running") != (c.images == nil) {
				t.Errorf("%s: got the hint %q, want --running in it only where no list was given", name, g.Hint)
			}
		}
	}
}

// No list of running images makes the reader panic or keep an image that it does not name. What it
// names is a reference or says why not.
func FuzzReadRunning(f *testing.F) {
	f.Add(podList(`{"containers":[{"name":"c","image":"alpine:3"}]}`, `{"containerStatuses":[{"name":"c","imageID":"docker://`+one+`"}]}`))
	f.Add("alpine\nregistry.example.com/app@" + one + "\n")
	f.Fuzz(func(t *testing.T, list string) {
		images, err := ReadRunning(strings.NewReader(list))
		for _, i := range images {
			again := runningImage(i.Name)
			if i.Invalid != again.Invalid || i.Repository != again.Repository || i.Count < 1 || i.Digest != "" && i.Digest.Validate() != nil {
				t.Errorf("got %+v, want a reference, or why it is none", i)
			}
		}
		if err == nil && len(images) == 0 {
			t.Error("got no image and no error, want either")
		}
	})
}
