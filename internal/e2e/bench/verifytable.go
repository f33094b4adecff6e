//go:build linux

package main

import (
	"fmt"
	"io"
	"runtime"
)

func printVerifyHead(out io.Writer) {
	fmt.Fprintf(out, `
Verifying: dct2notation verify, beside xargs -P %d notation verify on images of the same repositories
  signatures are EC P-256 in JWS; registry and Notary server as above, %d ms for each request; %d workers, %d cores
  requests: to the registry, tokens included, and to Notary in all

                                                tags   tags/s  requests  Notary  ms of CPU for each   peak   CPU of all cores: itself servers others  allows
`, verifyWorkers, requestLatency.Milliseconds(), verifyWorkers, runtime.NumCPU())
}

func printVerified(out io.Writer, name string, v verified) {
	fmt.Fprintf(out, "%-45s %6d %8.1f %9.2f %7d %19.2f %6s %24.0f %% %6.0f %% %4.0f %% %5.0f/s\n", name, v.tags, v.rate(),
		v.each(v.requests.Registry), v.requests.Notary, millis(v.cpu()), peakOf(v),
		100*v.share(v.tree), 100*v.share(v.servers), 100*v.others(), v.cpuAllows())
}

func peakOf(v verified) string {
	if v.peak == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MB", mega(v.peak))
}

// printVerifyAims judges ours by as many workers as the loop has. With more, both get what
// the CPU gives: the loop has it already, where its processes are many for few cores.
func printVerifyAims(out io.Writer, loop, ours, more verified) {
	fmt.Fprintf(out, "aim: at least %.0f tags/s with %d workers: %.0f, %s\n", aimVerify, verifyWorkers, ours.rate(), verifyVerdict(ours))
	ratio := ours.rate() / loop.rate()
	fmt.Fprintf(out, "aim: at least %.0f times the loop: %.1f, %s; with %d workers %.1f times\n", aimVerifyRatio, ratio, verdict(ratio >= aimVerifyRatio),
		moreWorkers, more.rate()/loop.rate())
	fmt.Fprintf(out, "  %d workers that wait %d ms for each of %.2f requests get at most %.0f tags/s\n", verifyWorkers, requestLatency.Milliseconds(),
		ours.each(ours.requests.Registry), verifyWorkers/requestLatency.Seconds()/ours.each(ours.requests.Registry))
	if disturbed := max(loop.others(), ours.others()); disturbed >= disturbing {
		fmt.Fprintf(out, "  disturbed: other programs used %.0f %% of the CPU during the loop and %.0f %% during ours; measure again when they are quiet\n",
			100*loop.others(), 100*ours.others())
	}
}

// verifyVerdict judges the rate. The CPU excuses a miss if it could not give as many, and
// then it says so.
func verifyVerdict(v verified) string {
	if can := cpuUsable * v.cpuAllows(); v.rate() < aimVerify && can < aimVerify {
		return fmt.Sprintf("the CPU is the limit: %.0f %% of what others leave gives %.0f/s", 100*cpuUsable, can)
	}
	return verdict(v.rate() >= aimVerify)
}

func printManyTagsHead(out io.Writer, tags int) {
	fmt.Fprintf(out, "\nVerifying many tags: %d in each repository, %d of each image, %d workers, no latency\n", tags, manyTagsOfImage, verifyWorkers)
}

func printManyTags(out io.Writer, all []verified) {
	for _, v := range all {
		fmt.Fprintf(out, "  %d tags: %.1f s, %.0f/s, %.2f requests for each, peak memory %.0f MB\n", v.tags, v.wall.Seconds(), v.rate(), v.each(v.requests.Registry), mega(v.peak))
	}
	few, most := all[len(all)-2], all[len(all)-1]
	fmt.Fprintf(out, "aim: under %d MB, whatever the number of tags: %.0f MB, %.2f times from %d tags to %d, %s\n",
		aimMemory, mega(most.peak), float64(most.peak)/float64(few.peak), few.tags, most.tags, verdict(mega(most.peak) < aimMemory))
}
