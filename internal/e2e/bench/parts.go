//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-awskms/localkms"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// part is one measurement, with its own servers.
type part struct {
	name    string
	title   string
	servers kind
	measure func(context.Context, *world)
	rare    bool // runs only if named
}

// latency is what the servers add to each request, like a registry in another building.
const latency = 20 * time.Millisecond

// Cost of the plugin's key, in milliseconds.
const (
	describeDelay = 40
	signDelay     = 60
)

var keyDelay = map[string]int{string(plugin.CommandDescribeKey): describeDelay, string(plugin.CommandGenerateSignature): signDelay}

// Parts with one name differ in their servers.
var parts = []part{
	{name: "throughput", title: "run beside notation sign, through a plugin whose key takes 60 ms", servers: kind{latency: latency}, measure: throughput},
	{name: "memory", title: "run, and run again with nothing to do", measure: memory},
	{name: "trust", title: "requests to the Notary server for each repository, never read before and unchanged", measure: trustRequests},
	{name: "trust", title: "many small repositories", measure: trustMemory},
	{name: "trust", title: "snapshot beside notary list", servers: kind{latency: latency, open: true}, measure: trustLoop},
	{name: "verify", title: "verify beside notation verify", servers: kind{latency: latency}, measure: verify},
	{name: "local", title: "run beside notation sign where neither network nor key cost time", measure: local},
	{name: "limits", title: "keys whose service refuses more than so many operations in any second", servers: kind{latency: latency}, measure: limits},
	{name: "softhsm", title: "run beside notation sign with keys of SoftHSM, whose plugin's processes take turns", servers: kind{latency: latency}, measure: softHSM},
	{name: "localkms", title: "run beside notation sign with a key of local-kms, which is in this process", servers: kind{latency: latency}, measure: localKMS},
	{name: "requests", title: "requests for a signature once a repository is warm", measure: requests(4)},
	{name: "requests", title: "the same, uploads in two requests", servers: kind{twoSteps: true}, measure: requests(5)},
	{name: "requests", title: "the same, signatures under tags", servers: kind{tags: true}, measure: requests(12)},
	{name: "requests", title: "the same, both", servers: kind{tags: true, twoSteps: true}, measure: requests(13)},
	{name: "ledger", title: "moves of items in the ledger, where nothing else costs time", measure: ledger},
	{name: "many", title: "run over ten times the items, and again with nothing to do", measure: many, rare: true},
	{name: "many-verify", title: "verify of ten times the tags", measure: manyVerify, rare: true},
}

const (
	few      = 4  // repositories over which images are spread
	usual    = 16 // default number of workers
	perImage = 10 // tags of an image in the part many-verify: signing takes longest
)

func throughput(ctx context.Context, w *world) {
	h := w.newHome("home", keyDelay)
	w.fail(h.write("request.json", plugin.GenerateSignatureRequest{
		ContractVersion: plugin.ContractVersion, KeyID: keyID, KeySpec: plugin.KeySpecEC256, Hash: plugin.HashAlgorithmSHA256, Payload: []byte("a payload"),
	}))
	if w.err != nil {
		return
	}
	// No caller of plugins can be faster than one process after the other.
	script := `for i in 1 2 3 4 5 6 7 8 9 10; do "$0" generate-signature <request.json || exit 1; done`
	alone := w.measure(ctx, task{name: "the plugin alone", n: 10, commands: []*exec.Cmd{h.command("sh", "-c", script, h.plugin.Path)}, home: h})
	for _, n := range w.workers {
		r := pair(ctx, h, "", pluginKey, n, min(max(25*n, 60), 300), min(max(250*n, 400), 4000))
		allowed := float64(n) * 1000 / signDelay
		share, process := 100*r.ours.rate()/allowed, 100*alone.rate()*signDelay/1000
		if n == 4 {
			w.rate(r.ours, share, 90, "%% of the key with 4 workers (the plugin's process allows %.0f %%)", process)
		} else {
			w.note("%d workers: %.0f %% of the key's %.0f/s; the plugin's process allows %.0f %%, the CPU %.0f/s", n, share, allowed, process, cpuUsable*r.ours.cpuAllows())
		}
		if n == 16 {
			w.atLeast(r.ratio, 5.4, "times the loop with 16 workers")
		}
	}
}

// beside has both sides of a row.
type beside struct {
	loop, ours measured
	ratio      float64
}

// pair has the loop and dct2notation each sign that many images with one key.
func pair(ctx context.Context, h *home, name string, key []string, workers, loop, ours int) (b beside) {
	name = fmt.Sprintf("%s%d", name, workers)
	b.loop = h.measure(ctx, h.signLoop(h.publish(estate{name: "loop-" + name, repositories: few, images: loop}), workers, key))
	b.ours = h.measure(ctx, h.run(h.publish(estate{name: "ours-" + name, repositories: few, images: ours}), "signed", workers, key))
	b.ratio = b.ours.rate() / b.loop.rate()
	h.note("%.1f times the loop", b.ratio)
	return b
}

