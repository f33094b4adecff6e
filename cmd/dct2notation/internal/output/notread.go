package output

import (
	"log/slog"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// NotRead reports repositories that could not be read: on a terminal at the end, grouped by cause; elsewhere as they
// come.
type NotRead struct {
	to   cli.Streams
	log  *slog.Logger
	what string
	on   *cli.Terminal // nil: as they come
	as   report.Screen
	all  []report.Lack
}

// NewNotRead returns a NotRead whose messages are what.
func NewNotRead(o *cli.Common, to cli.Streams, log *slog.Logger, what string) *NotRead {
	n := &NotRead{to: to, log: log, what: what}
	if o.LogFormat == "text" {
		n.on = o.Terminal(to.Err)
	}
	if n.on != nil {
		n.as = report.Screen{Width: n.on.Width(), Color: o.Colored(n.on)}
	}
	return n
}

// Add records a repository.
func (n *NotRead) Add(gun dct.GUN, err error) {
	n.to.Then.NotRead(failure.Of(err), gun.String())
	why := report.Why(err)
	if n.on == nil {
		n.log.Error(n.what, append([]any{"repository", gun.String()}, cli.Reasoned(why)...)...)
		return
	}
	n.all = append(n.all, report.Lack{What: why, Of: gun.String()})
}

// Show shows those that were not reported as they came.
func (n *NotRead) Show() error {
	if len(n.all) == 0 {
		return nil
	}
	return n.as.Lacks(n.on, "not read", "repository", n.all)
}
