//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// aimLimited is the share of a limited key's rate.
const aimLimited = 0.95

// keyLimit is a key whose service allows so many operations per second.
type keyLimit struct {
	perSecond float64
	refusal   kmstest.Kind  // how it refuses more
	worth     time.Duration // how long it takes to sign the images at that rate
	loop      int           // images for the loop; 0: it is not run
	shards    int           // processes of ours that share it; 0: one
}

// Azure allows 50 operations per second with an RSA key of 3072 bits in an HSM, and 25
// with one of 4096. Few plugins say THROTTLED: the last two say what Azure's and Vault's
// say.
var keyLimits = []keyLimit{
	{50, kmstest.Throttled, 30 * time.Second, 200, 0},
	{25, kmstest.Throttled, 30 * time.Second, 200, 0},
	{50, kmstest.Throttled, 30 * time.Second, 0, 2},
	{50, kmstest.ThrottledAzure, 15 * time.Second, 0, 0},
	{50, kmstest.ThrottledText, 15 * time.Second, 0, 0},
}

// shardedRepositories are so many that no shard is without any.
const shardedRepositories = 32

// limited is how both did with such a key.
type limited struct {
	keyLimit
	loop, ours contestant
	loopFailed int
	failed     int // of ours
}

// steady is our share of the limit between the first and the last signature.
func (l limited) steady() float64 { return steadyRate(l.ours.pushes) / l.perSecond }

// whole is that of the whole command.
func (l limited) whole() float64 { return l.ours.rate() / l.perSecond }

// throttled is how many of our calls were refused. One signature proves the key and is
// seen nowhere.
func (l limited) throttled() int { return max(0, l.ours.key.operations-l.ours.count-1) }

// others is what other programs used of the CPU meanwhile, at the worse of the two times.
func (l limited) others() float64 {
	if l.keyLimit.loop == 0 {
		return l.ours.others()
	}
	return max(l.loop.others(), l.ours.others())
}

// limits lets both sign with keys that are limited.
func limits(ctx context.Context, bin, dir string, out io.Writer) (err error) {
	servers, err := startRemote(requestLatency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	delay := map[string]int{describeKey: describeDelay, generateSignature: signDelay}
	h, err := newHome(filepath.Join(dir, "limits"), bin, servers.address, delay)
	if err != nil {
		return err
	}
	printLimitsHead(out)
	var all []limited
	for i, k := range keyLimits {
		b := h.behaviour(delay)
		b.MaxPerSecond, b.Refusal = k.perSecond, k.refusal
		l, err := stage{remote: servers, home: h, key: pluginKey}.measureLimited(ctx, fmt.Sprint("limit-", i), k, b)
		if err != nil {
			return fmt.Errorf("with a key limited to %.0f/s: %w", k.perSecond, err)
		}
		printLimited(out, l)
		all = append(all, l)
	}
	printLimitAims(out, all)
	return nil
}

// measureLimited lets both sign at the limit, each from a full quota on.
func (s stage) measureLimited(ctx context.Context, name string, k keyLimit, b kmstest.Behaviour) (l limited, err error) {
	l.keyLimit = k
	if k.loop > 0 {
		if err := s.plugin.Set(b); err != nil {
			return l, err
		}
		l.loop, err = s.measure(name+"-loop", k.loop, func(p Published) (usage, error) {
			u, err := s.home.loop(ctx, aimWorkers, s.key, spread(p.References))
			return u, failedSome(err)
		})
		if err != nil {
			return l, err
		}
		l.loopFailed = k.loop - l.loop.count
	}
	if err := s.plugin.Set(b); err != nil {
		return l, err
	}
	images := int(k.perSecond * k.worth.Seconds())
	if k.shards > 1 {
		s.over = shardedRepositories
	}
	l.ours, err = s.measure(name+"-ours", images, func(p Published) (u usage, err error) {
		m := migration{name: name, workers: aimWorkers, atMost: 3 * k.worth, key: s.key, mayFail: true, published: p, notary: s.address.Notary}
		u, l.failed, err = s.shards(ctx, m, max(k.shards, 1))
		return u, err
	})
	return l, err
}

// shards runs a migration in so many processes at once, each with a part of the repositories, and returns what
// all took and how many items failed.
func (s stage) shards(ctx context.Context, m migration, n int) (all usage, failed int, err error) {
	took, said, errs := make([]usage, n), make([]result, n), make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		one := m
		if n > 1 {
			one.name, one.shard = fmt.Sprintf("%s-%d", m.name, i), fmt.Sprintf("%d/%d", i, n)
		}
		group.Go(func() { said[i], took[i], errs[i] = s.migrate(ctx, one) })
	}
	group.Wait()
	for i, u := range took {
		all.wall, all.peak = max(all.wall, u.wall), max(all.peak, u.peak)
		all.own, all.tree, failed = all.own+u.own, all.tree+u.tree, failed+said[i].Results["failed"]
		all.busy, all.waiting = max(all.busy, u.busy), max(all.waiting, u.waiting)
	}
	return all, failed, errors.Join(errs...)
}