// pairs are the rows for a key in a service.
func pairs(ctx context.Context, h *home, name string, key []string) {
	h.note("key %s", name)
	for _, n := range []int{1, 4, usual} {
		pair(ctx, h, name+"-", key, n, min(25*n, 100), min(100*n, 400))
	}
}

func local(ctx context.Context, w *world) {
	h := w.newHome("home", nil)
	for _, key := range [][]string{fileKey, pluginKey} {
		w.note("key: %s %s, no delay", key[0], key[1])
		r := pair(ctx, h, key[1]+"-", key, usual, 300, 4000)
		w.atLeast(r.ratio, 1.6, "times the loop without latency")
		w.atMost(r.ours.cpu(), 2.5, "ms of CPU of our own process for a signature")
	}
}

func localKMS(ctx context.Context, w *world) {
	kms := localkms.Start(filepath.Join(w.dir, "keys"))
	defer kms.Close()
	h := w.newHome("home", nil)
	h.extra = kms.Env()
	arn, public, err := kms.CreateKey(pki.EC256)
	if w.fail(err) {
		return
	}
	h.install(ctx, "notation-awskms", public)
	pairs(ctx, h, "ec-256", []string{"--plugin", "awskms", "--id", arn, "--plugin-config", "ca_certs=" + h.path("chain.pem")})
}

// Azure allows 50 operations per second with an RSA key of 3072 bits in an HSM, and 25 with one of
// 4096. Few plugins say THROTTLED: the last two use the words of Azure's and Vault's.
var keyLimits = []struct {
	perSecond float64
	refusal   kmstest.Kind
	seconds   float64 // how long signing takes at that rate
	loop      int     // images for the loop; 0: the loop is not run
	shards    int     // our processes, which share the key
}{
	{50, kmstest.Throttled, 30, 200, 1},
	{25, kmstest.Throttled, 30, 200, 1},
	{50, kmstest.Throttled, 30, 0, 2},
	{50, kmstest.ThrottledAzure, 15, 0, 1},
	{50, kmstest.ThrottledText, 15, 0, 1},
}

func limits(ctx context.Context, w *world) {
	h := w.newHome("home", keyDelay)
	for i, k := range keyLimits {
		// Each side begins with a full quota.
		full := func() {
			if w.err == nil {
				w.err = h.plugin.Set(kmstest.Behaviour{Keys: h.keys, Delay: keyDelay, MaxPerSecond: k.perSecond, Refusal: k.refusal})
			}
		}
		w.note("%.0f/s, refused with %s", k.perSecond, k.refusal)
		if k.loop > 0 {
			full()
			t := h.signLoop(w.publish(estate{name: fmt.Sprint("loop-", i), repositories: few, images: k.loop}), usual, pluginKey)
			t.partial = 123 // exit code of xargs
			m := w.measure(ctx, t)
			w.note("the loop left %d of %d unsigned", k.loop-m.count, k.loop)
		}
		full()
		// Enough repositories for every shard to have some.
		e := w.publish(estate{name: fmt.Sprint("ours-", i), repositories: 8 * few, images: int(k.perSecond * k.seconds)})
		t := shards(h, e, k.shards)
		t.partial = 3
		m := w.measure(ctx, t)
		steady := steadyRate(m.pushes)
		w.rate(m, 100*steady/k.perSecond, 95, "%% of %.0f/s between the first and the last signature (the key, of %d processes)", k.perSecond, k.shards)
		w.atMost(float64(m.failed), 0, "failed; the key refused %d calls", max(0, m.operations-m.count-k.shards))
	}
}

// shards is run in several processes at once, each with its own repositories and ledger.
func shards(h *home, e estate, n int) (t task) {
	var all []*exec.Cmd
	for i := range n {
		var args []string
		one := e
		if n > 1 {
			one.name, args = fmt.Sprintf("%s-%d", e.name, i), []string{"--shard", fmt.Sprintf("%d/%d", i, n)}
		}
		t = h.run(one, "signed", usual, pluginKey, args...)
		all = append(all, t.commands...)
	}
	t.name, t.commands = fmt.Sprintf("%d x %s", n, t.name), all
	return t
}

// steadyRate returns signatures per second, from one second after the first to the last: what a
// limit lets through at once does not count. 0: there are too few.
func steadyRate(pushes []time.Time) float64 {
	if len(pushes) == 0 {
		return 0
	}
	begin, n := pushes[0].Add(time.Second), 0
	for _, at := range pushes {
		if at.After(begin) {
			n++
		}
	}
	if last := pushes[len(pushes)-1]; n > 1 {
		return float64(n) / last.Sub(begin).Seconds()
	}
	return 0
}

