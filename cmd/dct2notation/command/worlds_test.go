package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/dir"
	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// These variables set how many worlds are played, and which. DCT2NOTATION_WORLD plays a single one
// again, and leaves out, one by one, the features that it does not need to fail.
const (
	worldsVar    = "DCT2NOTATION_WORLDS"
	worldSeedVar = "DCT2NOTATION_WORLD"
	worldsAtOnce = 6
)

// notYet lists features of worlds that the program does not handle yet, with the reason.
var notYet = map[string]string{}

// A yes can be trusted. Whatever state ledgers, registries and Notary servers are in, and whatever
// they answer, no verb says complete, well or agree, or ends with 0, if an observer who sees
// everything finds a counterexample. No key signs what DCT did not vouch for at that moment.
func TestNoYesIsWrongInRandomWorlds(t *testing.T) {
	base := &ground{t: t, dir: t.TempDir()}
	was := dir.UserConfigDir
	dir.UserConfigDir = base.path("notation")
	t.Cleanup(func() { dir.UserConfigDir = was })
	keys := base.makeWorldKeys()
	if text := os.Getenv(worldSeedVar); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		shrink(t, base, keys, seed)
		return
	}
	n, err := strconv.Atoi(cmp.Or(os.Getenv(worldsVar), fmt.Sprint(worldsUsually)))
	must(t, err)
	first := uint64(1) // CI plays the same worlds each time; if a number is given, there are new ones
	if os.Getenv(worldsVar) != "" {
		first = rand.Uint64()
	}
	// Verbs mostly wait, so more worlds than processors run at the same time.
	var all sync.WaitGroup
	left := make(chan uint64, n)
	for i := range n {
		left <- first + uint64(i)
	}
	close(left)
	for range worldsAtOnce {
		all.Go(func() {
			for seed := range left {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					if w, wrong := play(t, base, keys, seed, nil); wrong != "" {
						t.Error(w.account(wrong))
					}
				})
			}
		})
	}
	all.Wait()
	t.Logf("verbs by how they ended: %v", keys.ends)
}

// worldKeys are the keys with which all worlds sign. Each has its own name in the one
// signingkeys.json that notation reads, so that each can renew its certificate.
type worldKeys struct {
	next *pki.Identity // release's next certificate, and another key
	base *ground
	mu   sync.Mutex
	keys map[string]map[string]string // by name; guarded by mu
	ends map[string]int               // number of verbs, by verb and exit code; guarded by mu
}

// count records how a verb ended: a test of yeses must see many.
func (k *worldKeys) count(verb string, code int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ends[fmt.Sprint(verb, " ", code)]++
}

// makeWorldKeys issues the keys that all worlds share.
func (g *ground) makeWorldKeys() *worldKeys {
	g.makeKeys()
	ca, err := pki.NewAuthority("ground")
	must(g.t, err)
	next, err := ca.Issue("next", nil)
	must(g.t, err)
	next, err = ca.Issue(releaseName, next.Key)
	must(g.t, err)
	g.write("notation/truststore/x509/ca/ground/next.pem", ca.CertificatePEM())
	for name, id := range map[string]*pki.Identity{releaseName: g.release, "next": next} {
		_, err := id.Save(g.dir, name)
		must(g.t, err)
	}
	return &worldKeys{next: next, base: g, keys: map[string]map[string]string{}, ends: map[string]int{}}
}

// set gives the key of that name the certificate and private key in these files.
func (k *worldKeys) set(t *testing.T, name, files string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[name] = map[string]string{"name": name, "keyPath": k.base.path(files + ".key"), "certPath": k.base.path(files + ".crt")}
	raw, err := json.Marshal(map[string]any{"keys": slices.Collect(maps.Values(k.keys))})
	must(t, err)
	must(t, os.WriteFile(k.base.path("next.json"), raw, 0o600))
	must(t, os.Rename(k.base.path("next.json"), k.base.path("notation/signingkeys.json")))
}

