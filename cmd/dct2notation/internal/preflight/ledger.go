package preflight

import (
	"fmt"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// A ledger of a hundred thousand digests, with its envelopes, takes less than a gigabyte.
const (
	amplePlace = 1 << 30
	noPlace    = 32 << 20
)

// ledger checks the ledger's place, and opens the ledger if it exists. The caller closes it; nil: it does not exist,
// or cannot be used.
func (e *exam) ledger(path string) (*state.Ledger, *state.Fingerprint) {
	place, err := state.Survey(path)
	if err == nil {
		_, err = e.opts.StatePath()
	}
	if err != nil {
		e.failed("ledger-place", path, err)
		return nil, nil
	}
	c := report.Check{Check: "ledger-place", Subject: place.Dir, Result: report.OK, Detail: "writable"}
	if place.Sized {
		c.Detail += fmt.Sprintf(", %d MiB free", place.Free>>20)
		switch {
		case place.Free < noPlace:
			c.Result, c.Hint = report.Fail, "free some space, or choose another place with --state"
		case place.Free < amplePlace:
			c.Result, c.Hint = report.Warn, "a large run may need more; choose another place with --state"
		}
	}
	e.add(c)
	if !place.Exists {
		e.ok("ledger", path, "does not exist yet: the run will create it")
		return nil, nil
	}
	ledger, known, err := session.OpenLedgerWith(path, state.Options{ReadOnly: true})
	if err != nil {
		e.failed("ledger", path, err)
		return nil, nil
	}
	e.ok("ledger", path, "intact, and not in use")
	return ledger, known
}

// remembered returns what an earlier run recorded about a repository.
func remembered(ledger *state.Ledger, gun dct.GUN) (dct.Known, error) {
	if ledger == nil {
		return dct.Known{}, nil
	}
	before, _, err := ledger.Repository(gun.String())
	return migrate.KnownOf(before), err
}

// sameConfiguration checks whether the ledger would accept a run with these keys and servers.
func (e *exam) sameConfiguration(f *session.Session, keys []session.OpenedKey, known *state.Fingerprint) {
	if known == nil {
		return
	}
	parts := &session.EngineParts{Session: f, Keys: keys}
	now, err := parts.Fingerprint()
	if err == nil {
		err = known.Check(now)
	}
	switch {
	case err == nil:
		e.ok("ledger-configuration", "ledger", "servers, pins, keys and certificates match")
	case e.acceptChanges || e.opts.AcceptRoot.OnlyAccepted(known, now):
		e.ended(report.Warn, "ledger-configuration", "ledger", err)
	default:
		e.failed("ledger-configuration", "ledger", err)
	}
}