// requests compares two runs that differ only in the number of images. The difference is the cost
// of the further images, whatever the first of a repository cost.
func requests(aim float64) func(context.Context, *world) {
	return func(ctx context.Context, w *world) {
		h := w.newHome("home", nil)
		less := w.measure(ctx, h.run(w.publish(estate{name: "less", repositories: 1, images: 200}), "signed", usual, fileKey))
		more := w.measure(ctx, h.run(w.publish(estate{name: "more", repositories: 1, images: 500}), "signed", usual, fileKey))
		each := map[string]float64{}
		for kind, n := range difference(less.kinds, more.kinds) {
			each[kind] = float64(n) / 300
		}
		w.atMost(w.printKinds(each), aim, "requests for a signature, confirmation included")
	}
}

func trustRequests(ctx context.Context, w *world) {
	for _, signers := range []int{0, 2} {
		delegations := 0
		if signers > 0 {
			delegations = signers + 1 // a role for each, and targets/releases
		}
		const n = 64
		e := w.publish(estate{name: fmt.Sprint("signers-", signers), repositories: n, images: n, signers: signers})
		running, reading := w.newHome(e.name+"-run", nil), w.newHome(e.name+"-snapshot", nil)
		for _, tasks := range [][2]func() task{
			{func() task { return running.run(e, "signed", 1, fileKey) }, func() task { return running.run(e, "already", 1, fileKey) }},
			{func() task { return reading.read(e, e.guns, "added") }, func() task { return reading.read(e, e.guns, "unchanged") }},
		} {
			for i, t := range tasks {
				m := w.measure(ctx, t())
				aim := []float64{4.1 + float64(delegations), 1.1}[i]
				w.atMost(m.each(float64(m.notary)), aim, "round trips for a repository with %d delegations, tokens included", delegations)
			}
		}
	}
}

// smallTags is the number of tags of a small repository, which has no delegations.
const smallTags = 5

func trustMemory(ctx context.Context, w *world) {
	e := w.publish(estate{name: "small", repositories: w.repositories, images: w.repositories * smallTags, trustOnly: true})
	var read [2]measured
	for i, n := range []int{w.repositories / 3, w.repositories} {
		h := w.newHome(fmt.Sprint(n), nil)
		read[i] = w.measure(ctx, h.read(e, e.guns[:min(n, len(e.guns))], "added"))
		w.measure(ctx, h.read(e, e.guns[:min(n, len(e.guns))], "unchanged"))
	}
	more := read[1].count - read[0].count
	if each := float64(read[1].anon-read[0].anon) / 1024 / float64(more); more >= 1000 {
		w.atMost(each, 2, "kB of memory for each of %d more repositories", more)
	} else {
		w.note("%.1f kB of memory for each of %d more repositories, which are too few to judge", each, more)
	}
}

// trustLoop reads with latency, with one request at a time and with several. If anybody gets a
// token, notary is spared a refusal.
func trustLoop(ctx context.Context, w *world) {
	e := w.publish(estate{name: "beside", repositories: 200, images: 200 * smallTags, trustOnly: true})
	if w.err != nil {
		return
	}
	var theirs [2]measured
	h := w.newHome("notary", nil)
	for i, state := range []string{"fresh", "kept"} {
		t := h.loop(1, e.guns[:50], "notary", "-s", w.notary.URL(), "-d", "trust", "--tlscacert", "ca.pem", "list")
		t.name, t.n, t.lines = "xargs -P 1 notary list, trust folder "+state, t.n*smallTags, tagLine
		theirs[i] = w.measure(ctx, t)
	}
	for _, inFlight := range []string{"1", "4"} {
		h := w.newHome("ours-"+inFlight, nil)
		for i, says := range []string{"added", "unchanged"} {
			ours := w.measure(ctx, h.read(e, e.guns, says, "--notary-concurrency", inFlight))
			ratio := ours.rate() * smallTags / theirs[i].rate()
			w.note("%.1f times notary list, %s at a time; one at a time, round trips allow %.1f repositories/s",
				ratio, inFlight, 1/latency.Seconds()/[]float64{4 + 1.0/16, 1 + 1.0/16}[i])
		}
	}
}

// tagLine matches a tag in the output of notary list: name, digest, size, role. Without tags,
// notary list also succeeds.
const tagLine = `^\S+ +[0-9a-f]{64} +[0-9]+ +\S+ *$`

// signedEstate publishes images and signs them.
func signedEstate(ctx context.Context, w *world, e estate) (*home, estate) {
	h := w.newHome(e.name, nil)
	e = w.publish(e)
	w.measure(ctx, h.run(e, "signed", 32, fileKey))
	return h, e
}

