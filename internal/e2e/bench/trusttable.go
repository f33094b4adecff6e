//go:build linux

package main

import (
	"fmt"
	"io"
	"time"
)

// What issue 3 aims at.
const (
	aimUnchanged   = 1.0  // requests
	aimLargeTime   = 0.5  // seconds
	aimLargeMemory = 100  // MB
	aimGrowth      = 1.25 // peak memory at many repositories, beside few
	aimNotary      = 5.0  // times notary list
)

// aimCold is how many requests a repository may cost that is not known: root, timestamp,
// snapshot, targets and each published delegation.
func aimCold(delegations int) float64 { return float64(4 + delegations) }

func printRequestsHead(out io.Writer) {
	fmt.Fprintf(out, `
Reading trust data: requests to the Notary server for each repository, counted there
  cold: never read before. unchanged: the same command again. auth: challenges and tokens, which are apart
  %d repositories of each kind, one image each

verb       delegations     cold (auth)   unchanged (auth)
`, countedRepositories)
}

func printRequests(out io.Writer, verb string, delegations int, cold, unchanged measured) {
	fmt.Fprintf(out, "%-10s %11d %8.1f (%.1f) %12.1f (%.1f)   aim: %.0f and %.0f: %s\n", verb, delegations,
		cold.trust(), cold.authentication(), unchanged.trust(), unchanged.authentication(),
		aimCold(delegations), aimUnchanged, requestVerdict(delegations, cold.trust(), unchanged.trust()))
}

// requestVerdict judges both kinds of reading.
func requestVerdict(delegations int, cold, unchanged float64) string {
	return verdict(cold <= aimCold(delegations)) + ", " + verdict(unchanged <= aimUnchanged)
}

func printLarge(out io.Writer, cold, unchanged measured) {
	fmt.Fprintf(out, "\nReading trust data: one repository with %d targets, verb snapshot, no latency; median of %d, largest memory\n", largeTargets, largeTimes)
	for _, r := range []struct {
		name string
		measured
	}{{"cold", cold}, {"unchanged", unchanged}} {
		seconds, peak := r.wall.Seconds(), mega(r.peak)
		fmt.Fprintf(out, "  %-10s %.2f s (aim: under %.1f: %s), CPU %.2f s, peak memory %.0f MB (aim: under %d: %s)\n", r.name+":",
			seconds, aimLargeTime, verdict(seconds < aimLargeTime), r.tree.Seconds(), peak, aimLargeMemory, verdict(peak < aimLargeMemory))
		printOthers(out, r.measured)
	}
}

func printSmallHead(out io.Writer) {
	fmt.Fprintf(out, `
Reading trust data: small repositories (%d tags, no delegations), verb snapshot, no latency

repositories   cold: time    CPU   peak   unchanged: time    CPU   peak   on disk (files, bytes in them)
`, smallTags)
}

func printSmall(out io.Writer, cold, unchanged measured, taken size) {
	fmt.Fprintf(out, "%12d   %8.2f s %5.2f s %3.0f MB   %13.2f s %5.2f s %3.0f MB   %.1f MB (%d, %.1f MB)\n", cold.repositories,
		cold.wall.Seconds(), cold.tree.Seconds(), mega(cold.peak),
		unchanged.wall.Seconds(), unchanged.tree.Seconds(), mega(unchanged.peak), mega(taken.disk), taken.files, mega(taken.bytes))
	printOthers(out, cold, unchanged)
}

// printGrowth judges whether memory grows with the number of repositories.
func printGrowth(out io.Writer, few, many measured) {
	growth := float64(many.peak) / float64(few.peak)
	fmt.Fprintf(out, "aim: constant memory, at most %.2f times: %.2f times at %d repositories beside %d, %.0f kB for each more, %s\n",
		aimGrowth, growth, many.repositories, few.repositories,
		float64(many.peak-few.peak)/1024/float64(many.repositories-few.repositories), verdict(growth <= aimGrowth))
}

func printBesideHead(out io.Writer) {
	fmt.Fprintf(out, `
Reading trust data beside notary list: small repositories (%d tags, no delegations), one after the other
  Notary server on 127.0.0.1 with TLS, %d ms for each request; anybody gets a token, which spares notary a refusal
  notary list is a process for each repository, and writes its trust folder; snapshot is one for all, and writes a snapshot
  ratio: to notary list in the same state. far: computed, if each connection takes %d round trips of %d ms more

                                            repositories  for each: requests (auth)  connections     time       CPU   ratio   far: time   ratio
`, smallTags, requestLatency.Milliseconds(), handshake, requestLatency.Milliseconds())
}

// printBeside prints a contestant; ours beside theirs of the same kind.
func printBeside(out io.Writer, name string, m measured, theirs *measured) {
	ratio, far := "", ""
	if theirs != nil {
		ratio = fmt.Sprintf("%.1fx", theirs.each().Seconds()/m.each().Seconds())
		far = fmt.Sprintf("%.1fx", theirs.far(requestLatency).Seconds()/m.far(requestLatency).Seconds())
	}
	fmt.Fprintf(out, "%-43s %12d %20.1f (%.1f) %12.1f %6.1f ms %6.1f ms %7s %8.1f ms %7s\n", name, m.repositories, m.trust(), m.authentication(),
		m.connections(), millis(m.each()), millis(m.tree)/float64(m.repositories), ratio, millis(m.far(requestLatency)), far)
	printOthers(out, m)
}

func printRatioAim(out io.Writer, ratio float64) {
	fmt.Fprintf(out, "aim: at least %.0f times notary list with one request at a time, cold: %.1f, %s\n", aimNotary, ratio, verdict(ratio >= aimNotary))
}

// printOthers says where other programs have spoilt what was just printed.
func printOthers(out io.Writer, all ...measured) {
	for _, m := range all {
		if m.others() >= disturbing {
			fmt.Fprintf(out, "  disturbed: other programs used %.0f %% of the CPU during %.2f s of it; measure again when they are quiet\n", 100*m.others(), m.wall.Seconds())
		}
	}
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

func mega(bytes int64) float64 { return float64(bytes) / (1 << 20) }
