//go:build linux

package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	// cpuUsable is the usable fraction of the cores: some time is always lost between a core
	// becoming idle and the next process running on it.
	cpuUsable = 0.90

	// disturbing is the use of the cores by others from which a row is worth little.
	disturbing = 0.10
)

// head prints the name of a part and its columns.
func (w *world) head(p part) {
	fmt.Fprintf(w.out, `
%s: %s
  registry and Notary server on 127.0.0.1 with TLS and tokens, %d ms for each request; %d cores, servers included
  requests, key operations and ms of CPU are for each; CPU all: with children and servers; anon: without mapped files
  CPU allows: so many a second with all the CPU that others leave

                                                           n     /s  registry Notary   key   CPU: own     all   MB: anon peak   CPU of all cores: own children servers others  CPU allows
`, p.name, p.title, w.latency.Milliseconds(), runtime.NumCPU())
}

// row prints a task. Rows come minutes apart, so each is printed at once.
func (w *world) row(m measured) {
	percent := func(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
	disturbed := ""
	if m.others() >= disturbing {
		disturbed = "  DISTURBED by other programs"
	}
	fmt.Fprintf(w.out, "  %-50.50s %7d %6.1f %9.2f %6.2f %5.2f %10.2f %7.2f %10.0f %4.0f %23s %8s %7s %6s %9.0f/s%s\n",
		m.name, m.count, m.rate(), m.each(float64(m.registry)), m.each(float64(m.notary)), m.each(float64(m.operations)),
		m.cpu(), m.each(millis(m.tree+m.servers)), mega(m.anon), mega(m.peak),
		percent(m.share(m.own)), percent(m.share(m.tree-m.own)), percent(m.share(m.servers)), percent(m.others()), m.cpuAllows(), disturbed)
}

// printKinds prints requests per unit, by kind, and returns their sum.
func (w *world) printKinds(each map[string]float64) (sum float64) {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(each)) {
		if each[kind] != 0 {
			sum += each[kind]
			all = append(all, fmt.Sprintf("%s %.2f", kind, each[kind]))
		}
	}
	w.note("each more: %s", strings.Join(all, ", "))
	return sum
}

func (w *world) note(format string, args ...any) {
	if w.err == nil {
		fmt.Fprintf(w.out, "  "+format+"\n", args...)
	}
}

// want is a figure and its goal.
type want struct {
	what   string // in words, with what limits it
	got    float64
	bound  float64
	most   bool      // the bound is a maximum; otherwise a minimum
	excuse *measured // for rates: its CPU may be the limit
}

// atLeast and atMost compare a figure with its goal. rate does so for one that is proportional to a
// task's rate.
func (w *world) atLeast(got, bound float64, what string, args ...any) {
	w.note("%s", want{what: fmt.Sprintf(what, args...), got: got, bound: bound})
}

func (w *world) atMost(got, bound float64, what string, args ...any) {
	w.note("%s", want{what: fmt.Sprintf(what, args...), got: got, bound: bound, most: true})
}

func (w *world) rate(m measured, got, bound float64, what string, args ...any) {
	w.note("%s", want{what: fmt.Sprintf(what, args...), got: got, bound: bound, excuse: &m})
}

func (t want) String() string {
	words := "at least"
	if t.most {
		words = "at most"
	}
	return fmt.Sprintf("aim: %s %.4g %s: %.4g, %s", words, t.bound, t.what, t.got, t.verdict())
}

// verdict judges the exact figure, not the printed one. The CPU excuses a missed rate if it could
// not have reached it, and the verdict then says so.
func (t want) verdict() string {
	if t.got >= t.bound && !t.most || t.got <= t.bound && t.most {
		return "met"
	}
	if t.excuse != nil && t.excuse.count > 0 {
		if can := cpuUsable * t.got * t.excuse.cpuAllows() / t.excuse.rate(); can < t.bound {
			return fmt.Sprintf("the CPU is the limit: %.0f %% of what others leave gives %.4g", 100*cpuUsable, can)
		}
	}
	return "MISSED"
}

// cpu returns the CPU time per unit of the processes themselves, in milliseconds.
func (m measured) cpu() float64 { return m.each(millis(m.own)) }

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

func mega(bytes int64) float64 { return float64(bytes) / (1 << 20) }