func printLimitsHead(out io.Writer) {
	fmt.Fprintf(out, `
Limited keys: %d workers, %d ms for each request, the plugin as above; what is more in any second is refused at once
  steady: our share of the limit between the first and the last signature, without the first second, in which the
  limit lets as much through as in a whole one. whole: that of the whole command. throttled: calls that were refused

limit  refusal           loop: images failed   ours: images failed   rate   steady  whole  throttled  processes for each  others
`, aimWorkers, requestLatency.Milliseconds())
}

func printLimited(out io.Writer, l limited) {
	loop := "            -      -"
	if l.keyLimit.loop > 0 {
		loop = fmt.Sprintf("%13d %4.0f %%", l.keyLimit.loop, 100*float64(l.loopFailed)/float64(l.keyLimit.loop))
	}
	refusal := string(l.refusal)
	if l.shards > 1 {
		refusal = fmt.Sprintf("%d shards", l.shards)
	}
	fmt.Fprintf(out, "%3.0f/s  %-15s %s %14d %6d %4.1f/s %5.1f %% %5.1f %% %10d %19.3f %5.0f %%\n", l.perSecond, refusal, loop,
		l.ours.count, l.failed, steadyRate(l.ours.pushes), 100*l.steady(), 100*l.whole(), l.throttled(),
		l.ours.each(int64(l.ours.key.processes)), 100*l.ours.others())
	fmt.Fprintf(out, "       signatures/s, a figure for each %s: %s\n", traceStep, trace(l.ours.pushes))
}

func printLimitAims(out io.Writer, all []limited) {
	for _, l := range all {
		fmt.Fprintf(out, "aim: at least %.0f %% of %.0f/s (%s, %d at once) with nothing failed: %.1f %% and %d, %s\n", 100*aimLimited, l.perSecond, l.refusal, max(l.shards, 1),
			100*l.steady(), l.failed, limitVerdict(l))
		if disturbed := l.others(); disturbed >= disturbing {
			fmt.Fprintf(out, "  disturbed: other programs used %.0f %% of the CPU; measure again when they are quiet\n", 100*disturbed)
		}
	}
}

// limitVerdict judges a limited key. The CPU excuses a miss if it could not give as many
// signatures, and then it says so; nothing excuses items that failed.
func limitVerdict(l limited) string {
	met := l.steady() >= aimLimited && l.failed == 0
	if can := cpuUsable * l.ours.cpuAllows(); !met && l.failed == 0 && can < aimLimited*l.perSecond {
		return fmt.Sprintf("the CPU is the limit: %.0f %% of it give %.0f/s", 100*cpuUsable, can)
	}
	return verdict(met)
}

// steadyRate is signatures per second from a second after the first to the last; 0: too
// few to say.
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

// traceStep is the time that each figure of a trace stands for.
const traceStep = 2 * time.Second

// trace is the rate over time, in signatures per second, of all full steps.
func trace(pushes []time.Time) string {
	if len(pushes) == 0 {
		return ""
	}
	counts := make([]int, pushes[len(pushes)-1].Sub(pushes[0])/traceStep)
	for _, at := range pushes {
		if i := int(at.Sub(pushes[0]) / traceStep); i < len(counts) {
			counts[i]++
		}
	}
	var figures []string
	for _, n := range counts {
		figures = append(figures, fmt.Sprintf("%.0f", float64(n)/traceStep.Seconds()))
	}
	return strings.Join(figures, " ")
}
