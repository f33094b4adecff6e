package runner

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// WatchAddress is the default address for the metrics of a watch.
const WatchAddress = "127.0.0.1:9477"

// Monitored listens at the address for metrics, if there is one, so that an occupied port is noticed before any work.
// The returned function ends it.
func (o *Options) Monitored(log *slog.Logger) (*monitor.Monitor, func(), error) {
	address := o.Metrics
	if address == "" && o.Every > 0 {
		address = WatchAddress
	}
	return Serve(address, log, monitor.Options{
		Interval: o.Every,
		Outcomes: []string{"complete", "partial", "incomplete", "stopped", "nothing-read", "interrupted", "error"},
		Results: map[string][]string{
			string(migrate.ResultSigned): {""}, string(migrate.ResultAlready): {""}, string(migrate.ResultReplayed): {""},
			string(migrate.ResultSkipped): words(failure.SkipClasses), string(migrate.ResultFailed): words(failure.FailureClasses),
		},
		Unread: words(failure.FailureClasses),
	})
}

// Serve listens at an address and serves the monitor's metrics there; nil if there is no address. The returned
// function ends it.
func Serve(address string, log *slog.Logger, o monitor.Options) (*monitor.Monitor, func(), error) {
	if address == "" || address == "none" {
		return nil, func() {}, nil
	}
	l, err := listen(address)
	if err != nil {
		return nil, nil, cli.Usage(err)
	}
	if monitor.Public(l) {
		log.Warn("metrics can be read from other machines", "address", l.Addr().String())
	}
	log.Info("metrics", "address", "http://"+l.Addr().String()+"/metrics")
	o.Version = cli.Version()
	m := monitor.New(o)
	return m, m.Serve(l), nil
}

func listen(address string) (net.Listener, error) {
	name := safetext.Safe(address, 256)
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("--metrics-address %s: it takes HOST:PORT, or none", name)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without repeating the address
		}
		return nil, fmt.Errorf("--metrics-address %s: %w\nhint: give another port, or none", name, err)
	}
	return l, nil
}

// shown lets the metrics read the ledger, until the returned function is called; call it before closing the ledger.
func (r *Runner) shown() func() {
	r.Monitor.SetLedger(func() (monitor.Ledger, bool) {
		info, err := os.Stat(r.Path)
		if err != nil {
			return monitor.Ledger{}, false
		}
		counts, err := r.Ledger.Counts()
		l := monitor.Ledger{Bytes: info.Size(), Stages: map[string]int{}}
		for stage, n := range counts {
			l.Stages[string(stage)] = n
		}
		return l, err == nil
	})
	return func() { r.Monitor.SetLedger(nil) }
}

// showKeys lets the metrics read the keys.
func (r *Runner) showKeys() {
	keys := r.keys
	r.Monitor.SetKeys(func() []monitor.Key {
		var all []monitor.Key
		for _, k := range keys {
			calls := k.Calls()
			all = append(all, monitor.Key{Name: safetext.Safe(k.Name(), 128), Expires: k.NotAfter(), Calls: calls.Begun, Throttled: calls.Throttled, Proofs: calls.Proofs})
		}
		return all
	})
}

// observe passes events from the engine to the progress display and to the metrics.
func (r *Runner) observe(p *output.Progress) func(migrate.Event) {
	if r.Monitor == nil && r.Filter == nil {
		return p.Observe
	}
	return func(ev migrate.Event) {
		if r.Filter != nil && ev.Trust != nil {
			r.Filter.read(ev.Trust)
		}
		r.Monitor.Known(ev.Found)
		if o := ev.Outcome; o != nil {
			r.Monitor.Item(string(o.Result), string(o.Class))
		}
		if n := ev.Trust; n != nil && n.Err != nil {
			r.Monitor.Unread(n.GUN, string(n.Class), n.Class == failure.Unsigned)
		} else if n != nil {
			expires := map[string]time.Time{}
			for _, e := range n.Expiries {
				expires[e.Role] = e.At
			}
			r.Monitor.Read(n.GUN, expires)
		}
		p.Observe(ev)
	}
}

func words(classes []failure.Class) []string {
	var all []string
	for _, c := range classes {
		all = append(all, string(c))
	}
	return all
}