// shrink replays a world, each time with one feature less, as long as it fails.
func shrink(t *testing.T, base *ground, keys *worldKeys, seed uint64) {
	off := map[string]bool{}
	w, wrong := play(t, base, keys, seed, off)
	if wrong == "" {
		t.Log("nothing is wrong in this world\n" + w.account(""))
		return
	}
	for _, feature := range slices.Backward(slices.Compact(slices.Sorted(slices.Values(w.on)))) {
		off[feature] = true
		if less, still := play(t, base, keys, seed, maps.Clone(off)); kindOf(still) == kindOf(wrong) {
			w, wrong = less, still
		} else {
			delete(off, feature)
		}
	}
	t.Error(w.account(wrong))
}

// kindOf returns a finding without names and numbers.
func kindOf(wrong string) string {
	line, _, _ := strings.Cut(wrong, "\n")
	return regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`).ReplaceAllString(line, "")
}

func (w *world) account(wrong string) string {
	return fmt.Sprintf("%s=%d\n%s\nfeatures: %s\n- %s\n", worldSeedVar, w.seed, wrong, strings.Join(w.on, ", "), strings.Join(w.story, "\n- "))
}

// play makes a world, lets people and verbs act in it, and returns the first wrong yes.
func play(t *testing.T, base *ground, keys *worldKeys, seed uint64, off map[string]bool) (_ *world, wrong string) {
	t.Helper()
	w := newWorld(t, base, keys, seed, off)
	w.strangeFeed()
	w.change()
	verbs := []func() string{w.run, w.run, w.run, w.run, w.verify, w.verify, w.verify, w.ready, w.snapshot, w.plan, w.takeBack}
	for i := range 3 + w.random("verbs").IntN(3) {
		verb := verbs[w.random("verb").IntN(len(verbs))]
		if i == 0 && w.coin("run-first", 80) {
			verb = w.run
		}
		over := w.trouble()
		wrong := verb()
		over()
		if wrong != "" {
			return w, wrong
		}
		w.change()
		w.changeLedger()
	}
	return w, w.repaired()
}

// repaired ends all faults, and checks whether the verbs get everything done.
func (w *world) repaired() string {
	for _, p := range w.repos {
		if w.dct(p).state == dctUnread {
			for _, role := range []string{"targets", "snapshot", "timestamp"} {
				must(w.t, p.trust.Tamper(role, func(signed map[string]any) {
					signed["expires"] = time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)
				}, true))
			}
		}
	}
	w.tell("all is repaired")
	w.final = true
	for _, verb := range []func() string{w.run, w.verify, w.snapshot, w.ready} {
		if wrong := verb(); wrong != "" {
			return wrong
		}
	}
	return ""
}

// said is what a verb reported.
type said struct {
	verb   string
	code   int
	out    []byte
	err    string
	before stock
	after  stock
}

// call runs a verb. It returns in wrong what no verb may do, whatever it reports.
func (w *world) call(verb string, args ...string) (s said, wrong string) {
	s = said{verb: verb, before: w.stock()}
	began := time.Now()
	s.code, s.out, s.err = w.command(verb, args...)
	s.after = w.stock()
	w.keys.count(verb, s.code)
	w.tell("%s %s: exit code %d after %v", verb, strings.ReplaceAll(strings.Join(args, " "), w.dir, ""), s.code, time.Since(began).Round(time.Millisecond))
	for image, list := range s.before {
		for d := range list {
			if _, still := s.after[image][d]; !still && verb != "undo" {
				return s, fmt.Sprintf("%s has deleted the signature %.14s of %s", verb, d, image)
			}
		}
	}
	if verb != "run" && len(s.new()) > 0 {
		return s, fmt.Sprintf("%s has signed something", verb)
	}
	return s, ""
}

// new returns the signatures that did not exist before the verb, by image.
func (s said) new() map[string][]sig {
	all := map[string][]sig{}
	for image, list := range s.after {
		for d, one := range list {
			if _, was := s.before[image][d]; !was {
				all[image] = append(all[image], one)
			}
		}
	}
	return all
}

// wrongf describes what is wrong with what a verb reported.
func (s said) wrongf(format string, args ...any) string {
	return fmt.Sprintf("%s ended with %d, and %s\n%s\n%.4000s", s.verb, s.code, fmt.Sprintf(format, args...), s.err, s.out)
}

// chosen draws how repositories are named, and returns the arguments.
func (w *world) chosen() []string {
	glob := w.registry.Host() + "/**"
	switch {
	case w.coin("discover-changefeed", 30):
		return []string{"--discover", "changefeed", glob}
	case w.coin("discover-catalog", 20):
		return []string{"--discover", "catalog", glob}
	}
	var names []string
	for _, p := range w.repos {
		names = append(names, p.trust.GUN())
	}
	return names
}

func discovers(args []string) bool { return slices.Contains(args, "--discover") }

// chosenToCompare is chosen, sometimes with one repository less. Deleted repositories must be
// discovered.
func (w *world) chosenToCompare() []string {
	deleted := slices.ContainsFunc(w.repos, func(p *place) bool { return w.dct(p).state == dctNone })
	if deleted && w.coin("looks-for-the-deleted", 60) {
		return []string{"--discover", "changefeed", w.registry.Host() + "/**"}
	}
	args := w.chosen()
	if !discovers(args) && len(args) > 1 && w.coin("one-is-not-named", 20) {
		return args[:len(args)-1]
	}
	return args
}

// allAreNamed reports whether the arguments leave no repository out.
func (w *world) allAreNamed(args []string) bool {
	return discovers(args) || !slices.ContainsFunc(w.repos, func(p *place) bool { return !slices.Contains(args, p.trust.GUN()) })
}

// ran is the JSON of run.
type ran struct {
	Complete  bool
	Started   time.Time
	NotAsked  int                                                  `json:"not_asked"`
	NotSigned []struct{ Repository, Digest, Result, Class string } `json:"not_signed"`
}

// how holds the options of a run.
type how struct {
	args                                        []string
	recheck, rebind, platforms, planned, expiry bool
	some                                        bool            // only tags that begin with v
	only                                        map[string]bool // references; nil: all
}

// howToRun draws the flags of a run.
func (w *world) howToRun() (h how) {
	failures, plan := w.path("failures.txt"), w.path("plan.json")
	h.args = append(w.chosen(), "--state", w.ledger, "--accept-changes", "--report", "jsonl="+w.path("run.jsonl"), "--report", "failures="+failures)
	format := map[bool]string{true: "cose", false: "jws"}[strings.Contains(w.repos[0].mediaType, "cose")]
	if len(w.made[w.ledger]) > 0 && w.coin("renewed-certificate", 10) {
		w.keys.set(w.t, w.key, "next")
		w.now = w.keys.next
		w.tell("the key has another certificate from here on")
	}
	h.args = append(h.args, "--signature-format", format, "--key", w.key)
	h.rebind, h.platforms, h.recheck, h.expiry = w.coin("rebind", 15), w.coin("platforms-all", 20), w.coin("recheck", 30) || w.final, w.coin("expiry", 8)
	w.begunPlatforms = w.begunPlatforms || h.platforms // what has begun is in the ledger, and verify reports it
	for flag, on := range map[string]bool{"--rebind": h.rebind, "--platforms=all": h.platforms, "--recheck": h.recheck, "--expiry=1s": h.expiry} {
		if on {
			h.args = append(h.args, flag)
		}
	}
	_, noList := os.Stat(failures)
	_, noPlan := os.Stat(plan)
	switch {
	case w.final:
	case noList == nil && w.coin("only", 20):
		h.only = w.failuresIn(failures)
		must(w.t, os.Rename(failures, failures+".only"))
		h.args = append(h.args, "--only", failures+".only")
	case w.coin("run-include-tags", 10):
		h.some = true
		h.args = append(h.args, "--include-tags", "v*")
	case noPlan == nil && w.coin("run-plan", 40):
		h.planned = true
		h.args = append(h.args, "--plan", plan)
	}
	return h
}

func (w *world) run() string {
	h := w.howToRun()
	before := map[string]bool{}
	for _, p := range w.repos {
		for image := range w.registry.Attached(p.name) {
			before[p.name+"@"+image] = w.known(p, digest.Digest(image))
		}
	}
	s, wrong := w.call("run", h.args...)
	if wrong == "" {
		wrong = w.checkSigned(s, before, h)
	}
	if wrong != "" {
		return wrong
	}
	var r ran
	if err := json.Unmarshal(s.out, &r); err != nil && s.code == cli.ExitDone && h.only == nil {
		return s.wrongf("its result is none: %v", err)
	}
	switch {
	case r.Complete && s.code != cli.ExitDone:
		return s.wrongf("it says complete")
	case s.code == cli.ExitDone:
		wrong = w.checkComplete(s, r, h)
	case w.allMayBeSigned() && h.only == nil && !h.planned && !h.some:
		wrong = s.wrongf("nothing was in its way")
	}
	if h.expiry {
		time.Sleep(1100 * time.Millisecond) // it has expired
	}
	return wrong
}

// failuresIn reads a list of failures: references of images that failed.
func (w *world) failuresIn(path string) map[string]bool {
	raw, err := os.ReadFile(path)
	must(w.t, err)
	all := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if line, _, _ = strings.Cut(strings.TrimSpace(line), " "); line != "" && !strings.HasPrefix(line, "#") {
			all[line] = true
		}
	}
	return all
}

// checkSigned checks what the key was used for. Promises 1, 3 and 4.
func (w *world) checkSigned(s said, signedBefore map[string]bool, h how) string {
	for image, list := range s.new() {
		name, d, _ := strings.Cut(image, "@")
		p := w.place(name)
		for _, one := range list {
			if !w.ours(one) || one.over.String() != d {
				return s.wrongf("it pushed a signature to %s that is not by the key, or over %s", image, one.over)
			}
			if !w.vouched(p, h.platforms)[one.over] {
				return s.wrongf("it signed %s, which DCT does not vouch for", image)
			}
			if w.made[w.ledger] == nil {
				w.made[w.ledger] = map[string]bool{}
			}
			w.made[w.ledger][image+" "+one.digest.String()] = true
		}
		// A signature that expires before it can be pushed and listed is made anew.
		if h.expiry {
			list = slices.DeleteFunc(list, func(one sig) bool { return one.ended })
		}
		if len(list) > 1 {
			return s.wrongf("it signed %s %d times", image, len(list))
		}
		if signedBefore[image] && !h.rebind && !w.hides(p, true) && !w.liedAbout("sha256-"+strings.TrimPrefix(d, "sha256:")) {
			return s.wrongf("it signed %s again, which had a good signature of ours", image)
		}
	}
	return ""
}

func (w *world) place(name string) *place {
	return w.repos[slices.IndexFunc(w.repos, func(p *place) bool { return p.name == name })]
}

// checkComplete looks for work that a run which ended with 0 has not done.
func (w *world) checkComplete(s said, r ran, h how) string {
	for _, p := range w.repos {
		state := w.dct(p).state
		switch {
		case h.planned && state != dctGood, h.only != nil && !r.Complete && state != dctGood, state == dctNone && discovers(h.args):
			continue
		case state == dctGood || w.liedAbout(p.trust.GUN()):
		default:
			return s.wrongf("the trust data of %s is %s", p.name, state)
		}
		for d := range w.vouched(p, h.platforms) {
			made := h.expiry && len(s.new()[p.name+"@"+d.String()]) > 0 // and may have expired since
			// A signature by an earlier run may have expired after it was inspected.
			if !made && !w.signed(p, d) && !w.signedAt(p, d, r.Started) && !w.excused(p, d, r, h) {
				return s.wrongf("%s@%s (in the registry: %v) has no good signature of ours; the result says %q", p.name, d, w.stored(p, d), r.class(p, d))
			}
		}
	}
	if len(s.out) == 0 {
		return "" // there was nothing to do
	}
	code, out, _ := w.mainOf("report", "-o", "json", w.path("run.jsonl"))
	var again ran
	if err := json.Unmarshal(out, &again); code != cli.ExitDone || err != nil || again.Complete != r.Complete {
		return s.wrongf("report says complete %v, exit code %d: %s", again.Complete, code, out)
	}
	return ""
}

// class returns the class that a result gives an image which it lists as not signed.
func (r ran) class(p *place, d digest.Digest) string {
	for _, it := range r.NotSigned {
		if it.Repository == p.trust.GUN() && it.Digest == d.String() {
			return cmp.Or(it.Class, it.Result)
		}
	}
	return ""
}

// excused reports whether a run that ended with 0 may have left an image without a good signature.
func (w *world) excused(p *place, d digest.Digest, r ran, h how) bool {
	switch class := r.class(p, d); {
	case class == "missing":
		return !w.stored(p, d) || w.liedAbout(d.String())
	case h.planned && !r.Complete, h.some && !r.Complete && !w.namedBy(p, d, "v"), h.only != nil && !r.Complete && !h.only[p.trust.GUN()+"@"+d.String()]:
		return true // it was not requested
	case w.robbed[d] && !h.recheck && h.only == nil:
		return true // what the ledger has as done is not looked up
	}
	return w.liedAbout(p.trust.GUN()) && discovers(h.args)
}

// namedBy reports whether DCT has a tag of an image with that prefix.
func (w *world) namedBy(p *place, d digest.Digest, prefix string) bool {
	for tag, named := range w.dct(p).tags {
		if named == d && strings.HasPrefix(tag, prefix) {
			return true
		}
	}
	return false
}

// allMayBeSigned reports whether nothing prevents a run from signing everything.
func (w *world) allMayBeSigned() bool {
	return !w.faulty && !w.vague && !slices.ContainsFunc(w.repos, func(p *place) bool { return w.dct(p).state != dctGood })
}

// verdictRow is a row of verify.
type verdictRow struct {
	Tag, Class, Registry string
	Flags                []string
}

func (w *world) verify() string {
	policies := slices.Sorted(maps.Keys(worldPolicies))
	policy := policies[w.random("policy").IntN(len(policies))]
	args := append(w.chosenToCompare(), "--trust-policy", w.path(policy+".json"))
	platforms, some, sample, ledger := w.coin("verify-platforms", 20), w.coin("include-tags", 10), w.coin("sample", 10), false
	for flag, on := range map[string]bool{"--platforms=all": platforms, "--include-tags=v*": some, "--sample=2": sample} {
		if on {
			args = append(args, flag)
		}
	}
	if _, made := w.made[w.ledger]; made && w.coin("verify-ledger", 50) {
		ledger = true
		args = append(args, "--ledger", w.ledger)
	}
	s, wrong := w.call("verify", args...)
	if wrong != "" {
		return wrong
	}
	var v struct {
		Complete, Agree bool
		Repositories    []struct {
			GUN, Class string
			Tags       []verdictRow
		}
	}
	if err := json.Unmarshal(s.out, &v); err != nil && s.code == cli.ExitDone {
		return s.wrongf("its result is none: %v", err)
	}
	for _, r := range v.Repositories {
		p := w.place(strings.TrimPrefix(r.GUN, w.registry.Host()+"/"))
		for _, row := range r.Tags {
			if wrong := w.checkRow(s, p, row, policy, platforms, ledger); wrong != "" {
				return wrong
			}
		}
	}
	switch {
	case v.Agree && s.code != cli.ExitDone, v.Agree && !v.Complete:
		return s.wrongf("it says agree")
	case (some || sample) && v.Complete && s.code == cli.ExitDone:
		if sample && !some {
			return w.checkAgreed(s, args, policy, time.Now(), platforms, ledger)
		}
		return s.wrongf("it says complete, of some tags")
	case s.code == cli.ExitDone && !some && !sample:
		return w.checkAgreed(s, args, policy, time.Now(), platforms, ledger)
	case s.code != cli.ExitDone && !w.faulty && !w.vague && !some && !sample && w.checkAgreed(s, args, policy, time.Now(), platforms, true) == "" && w.anyTag() && !w.lostPlatform() && !(ledger && w.begunPlatforms) && !w.adopted(policy):
		return s.wrongf("nothing is wrong")
	}
	return ""
}

// anyTag reports whether there is anything to compare at all.
func (w *world) anyTag() bool {
	if slices.ContainsFunc(w.repos, func(p *place) bool { return w.dct(p).state != dctGood }) {
		return false // a ledger may show that there was more
	}
	return slices.ContainsFunc(w.repos, func(p *place) bool { return len(w.dct(p).tags) > 0 })
}

// lostPlatform reports whether a run signed the image of a platform, and the signature is gone.
// With the ledger, verify reports that too.
func (w *world) lostPlatform() bool {
	for made := range w.made[w.ledger] {
		image, _, _ := strings.Cut(made, " ")
		name, d, _ := strings.Cut(image, "@")
		if p := w.place(name); w.platform(p, digest.Digest(d)) && !w.signed(p, digest.Digest(d)) {
			return true
		}
	}
	return false
}

// adopted reports whether a run with another ledger signed what DCT has since withdrawn. A run with
// this ledger may have found the signature there.
func (w *world) adopted(policy string) bool {
	for ledger := range w.made {
		for made := range w.made[ledger] {
			image, _, _ := strings.Cut(made, " ")
			name, text, _ := strings.Cut(image, "@")
			if p, d := w.place(name), digest.Digest(text); !w.vouched(p, true)[d] && w.stored(p, d) && w.trusts(p, d, policy) {
				return true
			}
		}
	}
	return false
}

// checkRow compares a row that says yes with the facts.
func (w *world) checkRow(s said, p *place, row verdictRow, policy string, platforms, ledger bool) string {
	view, now := w.dct(p), w.tagged(p, row.Tag)
	dct := cmp.Or(view.tags[row.Tag], view.zero[row.Tag])
	if row.Tag == "" && row.Class == "agree" {
		if now = digest.Digest(row.Registry); !w.platform(p, now) || !w.passes(p, now, time.Now()) {
			return s.wrongf("says agree of %s@%s; DCT has an index with it: %v, and notation verify passes: %v", p.name, now, w.platform(p, now), w.passes(p, now, time.Now()))
		}
		return ""
	}
	switch row.Class {
	case "agree":
		child := platforms && w.platform(p, now)
		if dct == "" && !child || dct != "" && dct != now || !w.passes(p, now, time.Now()) {
			return s.wrongf("says agree of %s:%s; DCT has %q, the registry %q, and notation verify passes: %v", p.name, row.Tag, dct, now, w.passes(p, now, time.Now()))
		}
	case "unsigned":
		if w.hides(p, ledger) || w.liedAbout(now.String(), strings.Replace(now.String(), ":", "-", 1)) {
			return ""
		}
		if dct != "" && now != "" || now != "" && w.trusts(p, now, policy) {
			return s.wrongf("says unsigned of %s:%s; DCT has %q, and notation verify passes %q", p.name, row.Tag, dct, now)
		}
	}
	return ""
}

// checkAgreed looks for anything that one side trusts and the other does not. What verify was not
// asked to compare does not count; ready must compare everything.
func (w *world) checkAgreed(s said, args []string, policy string, at time.Time, platforms, ledger bool) string {
	for _, p := range w.repos {
		named := discovers(args) || slices.Contains(args, p.trust.GUN())
		if s.verb == "verify" && !named {
			continue
		}
		absent := w.dct(p).state == dctNone && (discovers(args) || !named) || w.liedAbout(p.trust.GUN()+"/_trust") && slices.Contains(args, "catalog")
		if wrong := w.checkTags(s, p, policy, at, platforms, ledger); wrong != "" && !absent {
			return wrong
		}
		if !ledger {
			continue
		}
		for made := range w.made[w.ledger] {
			image, _, _ := strings.Cut(made, " ")
			name, text, _ := strings.Cut(image, "@")
			if d := digest.Digest(text); name == p.name && !w.vouched(p, true)[d] && w.stored(p, d) && w.trusts(p, d, policy) && !w.liedAbout(d.String()) {
				return s.wrongf("%s was withdrawn by DCT, and Notation trusts it", image)
			}
		}
	}
	return ""
}

// checkTags looks for a tag of a repository that one side trusts and the other does not.
func (w *world) checkTags(s said, p *place, policy string, at time.Time, platforms, ledger bool) string {
	view := w.dct(p)
	if view.state != dctGood {
		return s.wrongf("the trust data of %s is %s", p.name, view.state)
	}
	runs := maps.Clone(view.tags)
	maps.Copy(runs, view.zero)
	for tag, d := range runs {
		if now := w.tagged(p, tag); now != d || !w.passes(p, d, at) {
			return s.wrongf("%s:%s is %s for DCT and %q in the registry; notation verify passes: %v", p.name, tag, d, now, w.passes(p, d, at))
		}
	}
	for _, tag := range w.tagNames(p) {
		now := w.tagged(p, tag)
		if runs[tag] == "" && w.trusts(p, now, policy) && !(platforms && w.platform(p, now)) && !w.hiddenTag(p, tag) && !w.hides(p, ledger) {
			return s.wrongf("%s:%s is trusted by Notation, and DCT does not name it", p.name, tag)
		}
	}
	return ""
}

// hiddenTag reports whether a server hid a tag, with its own error code, before anything listed it.
func (w *world) hiddenTag(p *place, tag string) bool { return w.liedAbout(p.name + "/tags/list") }

func (w *world) plan() string {
	args := append(w.chosen(), "--state", w.ledger, "--key", w.key)
	platforms := w.coin("plan-platforms", 20)
	if platforms {
		args = append(args, "--platforms=all")
	}
	s, wrong := w.call("plan", args...)
	if wrong != "" {
		return wrong
	}
	var plan struct {
		Repositories []struct {
			GUN   string
			Items []struct{ Digest, Action string }
		}
	}
	if err := json.Unmarshal(s.out, &plan); err != nil {
		if s.code == cli.ExitDone {
			return s.wrongf("its result is none: %v", err)
		}
		return ""
	}
	w.write("plan.json", s.out)
	in := map[string]bool{}
	for _, r := range plan.Repositories {
		p := w.place(strings.TrimPrefix(r.GUN, w.registry.Host()+"/"))
		for _, it := range r.Items {
			if in[p.name+"@"+it.Digest] = true; !w.vouched(p, platforms)[digest.Digest(it.Digest)] {
				return s.wrongf("it plans %s@%s, which DCT does not vouch for", p.name, it.Digest)
			}
		}
	}
	for _, p := range w.repos {
		for d := range w.vouched(p, platforms) {
			if s.code == cli.ExitDone && !in[p.name+"@"+d.String()] && !w.liedAbout(p.name) {
				return s.wrongf("it leaves out %s@%s", p.name, d)
			}
		}
	}
	return ""
}

func (w *world) snapshot() string {
	args := append(w.chosen(), "-O", w.path("archive"))
	s, wrong := w.call("snapshot", args...)
	if wrong != "" || s.code != cli.ExitDone {
		if wrong == "" && !w.faulty && !w.vague && w.allMayBeSigned() {
			wrong = s.wrongf("nothing was in its way")
		}
		return wrong
	}
	wrong = w.checkArchive(s, args)
	if code, out, said := w.mainOf("snapshot", "verify", "-o", "json", "--docker-trust", "none", "--trust-pinning", w.path("pins.json"), w.path("archive")); wrong == "" && code != cli.ExitDone && w.allMayBeSigned() {
		wrong = s.wrongf("snapshot verify ends with %d: %s%s", code, said, out)
	}
	return wrong
}

// checkArchive looks for trust data that the server has and the snapshot lacks.
func (w *world) checkArchive(s said, args []string) string {
	for _, p := range w.repos {
		if w.liedAbout(p.trust.GUN() + "/_trust") {
			continue
		}
		if w.dct(p).state == dctUnread {
			return s.wrongf("the trust data of %s has expired", p.name)
		}
		if w.dct(p).state == dctNone && s.verb == "snapshot" && !discovers(args) {
			return s.wrongf("%s has no trust data", p.name)
		}
		for _, role := range w.notary.Roles(p.trust.GUN()) {
			if s.verb == "ready" && (role == "timestamp" || role == "snapshot") {
				continue // the server recreates these by itself
			}
			raw := w.notary.Raw(p.trust.GUN(), role)
			saved, err := os.ReadFile(filepath.Join(w.path("archive"), "blobs", "sha256", digest.FromBytes(raw).Encoded()))
			if err != nil || string(saved) != string(raw) {
				return s.wrongf("%s of %s is not saved: %v", role, p.name, err)
			}
		}
	}
	return ""
}

func (w *world) ready() string {
	args := append(w.chosenToCompare(), "--trust-policy", w.path("strict.json"), "--product", "self-hosted", "--decisions", w.decisions())
	at := time.Now().AddDate(0, 1, 0)
	args = append(args, "--date", at.Format(time.DateOnly), "--snapshot", w.path("archive"))
	if _, err := os.Stat(w.path("archive")); err != nil {
		return "" // no snapshot was taken
	}
	ledger := false
	if _, made := w.made[w.ledger]; made && w.coin("ready-ledger", 60) {
		ledger = true
		args = append(args, "--ledger", w.ledger)
	} else if _, help, _ := w.mainOf("ready", "--help"); strings.Contains(string(help), "--no-ledger") {
		args = append(args, "--no-ledger")
	}
	s, wrong := w.call("ready", args...)
	if wrong != "" {
		return wrong
	}
	var r struct{ Ready bool }
	if err := json.Unmarshal(s.out, &r); r.Ready != (s.code == cli.ExitDone) || err != nil && s.code == cli.ExitDone {
		return s.wrongf("it says ready: %v %v", r.Ready, err)
	}
	all := w.checkAgreed(s, args, "strict", at, false, ledger)
	if all == "" {
		all = w.checkArchive(s, args)
	}
	if s.code == cli.ExitDone {
		return all
	}
	if all == "" && w.allAreNamed(args) && w.allMayBeSigned() && w.anyTag() && !w.lostPlatform() && !(ledger && w.begunPlatforms) && !w.adopted("strict") {
		return s.wrongf("nothing is in the way")
	}
	return ""
}

// decisions returns ticks for everything that people must check.
func (w *world) decisions() string {
	var b strings.Builder
	b.WriteString("version: 1\nticks:\n")
	for _, check := range []string{"enforced", "digests", "readers", "clients", "admission", "writers", "kept", "withdrawal", "self-hosted-dumps", "self-hosted-readonly"} {
		fmt.Fprintf(&b, "- {check: %s, by: Jane, date: %s, note: looked}\n", check, time.Now().Format(time.DateOnly))
	}
	w.write("decisions.yaml", []byte(b.String()))
	return w.path("decisions.yaml")
}

// takeBack runs undo.
func (w *world) takeBack() string {
	if w.made[w.ledger] == nil {
		return ""
	}
	s, wrong := said{verb: "undo", before: w.stock()}, ""
	listed := w.lists()
	s.code, s.out, s.err = w.mainOf("undo", "--yes", "-o", "json", "--certificate", w.keys.base.path(releaseName+".crt"), "--certificate", w.keys.base.path("next.crt"), "--plain-http", "--registry-config", w.path("config.json"), "--state", w.ledger)
	s.after = w.stock()
	w.keys.count("undo", s.code)
	w.tell("undo: exit code %d", s.code)
	for image, list := range s.before {
		_, d, _ := strings.Cut(image, "@")
		for of := range list {
			_, still := s.after[image][of]
			ofLedger := w.made[w.ledger][image+" "+of.String()]
			switch {
			case !still && !ofLedger && w.made[w.copyOf[w.ledger]][image+" "+of.String()]: // it was signed before the ledger was copied, and pushed afterwards
			case !still && !ofLedger:
				wrong = s.wrongf("it deleted %s of %s, which the ledger's runs have not made", of, image)
			case still && ofLedger && s.code == cli.ExitDone:
				wrong = s.wrongf("it left %s of %s", of, image)
			case still && !ofLedger && listed[image][of] && !w.lists()[image][of]:
				wrong = s.wrongf("%s of %s is not listed any more", of, image)
			case !still && w.lists()[image][of] && s.code == cli.ExitDone:
				wrong = s.wrongf("%s of %s is still listed", of, image)
			case !still: // another ledger has it as done
				w.robbed[digest.Digest(d)] = w.robbed[digest.Digest(d)] || len(w.made) > 1
			}
		}
	}
	if len(s.new()) > 0 {
		return s.wrongf("it signed something")
	}
	return wrong
}

// lists returns the listed digests of each image that has signatures.
func (w *world) lists() map[string]map[digest.Digest]bool {
	all := map[string]map[digest.Digest]bool{}
	for image := range w.stock() {
		name, d, _ := strings.Cut(image, "@")
		all[image] = map[digest.Digest]bool{}
		for _, one := range w.listed(w.place(name), digest.Digest(d)) {
			all[image][one.digest] = true
		}
	}
	return all
}
