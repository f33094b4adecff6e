//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"
)

// requestLatency is what the servers add to each request, as a registry in another
// building does.
const requestLatency = 20 * time.Millisecond

// repositories is over how many each publication is spread.
const repositories = 4

// contestant is how one of the two did at one worker count.
type contestant struct {
	measured // signatures, as seen in the registry
	key      keyUse
	pushes   []time.Time // when signatures reached the registry, in order
}

// row is a worker count.
type row struct {
	workers    int
	loop, ours contestant
}

func (r row) ratio() float64 { return r.ours.rate() / r.loop.rate() }

// whole is how much of what the key allows dct2notation used, its start and end included.
func (r row) whole() float64 { return r.ours.rate() / allows(r.workers) }

// steady is the same between its first and its last signature: what a long migration sees.
func (r row) steady() float64 { return r.ours.key.rate / allows(r.workers) }

// slot is how long one of the key operations in flight took up its place, in milliseconds.
func (r row) slot() float64 { return float64(r.workers) / r.ours.key.rate * 1000 }

// stage is where throughput is measured: the servers and a user.
type stage struct {
	*remote
	*home
	key  []string // what names it to both
	over int      // repositories that images are spread over; 0: a few
}

// throughput measures both contestants for each worker count and prints what came out.
func throughput(ctx context.Context, bin, dir string, workers []int, out io.Writer) (err error) {
	servers, err := startRemote(requestLatency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "throughput"), bin, servers.address,
		map[string]int{describeKey: describeDelay, generateSignature: signDelay})
	if err != nil {
		return err
	}
	s := stage{remote: servers, home: h, key: pluginKey}
	operation, err := h.operationTime(ctx)
	if err != nil {
		return err
	}
	printSetting(out, operation)
	one, err := s.measureLoop(ctx, "probe", 1, 4)
	if err != nil {
		return err
	}
	var rows []row
	for _, n := range workers {
		r, err := s.measureRow(ctx, n, one.wall/time.Duration(one.count))
		if err != nil {
			return fmt.Errorf("with %d workers: %w", n, err)
		}
		printRow(out, r)
		rows = append(rows, r)
	}
	printCosts(out, rows)
	printAims(out, rows)
	printDisturbed(out, rows)
	return nil
}

// measureRow lets both sign at one worker count. one is how long one call of notation
// sign takes.
func (s stage) measureRow(ctx context.Context, workers int, one time.Duration) (row, error) {
	r := row{workers: workers}
	var err error
	if r.loop, err = s.measureLoop(ctx, fmt.Sprintf("loop-%d", workers), workers, loopImages(workers, one)); err != nil {
		return r, err
	}
	r.ours, err = s.measureOurs(ctx, fmt.Sprintf("ours-%d", workers), workers, ourImages(workers))
	return r, err
}

// loopImages is how many images keep the loop busy for some ten seconds.
func loopImages(workers int, one time.Duration) int {
	return min(max(int(10*time.Second/one)*workers, 60), 300)
}

// ourImages is more of it for dct2notation, by what the key allows: enough that its start
// weighs as little as it does in a real migration.
func ourImages(workers int) int {
	return min(max(int(15*allows(workers)), 400), 5000)
}

// mostTime bounds one measurement of dct2notation on a machine that is slower than thought.
const mostTime = 40 * time.Second

func (s stage) measureLoop(ctx context.Context, name string, workers, images int) (contestant, error) {
	c, err := s.measure(name, images, func(p Published) (usage, error) {
		// One image of each repository after the other: the loop has no order of its own,
		// and neighbours would share what the registry keeps of a repository.
		return s.loop(ctx, workers, s.key, spread(p.References))
	})
	if err == nil && c.count != images {
		err = fmt.Errorf("the loop left %d of %d images unsigned", images-c.count, images)
	}
	return c, err
}

// spread deals the references out by repository.
func spread(references []string) []string {
	per := (len(references) + repositories - 1) / repositories
	var out []string
	for i := range per {
		for j := i; j < len(references); j += per {
			out = append(out, references[j])
		}
	}
	return out
}

func (s stage) measureOurs(ctx context.Context, name string, workers, images int) (contestant, error) {
	var said result
	c, err := s.measure(name, images, func(p Published) (u usage, err error) {
		said, u, err = s.migrate(ctx, migration{
			name: name, workers: workers, atMost: mostTime, key: s.key, published: p, notary: s.address.Notary,
		})
		return u, err
	})
	if err == nil && c.count != said.Results["signed"] {
		err = fmt.Errorf("dct2notation says that it signed %d images, and the registry has %d signatures", said.Results["signed"], c.count)
	}
	return c, err
}

