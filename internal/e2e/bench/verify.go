//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
)

// What is aimed at in verifying, with latency.
const (
	verifyWorkers   = 32
	verifyTrips     = 3     // round trips of a tag
	moreWorkers     = 128   // that hide the latency, so that the CPU is the limit
	moreInFlight    = 256   // requests that these may have
	aimVerify       = 450.0 // tags per second
	aimMore         = 900.0 // with as many
	aimSmall        = 200.0 // of small repositories, one read at a time
	aimVerifyRatio  = 6.5   // times the loop
	verifyImages    = 4000  // for dct2notation, spread over repositories
	verifyLoop      = 300   // for the loop
	verifySmall     = 100   // repositories of smallTags
	manyTagsOfImage = 10    // of the part many-verify: signing takes longest
)

// verification compares dct2notation verify with a loop over notation verify, on the same
// images, with latency.
func verification(ctx context.Context, bin, dir string, out io.Writer) error {
	return within(requestLatency, nil, func(servers *remote) error {
		s := shop{servers, bin, filepath.Join(dir, "verify"), out}
		printVerifyHead(out)
		h, p, err := s.signed(ctx, "large", Publication{Repositories: repositories, Images: verifyImages})
		if err != nil {
			return err
		}
		loop, err := s.verifyLoop(ctx, h, p)
		if err != nil {
			return err
		}
		printVerified(out, fmt.Sprintf("xargs -P %d notation verify", verifyWorkers), loop)
		at := func(aim, allowed float64, name string, h *home, v verifying) (verifyRow, error) {
			m, err := s.verify(ctx, h, v)
			if err == nil {
				printVerified(out, "dct2notation "+name, m)
			}
			return verifyRow{m, name, aim, allowed}, err
		}
		one, err := at(aimVerify, verifyWorkers/requestLatency.Seconds()/verifyTrips, fmt.Sprintf("verify --concurrency %d", verifyWorkers), h,
			verifying{published: p, guns: p.GUNs, tags: verifyImages, workers: verifyWorkers})
		if err != nil {
			return err
		}
		more, err := at(aimMore, moreWorkers/requestLatency.Seconds()/verifyTrips, fmt.Sprintf("  %d, %d requests in flight", moreWorkers, moreInFlight), h,
			verifying{published: p, guns: p.GUNs, tags: verifyImages, workers: moreWorkers, inFlight: moreInFlight})
		if err != nil {
			return err
		}
		if h, p, err = s.signed(ctx, "small", Publication{Repositories: verifySmall, Images: verifySmall * smallTags}); err != nil {
			return err
		}
		rows := []verifyRow{one, more}
		for _, readers := range []int{1, raisedConcurrency} {
			// One request for each repository and a token for sixteen, so many at a time.
			allowed := float64(readers) * smallTags / requestLatency.Seconds() / (1 + 1.0/16)
			row, err := at(aimSmall, allowed, fmt.Sprintf("  %d of %d tags, %d read at a time", verifySmall, smallTags, readers), h,
				verifying{published: p, guns: p.GUNs, tags: verifySmall * smallTags, workers: verifyWorkers, readers: readers})
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		printVerifyAims(out, loop, rows)
		return nil
	})
}

// verifyRow is one call of verify.
type verifyRow struct {
	measured
	name    string
	aim     float64 // tags per second
	allowed float64 // by the round trips that wait for each other
}

// signed publishes images in a home of their own, and has dct2notation sign them with a
// local key.
func (s shop) signed(ctx context.Context, name string, what Publication) (*home, Published, error) {
	what.Name = name
	p, err := s.publishAll(what)
	if err != nil {
		return nil, p, err
	}
	h, err := s.home(name)
	if err != nil {
		return nil, p, err
	}
	if err := h.trustOwnKey(); err != nil {
		return nil, p, err
	}
	m := migration{name: name, workers: verifyWorkers, key: fileKey, published: p, notary: s.address.Notary}
	r, _, err := h.migrate(ctx, m)
	if err != nil {
		return nil, p, err
	}
	return h, p, complete(s.remote, name, r, "signed", what.Images)
}

func (s shop) verify(ctx context.Context, h *home, v verifying) (measured, error) {
	return s.counted(v.tags, func() (usage, error) { return h.verify(ctx, s.address.Notary, v) })
}

// verifyLoop verifies some of the images with the notation command.
func (s shop) verifyLoop(ctx context.Context, h *home, p Published) (measured, error) {
	some := spread(p.References)[:verifyLoop]
	m, err := s.counted(verifyLoop, func() (usage, error) { return h.verifyEach(ctx, verifyWorkers, some) })
	m.peak = 0 // is that of xargs
	return m, err
}

// manyTags verifies one repository, three and then ten of that size: memory must not grow
// with their number. It does from one to three, since the next is read while one is compared
// and the one before waits to be freed; and the more there are, the likelier all three are
// at their largest when the collector runs late.
func manyTags(ctx context.Context, bin, dir string, tags int, out io.Writer) error {
	return within(0, nil, func(servers *remote) error {
		s := shop{servers, bin, filepath.Join(dir, "many-verify"), out}
		of := tags / manyRepositories / manyTagsOfImage // images of a repository
		printManyTagsHead(out, of*manyTagsOfImage)
		h, p, err := s.signed(ctx, "many", Publication{Repositories: manyRepositories, Images: of * manyRepositories, Tags: manyTagsOfImage})
		if err != nil {
			return err
		}
		var all []measured
		for _, n := range []int{1, 3, manyRepositories} {
			v, err := s.verify(ctx, h, verifying{published: p, guns: p.GUNs[:n], tags: n * of * manyTagsOfImage, workers: verifyWorkers})
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		printManyTags(out, all)
		return nil
	})
}

func printVerifyHead(out io.Writer) {
	fmt.Fprintf(out, `
Verifying: dct2notation verify, beside xargs -P %d notation verify on images of the same repositories
  signatures are EC P-256 in JWS; registry and Notary server as above, %d ms for each request; %d workers, %d cores
  requests: to the registry, tokens included, and to Notary in all

                                                tags   tags/s  requests  Notary  ms of CPU for each   peak   CPU of all cores: itself servers others  allows
`, verifyWorkers, requestLatency.Milliseconds(), verifyWorkers, runtime.NumCPU())
}

func printVerified(out io.Writer, name string, v measured) {
	fmt.Fprintf(out, "%-45s %6d %8.1f %9.2f %7d %19.2f %6s %24.0f %% %6.0f %% %4.0f %% %5.0f/s\n", name, v.count, v.rate(),
		v.each(v.requests.Registry), v.requests.Notary, millis(v.cpu()), peakOf(v),
		100*v.share(v.tree), 100*v.share(v.servers), 100*v.others(), v.cpuAllows())
}

func peakOf(v measured) string {
	if v.peak == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MB", mega(v.peak))
}

// printVerifyAims judges the rows, the first of which has as many workers as the loop. With more, both get what
// the CPU gives: the loop has it already, where its processes are many for few cores.
func printVerifyAims(out io.Writer, loop measured, rows []verifyRow) {
	for _, r := range rows {
		fmt.Fprintf(out, "aim: at least %.0f tags/s with %s: %.0f, %s; round trips allow %.0f\n", r.aim, strings.TrimSpace(r.name), r.rate(), r.verdict(), r.allowed)
	}
	ratio := rows[0].rate() / loop.rate()
	fmt.Fprintf(out, "aim: at least %.1f times the loop: %.1f, %s; with %d workers %.1f times\n", aimVerifyRatio, ratio, verdict(ratio >= aimVerifyRatio),
		moreWorkers, rows[1].rate()/loop.rate())
	disturbed := loop.others()
	for _, r := range rows {
		disturbed = max(disturbed, r.others())
	}
	if disturbed >= disturbing {
		fmt.Fprintf(out, "  disturbed: other programs used up to %.0f %% of the CPU; measure again when they are quiet\n", 100*disturbed)
	}
}

// verdict judges the rate. The CPU excuses a miss if it could not give as many, and then it says so.
func (r verifyRow) verdict() string {
	if can := cpuUsable * r.cpuAllows(); r.rate() < r.aim && can < r.aim {
		return fmt.Sprintf("the CPU is the limit: %.0f %% of what others leave gives %.0f/s", 100*cpuUsable, can)
	}
	return verdict(r.rate() >= r.aim)
}

func printManyTagsHead(out io.Writer, tags int) {
	fmt.Fprintf(out, "\nVerifying many tags: %d in each repository, %d of each image, %d workers, no latency\n", tags, manyTagsOfImage, verifyWorkers)
}

func printManyTags(out io.Writer, all []measured) {
	for _, v := range all {
		fmt.Fprintf(out, "  %d tags: %.1f s, %.0f/s, %.2f requests for each, peak memory %.0f MB\n", v.count, v.wall.Seconds(), v.rate(), v.each(v.requests.Registry), mega(v.peak))
	}
	few, most := all[len(all)-2], all[len(all)-1]
	fmt.Fprintf(out, "aim: under %d MB, whatever the number of tags: %.0f MB, %.2f times from %d tags to %d, %s\n",
		aimMemory, mega(most.peak), float64(most.peak)/float64(few.peak), few.count, most.count, verdict(mega(most.peak) < aimMemory))
}
