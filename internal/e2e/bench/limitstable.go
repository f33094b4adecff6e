//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

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
	fmt.Fprintf(out, "%3.0f/s  %-15s %s %14d %6d %4.1f/s %5.1f %% %5.1f %% %10d %19.3f %5.0f %%\n", l.perSecond, l.refusal, loop,
		l.ours.signatures, l.failed, steadyRate(l.ours.pushes), 100*l.steady(), 100*l.whole(), l.throttled(),
		l.ours.each(int64(l.ours.key.processes)), 100*l.ours.others())
	fmt.Fprintf(out, "       signatures/s, a figure for each %s: %s\n", traceStep, trace(l.ours.pushes))
}

func printLimitAims(out io.Writer, all []limited) {
	for _, l := range all {
		fmt.Fprintf(out, "aim: at least %.0f %% of %.0f/s (%s) with nothing failed: %.1f %% and %d, %s\n", 100*aimLimited, l.perSecond, l.refusal,
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
