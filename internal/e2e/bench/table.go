//go:build linux

package main

import (
	"fmt"
	"io"
	"runtime"
	"time"
)

// What was aimed at.
const (
	aimWorkers = 16   // where the ratio counts
	aimRatio   = 4.0  // times the loop
	aimShare   = 0.85 // of what the key allows, unless the CPU is the limit
	aimMemory  = 150  // MB

	// cpuUsable is how much of the cores can be had: some is always lost between a core
	// that falls idle and the next process on it.
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
		r.workers, r.loop.signatures, r.ours.signatures, r.loop.rate(), r.ours.rate(), r.ratio(),
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