// measure publishes images, lets sign sign them, and looks what became of it.
func (s stage) measure(name string, images int, sign func(Published) (usage, error)) (contestant, error) {
	var c contestant
	p, err := s.publish(name, cmp.Or(s.over, repositories), images)
	if err != nil {
		return c, err
	}
	calls, err := s.plugin.Calls("")
	if err != nil {
		return c, err
	}
	pushed, err := s.remote.pushed()
	if err != nil {
		return c, err
	}
	if c.measured, err = s.counted(0, func() (usage, error) { return sign(p) }); err != nil {
		return c, err
	}
	after, err := s.plugin.Calls("")
	if err != nil {
		return c, err
	}
	c.key = useOf(after, len(calls))
	pushes, err := s.pushes(pushed)
	if err != nil {
		return c, err
	}
	for _, p := range pushes {
		c.pushes = append(c.pushes, time.Unix(0, p.UnixNano))
	}
	if c.count, err = s.signed(name); err == nil && c.count == 0 {
		err = errors.New("nothing was signed")
	}
	return c, err
}

// What was aimed at.
const (
	aimWorkers = 16   // where the ratio counts
	aimRatio   = 4.0  // times the loop
	aimShare   = 0.85 // of what the key allows, unless the CPU is the limit
	aimMemory  = 150  // MB

	// cpuUsable is the usable fraction of the cores: some time is always lost between a core
	// becoming idle and the next process running on it.
	cpuUsable = 0.90

	// disturbing is from which use of the cores by others on a row is worth little.
	disturbing = 0.10
)

func printSetting(out io.Writer, operation time.Duration) {
	ms := operation.Seconds() * 1000
	fmt.Fprintf(out, `Throughput: dct2notation run, beside xargs -P N notation sign; whole commands, start and end included
  registry and Notary server on 127.0.0.1 with TLS, bearer tokens, referrers API, %d ms for each request
  plugin kmstest (EC P-256) with %d ms for describe-key and %d ms for generate-signature; %d repositories
  one generate-signature alone takes %.1f ms with its process, so that a caller gets at most %.0f %% of the key
  %d cores: the servers are a process of their own, and compete with what is measured

                      signatures/s          key operations                    CPU of all cores, while ours runs
workers   images    loop   ours  ratio    allowed  whole steady   slot    itself plugins servers others   waiting   allows
`, requestLatency.Milliseconds(), describeDelay, signDelay, repositories, ms, 100*signDelay/ms, runtime.NumCPU())
}

// printRow prints a worker count. Rows come minutes apart, so each is printed when it is
// there.
func printRow(out io.Writer, r row) {
	fmt.Fprintf(out, "%7d %4d/%-4d %6.1f %6.1f %5.1fx  %7.1f/s %4.0f %% %4.0f %% %4.0fms    %4.0f %%  %4.0f %%  %4.0f %% %4.0f %%    %s   %5.0f/s\n",
		r.workers, r.loop.count, r.ours.count, r.loop.rate(), r.ours.rate(), r.ratio(),
		allows(r.workers), 100*r.whole(), 100*r.steady(), r.slot(),
		100*r.ours.ownShare(), 100*r.ours.childShare(), 100*r.ours.share(r.ours.servers), 100*r.ours.others(), waiting(r.ours.waiting), r.ours.cpuAllows())
}

func waiting(share float64) string {
	if share < 0 {
		return "   - %"
	}
	return fmt.Sprintf("%4.0f %%", 100*share)
}

const legend = `
images: signed by the loop and by ours. allowed: operations in flight / %d ms. whole, steady: our share of that
in the whole command, and between its first and last signature. slot: how long each operation in flight kept its
place, or the place was empty. others: what else runs on this machine. waiting: the share of the time in which
some process that could run had no core. allows: signatures/s with all the CPU that others leave, servers included.
`

// printCosts prints what one signature costs others.
func printCosts(out io.Writer, rows []row) {
	fmt.Fprintf(out, legend, signDelay)
	fmt.Fprintf(out, "\nfor each signature      loop                                           ours\n")
	fmt.Fprintf(out, "workers |  registry requests, plugin processes, ms of CPU | registry requests, plugin processes, ms of CPU, Notary requests in all\n")
	for _, r := range rows {
		fmt.Fprintf(out, "%7d | %12.1f %16.2f %16.1f    | %12.1f %16.2f %16.1f %16d\n", r.workers,
			r.loop.each(r.loop.requests.Registry), r.loop.each(int64(r.loop.key.processes)), millis(r.loop.cpu()),
			r.ours.each(r.ours.requests.Registry), r.ours.each(int64(r.ours.key.processes)), millis(r.ours.cpu()), r.ours.requests.Notary)
	}
}