func verify(ctx context.Context, w *world) {
	const trips, many = 3, 4000
	h, e := signedEstate(ctx, w, estate{name: "large", repositories: few, images: many})
	if w.err != nil {
		return
	}
	loop := w.measure(ctx, h.loop(32, e.references[:300], "notation", "verify"))
	for _, r := range []struct {
		tags int
		aim  float64
		args []string
	}{{32, 450, nil}, {128, 900, []string{"--registry-concurrency", "256"}}} {
		m := w.measure(ctx, h.verify(e, e.guns, many, r.tags, r.args...))
		w.rate(m, m.rate(), r.aim, "tags/s with %d tags in flight (round trips allow %.0f)", r.tags, float64(r.tags)/latency.Seconds()/trips)
		if r.tags == 32 {
			w.atLeast(m.rate()/loop.rate(), 6.5, "times the loop")
		} else {
			w.note("%.1f times the loop", m.rate()/loop.rate())
		}
	}
	h, e = signedEstate(ctx, w, estate{name: "small", repositories: 100, images: 100 * smallTags})
	for _, readers := range []int{1, 4} {
		m := w.measure(ctx, h.verify(e, e.guns, 100*smallTags, 32, "--notary-concurrency", fmt.Sprint(readers)))
		// One request for each repository and one token for sixteen, with that many at a time.
		allowed := float64(readers) * smallTags / latency.Seconds() / (1 + 1.0/16)
		w.rate(m, m.rate(), 200, "tags/s of 100 repositories, %d read at a time (round trips allow %.0f)", readers, allowed)
	}
}

func memory(ctx context.Context, w *world) {
	h := w.newHome("home", nil)
	e := w.publish(estate{name: "memory", repositories: 10 * few, images: w.items})
	for _, says := range []string{"signed", "already"} {
		m := w.measure(ctx, h.run(e, says, usual, fileKey))
		w.atMost(mega(m.peak), 150, "MB at its largest, %s", says)
	}
	if ledger, err := os.Stat(h.path(e.name + ".db")); !w.fail(err) {
		w.note("the ledger: %.1f kB on disk for each", float64(ledger.Size())/1024/float64(w.items))
	}
}

func many(ctx context.Context, w *world) {
	h := w.newHome("home", nil)
	var runs [2]measured
	for i, repositories := range []int{1, 10} {
		e := w.publish(estate{name: fmt.Sprint("many-", repositories), repositories: repositories, images: w.many / 10 * repositories})
		runs[i] = w.measure(ctx, h.run(e, "signed", usual, fileKey))
		if i == 1 {
			again := w.measure(ctx, h.run(e, "already", usual, fileKey))
			w.atMost(again.wall.Seconds(), 3, "s for a run over %d items with nothing to do", again.count)
		}
	}
	w.atMost(growth(runs[0], runs[1]), 1.3, "times the memory, without mapped files, for ten times the items")
}

// manyVerify verifies one repository, then three and ten of that size. From one to three, memory
// grows, since the next is read while one is compared and the previous one waits to be freed.
func manyVerify(ctx context.Context, w *world) {
	of := w.many / 10 / perImage * perImage // tags per repository
	h, e := signedEstate(ctx, w, estate{name: "many", repositories: 10, images: of, tags: perImage})
	if w.err != nil {
		return
	}
	var all []measured
	for _, n := range []int{1, 3, 10} {
		all = append(all, w.measure(ctx, h.verify(e, e.guns[:n], n*of, 32)))
	}
	w.note("%.2f times the memory for three times the tags", growth(all[0], all[1]))
	w.atMost(growth(all[0], all[2]), 1.3, "times the memory, without mapped files, for ten times the tags")
}

func growth(one, ten measured) float64 { return float64(ten.anon) / float64(one.anon) }

// ledger has the program of the power-loss tests take items from planned to confirmed, some of them
// with detours. It prints a line for each move once the ledger has acknowledged it.
func ledger(ctx context.Context, w *world) {
	h := w.newHome("home", nil)
	disk := w.measure(ctx, task{name: "the disk alone, one flush after the other", n: 50, home: h, commands: []*exec.Cmd{
		h.command("dd", "if=/dev/zero", "of=flushed", "bs=4k", "count=50", "oflag=dsync"),
	}})
	const items, moves = 4000, 4000 / 4 * (4 + 6 + 6 + 6)
	m := w.measure(ctx, task{name: "ledgerload", n: moves, home: h, lines: `^\d+ \d+$`, commands: []*exec.Cmd{
		h.command("ledgerload", "write", "-items", fmt.Sprint(items), "-workers", fmt.Sprint(usual), "moves.db"),
	}})
	w.rate(m, m.rate(), 3000, "moves/s with %d callers (the disk flushes %.0f times/s)", usual, disk.rate())
}
