//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// requestLatency is what the servers add to each request, as a registry in another
// building does.
const requestLatency = 20 * time.Millisecond

// repositories is over how many each publication is spread.
const repositories = 4

// contestant is how one of the two did at one worker count.
type contestant struct {
	usage
	signatures int // seen in the registry
	requests   Counts
	servers    time.Duration // CPU time of their process
	key        keyUse
	pushes     []time.Time // when signatures reached the registry, in order
}

// rate is signatures per second of the whole command, its start and end included.
func (c contestant) rate() float64 { return float64(c.signatures) / c.wall.Seconds() }

// others is what of the machine's CPU time was used by none of those that belong to the
// measurement, as a share of all cores.
func (c contestant) others() float64 { return max(0, c.busy-c.share(c.tree+c.servers)) }

// cpuAllows is how many signatures per second the cores can give that others leave: what
// one takes of them here, servers included, is what it takes.
func (c contestant) cpuAllows() float64 {
	return float64(runtime.NumCPU()) * (1 - c.others()) / c.cpu().Seconds()
}

// cpu is the CPU time that one signature takes, servers included. Others on the machine
// change it little, where they spoil every rate.
func (c contestant) cpu() time.Duration {
	return (c.tree + c.servers) / time.Duration(c.signatures)
}

// each is so many of something for each signature.
func (c contestant) each(n int64) float64 { return float64(n) / float64(c.signatures) }

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
	key []string // what names it to both
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
	s := stage{servers, h, pluginKey}
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
		r, err := s.measureRow(ctx, n, one.wall/time.Duration(one.signatures))
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
	if err == nil && c.signatures != images {
		err = fmt.Errorf("the loop left %d of %d images unsigned", images-c.signatures, images)
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
	if err == nil && c.signatures != said.Results["signed"] {
		err = fmt.Errorf("dct2notation says that it signed %d images, and the registry has %d signatures", said.Results["signed"], c.signatures)
	}
	return c, err
}

// measure publishes images, lets sign sign them, and looks what became of it.
func (s stage) measure(name string, images int, sign func(Published) (usage, error)) (contestant, error) {
	var c contestant
	p, err := s.publish(name, repositories, images)
	if err != nil {
		return c, err
	}
	before, err := s.look()
	if err != nil {
		return c, err
	}
	if c.usage, err = sign(p); err != nil {
		return c, err
	}
	after, err := s.look()
	if err != nil {
		return c, err
	}
	c.requests = after.requests.since(before.requests)
	c.servers = after.servers - before.servers
	c.key = useOf(after.calls, len(before.calls))
	pushes, err := s.pushes(before.pushed)
	if err != nil {
		return c, err
	}
	for _, p := range pushes {
		c.pushes = append(c.pushes, time.Unix(0, p.UnixNano))
	}
	if c.signatures, err = s.signed(name); err == nil && c.signatures == 0 {
		err = errors.New("nothing was signed")
	}
	return c, err
}

// sight is what servers and plugin had seen at one moment.
type sight struct {
	requests Counts
	servers  time.Duration
	calls    []kmstest.Call
	pushed   int
}

func (s stage) look() (v sight, err error) {
	if v.requests, err = s.counts(); err != nil {
		return v, err
	}
	if v.servers, err = readOwn(s.process.Process.Pid); err != nil {
		return v, err
	}
	if v.pushed, err = s.remote.pushed(); err != nil {
		return v, err
	}
	v.calls, err = s.plugin.Calls("")
	return v, err
}