// printAims says of each row whether it is what was aimed at.
func printAims(out io.Writer, rows []row) {
	fmt.Fprintln(out)
	for _, r := range rows {
		if r.workers == aimWorkers {
			fmt.Fprintf(out, "aim: at least %.0f times the loop at %d workers: %.1f, %s\n", aimRatio, aimWorkers, r.ratio(), verdict(r.ratio() >= aimRatio))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(out, "aim: at least %.0f %% of what the key allows, workers %d: %.0f %%, %s\n", 100*aimShare, r.workers, 100*r.whole(), shareVerdict(r))
	}
}

// printDisturbed names the rows that other programs have spoilt: the two contestants run
// one after the other, and need not have been disturbed alike.
func printDisturbed(out io.Writer, rows []row) {
	for _, r := range rows {
		if loop, ours := r.loop.others(), r.ours.others(); max(loop, ours) >= disturbing {
			fmt.Fprintf(out, "disturbed, workers %d: other programs used %.0f %% of the CPU during the loop and %.0f %% during ours; measure again when they are quiet\n",
				r.workers, 100*loop, 100*ours)
		}
	}
}

// shareVerdict judges the share of the key. The CPU excuses a miss if it could not give as
// many signatures as the aim wants, and then it says so.
func shareVerdict(r row) string {
	wanted := aimShare * allows(r.workers)
	if limit := cpuUsable * r.ours.cpuAllows(); r.whole() < aimShare && limit < wanted {
		return fmt.Sprintf("the CPU is the limit: %.0f/s are wanted, and %.0f %% of the CPU give %.0f/s", wanted, 100*cpuUsable, limit)
	}
	return verdict(r.whole() >= aimShare)
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// aimLocal is how many times the loop, where neither network nor key cost time.
const aimLocal = 1.6

const (
	localLoop = 300  // images for the loop
	localOurs = 4000 // images for dct2notation
)

// local measures both with no latency at all: what is left is what the programs themselves
// cost the machine.
func local(ctx context.Context, bin, dir string, out io.Writer) (err error) {
	servers, err := startRemote(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "local"), bin, servers.address, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nNo latency at all: beside the loop, %d workers, %d repositories\n%s", aimWorkers, repositories, pairHead)
	var rows []row
	for _, k := range []struct {
		name string
		key  []string
	}{{"in files", fileKey}, {"plugin, no delay", pluginKey}} {
		s := stage{remote: servers, home: h, key: k.key}
		r := row{workers: aimWorkers}
		if r.loop, err = s.measureLoop(ctx, "loop-"+k.key[0], aimWorkers, localLoop); err != nil {
			return err
		}
		if r.ours, err = s.measureOurs(ctx, "ours-"+k.key[0], aimWorkers, localOurs); err != nil {
			return err
		}
		printPair(out, k.name, r)
		rows = append(rows, r)
	}
	for _, r := range rows {
		fmt.Fprintf(out, "aim: at least %.1f times the loop without latency: %.1f, %s\n", aimLocal, r.ratio(), verdict(r.ratio() >= aimLocal))
	}
	printDisturbed(out, rows)
	return nil
}

const pairHead = `                       images        signatures/s           processes, ms of CPU for each   CPU of all cores, while ours runs
key                 loop   ours    loop   ours  ratio      loop   ours     loop   ours   itself plugins servers others   allows
`

// pairWorkers are the worker counts that keys in services are measured with.
var pairWorkers = []int{1, 4, aimWorkers}

// measurePairs measures and prints both contestants with a key in a service, for a few worker counts.
func (s stage) measurePairs(ctx context.Context, name string, out io.Writer) error {
	var rows []row
	for _, n := range pairWorkers {
		r, at := row{workers: n}, fmt.Sprintf("%s-%d", name, n)
		images := min(25*n, 100)
		var err error
		if r.loop, err = s.measureLoop(ctx, at+"-loop", n, images); err != nil {
			return err
		}
		if r.ours, err = s.measureOurs(ctx, at+"-ours", n, 4*images); err != nil {
			return err
		}
		printPair(out, fmt.Sprintf("%s, %d", name, n), r)
		rows = append(rows, r)
	}
	printDisturbed(out, rows)
	return nil
}

// printPair prints how both did with one kind of key.
func printPair(out io.Writer, name string, r row) {
	fmt.Fprintf(out, "%-16s %7d %6d %7.1f %6.1f %5.1fx    %6s %6s   %6.1f %6.1f   %4.0f %%  %4.0f %%  %4.0f %% %4.0f %%  %5.0f/s\n",
		name, r.loop.count, r.ours.count, r.loop.rate(), r.ours.rate(), r.ratio(),
		processes(r.loop), processes(r.ours), millis(r.loop.cpu()), millis(r.ours.cpu()),
		100*r.ours.ownShare(), 100*r.ours.childShare(), 100*r.ours.share(r.ours.servers), 100*r.ours.others(), r.ours.cpuAllows())
}

// processes is how many of the plugin's there were for each signature. Only kmstest tells.
func processes(c contestant) string {
	if c.key.processes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", c.each(int64(c.key.processes)))
}
