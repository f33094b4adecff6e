//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

const (
	largeTargets = 10_000 // of the one large repository
	largeTimes   = 5      // how often it is read

	smallTags   = 5   // of a small repository, without delegations
	fewSmall    = 100 // beside which the memory at many is judged
	listedSmall = 50  // how many notary list is asked for: a process for each takes long
	lateSmall   = 200 // how many are read with latency

	countedRepositories = 10 // for requests
	raisedConcurrency   = 4
)

// trust measures how trust data is read: requests, one large repository, many small
// ones, and the time beside notary list. Each measurement has a home of its own, so that
// nothing that one has cached helps another.
func trust(ctx context.Context, bin, dir string, repositories int, out io.Writer) error {
	const quick = 0
	for _, p := range []struct {
		name    string
		latency time.Duration
		flags   []string
		do      func(shop, context.Context) error
	}{
		{"requests", quick, nil, shop.requests},
		{"large", quick, nil, shop.large},
		{"small", quick, nil, func(s shop, ctx context.Context) error { return s.small(ctx, repositories) }},
		{"beside", requestLatency, []string{"-" + openFlag}, shop.beside},
	} {
		if err := within(p.latency, p.flags, func(servers *remote) error {
			return p.do(shop{servers, bin, filepath.Join(dir, "trust-"+p.name), out}, ctx)
		}); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// within runs servers as long as do takes.
func within(latency time.Duration, flags []string, do func(*remote) error) (err error) {
	servers, err := startRemote(latency, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	return do(servers)
}

// shop is where readings are measured.
type shop struct {
	*remote
	bin, dir string
	out      io.Writer
}

// home makes a new one.
func (s shop) home(name string) (*home, error) {
	return newHome(filepath.Join(s.dir, name), s.bin, s.address, nil)
}

// trust and authentication are the requests for one repository.
func (m measured) trust() float64 { return float64(m.requests.Trust) / float64(m.count) }

func (m measured) authentication() float64 {
	return float64(m.requests.Notary-m.requests.Trust) / float64(m.count)
}

func (m measured) connections() float64 {
	return float64(m.requests.Connections) / float64(m.count)
}

// handshake is the round trips before the first request of a connection: TCP and TLS 1.3.
const handshake = 2

// far is the time for one repository where also connections take their round trips. It is
// computed: on 127.0.0.1 a connection costs next to nothing.
func (m measured) far(roundTrip time.Duration) time.Duration {
	return m.time() + time.Duration(m.connections()*handshake*float64(roundTrip))
}

// again reads repositories twice in one home: all new, then all unchanged.
func (s shop) again(ctx context.Context, h *home, p Published, guns []string, inFlight int) (cold, unchanged measured, err error) {
	read := func(want string) (measured, error) {
		return s.counted(len(guns), func() (usage, error) {
			return h.read(ctx, s.address.Notary, reading{published: p, guns: guns, inFlight: inFlight, want: want})
		})
	}
	if cold, err = read("added"); err == nil {
		unchanged, err = read("unchanged")
	}
	return cold, unchanged, err
}

// requests counts what one repository costs, with and without delegations.
func (s shop) requests(ctx context.Context) error {
	printRequestsHead(s.out)
	for _, signers := range []int{0, 2} {
		what := Publication{Name: fmt.Sprintf("signers-%d", signers), Repositories: countedRepositories, Images: countedRepositories, Signers: signers}
		p, err := s.publishAll(what)
		if err != nil {
			return err
		}
		h, err := s.home(what.Name)
		if err != nil {
			return err
		}
		cold, unchanged, err := s.migrateTwice(ctx, h, what.Name, p)
		if err != nil {
			return err
		}
		printRequests(s.out, "run", what.delegations(), cold, unchanged)
		if h, err = s.home(what.Name + "-snapshot"); err != nil {
			return err
		}
		if cold, unchanged, err = s.again(ctx, h, p, p.GUNs, 0); err != nil {
			return err
		}
		printRequests(s.out, "snapshot", what.delegations(), cold, unchanged)
	}
	return nil
}

// migrateTwice runs dct2notation run, and again on its ledger.
func (s shop) migrateTwice(ctx context.Context, h *home, name string, p Published) (cold, unchanged measured, err error) {
	m := migration{name: name, workers: 1, key: fileKey, published: p, notary: s.address.Notary}
	run := func(want string) (measured, error) {
		return s.counted(len(p.GUNs), func() (usage, error) {
			r, u, err := h.migrate(ctx, m)
			if err == nil && r.Results[want] != len(p.References) {
				err = fmt.Errorf("of %d images %v, want all %s", len(p.References), r.Results, want)
			}
			return u, err
		})
	}
	if cold, err = run("signed"); err == nil {
		unchanged, err = run("already")
	}
	return cold, unchanged, err
}

// large reads one repository with many targets, a few times.
func (s shop) large(ctx context.Context) error {
	p, err := s.publishAll(Publication{Name: "large", Repositories: 1, Images: largeTargets, TrustOnly: true})
	if err != nil {
		return err
	}
	var cold, unchanged []measured
	for i := range largeTimes {
		h, err := s.home(fmt.Sprint(i))
		if err != nil {
			return err
		}
		first, second, err := s.again(ctx, h, p, p.GUNs, 0)
		if err != nil {
			return err
		}
		cold, unchanged = append(cold, first), append(unchanged, second)
	}
	printLarge(s.out, typical(cold), typical(unchanged))
	return nil
}

// small reads few repositories and then many, for memory, time and the disk.
func (s shop) small(ctx context.Context, repositories int) error {
	p, err := s.publishAll(Publication{Name: "small", Repositories: repositories, Images: repositories * smallTags, TrustOnly: true})
	if err != nil {
		return err
	}
	printSmallHead(s.out)
	var few measured
	for _, n := range slices.Compact([]int{min(fewSmall, repositories), repositories}) {
		h, err := s.home(fmt.Sprint(n))
		if err != nil {
			return err
		}
		cold, unchanged, err := s.again(ctx, h, p, p.GUNs[:n], 0)
		if err != nil {
			return err
		}
		taken, err := sizeOf(h.path(snapshotFolder))
		if err != nil {
			return err
		}
		printSmall(s.out, cold, unchanged, taken)
		if n < repositories {
			few = cold
		} else if few.count > 0 {
			printGrowth(s.out, few, cold)
		}
	}
	return nil
}

// beside reads small repositories with notary list and with dct2notation, with latency.
func (s shop) beside(ctx context.Context) error {
	p, err := s.publishAll(Publication{Name: "beside", Repositories: lateSmall, Images: lateSmall * smallTags, TrustOnly: true})
	if err != nil {
		return err
	}
	printBesideHead(s.out)
	h, err := s.home("notary")
	if err != nil {
		return err
	}
	var theirs [2]measured
	for i := range theirs {
		theirs[i], err = s.counted(listedSmall, func() (usage, error) {
			return h.list(ctx, s.address.Notary, p.GUNs[:listedSmall], smallTags)
		})
		if err != nil {
			return err
		}
	}
	printBeside(s.out, "notary list, fresh trust folder", theirs[0], nil)
	printBeside(s.out, "notary list, kept trust folder", theirs[1], nil)
	for _, inFlight := range []int{0, raisedConcurrency} {
		if h, err = s.home(fmt.Sprint("ours-", inFlight)); err != nil {
			return err
		}
		cold, unchanged, err := s.again(ctx, h, p, p.GUNs, inFlight)
		if err != nil {
			return err
		}
		name := "snapshot"
		if inFlight > 0 {
			name += fmt.Sprint(" --notary-concurrency ", inFlight)
		}
		printBeside(s.out, name+", cold", cold, &theirs[0])
		printBeside(s.out, name+", unchanged", unchanged, &theirs[1])
		if inFlight == 0 {
			printRatioAim(s.out, theirs[0].time().Seconds()/cold.time().Seconds())
		}
	}
	return nil
}

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
	fmt.Fprintf(out, "%12d   %8.2f s %5.2f s %3.0f MB   %13.2f s %5.2f s %3.0f MB   %.1f MB (%d, %.1f MB)\n", cold.count,
		cold.wall.Seconds(), cold.tree.Seconds(), mega(cold.peak),
		unchanged.wall.Seconds(), unchanged.tree.Seconds(), mega(unchanged.peak), mega(taken.disk), taken.files, mega(taken.bytes))
	printOthers(out, cold, unchanged)
}

// printGrowth judges whether memory grows with the number of repositories.
func printGrowth(out io.Writer, few, many measured) {
	growth := float64(many.peak) / float64(few.peak)
	fmt.Fprintf(out, "aim: constant memory, at most %.2f times: %.2f times at %d repositories beside %d, %.0f kB for each more, %s\n",
		aimGrowth, growth, many.count, few.count,
		float64(many.peak-few.peak)/1024/float64(many.count-few.count), verdict(growth <= aimGrowth))
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
		ratio = fmt.Sprintf("%.1fx", theirs.time().Seconds()/m.time().Seconds())
		far = fmt.Sprintf("%.1fx", theirs.far(requestLatency).Seconds()/m.far(requestLatency).Seconds())
	}
	fmt.Fprintf(out, "%-43s %12d %20.1f (%.1f) %12.1f %6.1f ms %6.1f ms %7s %8.1f ms %7s\n", name, m.count, m.trust(), m.authentication(),
		m.connections(), millis(m.time()), millis(m.tree)/float64(m.count), ratio, millis(m.far(requestLatency)), far)
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
