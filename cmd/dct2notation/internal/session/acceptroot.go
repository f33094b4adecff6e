package session

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/state"
)

// AcceptedRoots is the flag --accept-root: repositories that were initialised again, each with a key id of its new
// root. It applies to one call: once accepted, a root is in the ledger.
type AcceptedRoots map[dct.GUN]string

// acceptRootHelp is the help of --accept-root.
const acceptRootHelp = "accept once a new root of a repository that was initialised again: REPOSITORY=KEYID, where KEYID is the new root key, pinned for exactly this repository; repeatable"

// Set parses one repository with its key id.
func (a *AcceptedRoots) Set(s string) error {
	name, id, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("it takes REPOSITORY=KEYID")
	}
	gun, err := dct.ParseGUN(name)
	if err != nil {
		return err
	}
	if !dct.IsKeyID(id) {
		return fmt.Errorf("%s is not a key id (64 hexadecimal digits in lower case)", safetext.Safe(id, 80))
	}
	if was, ok := (*a)[gun]; ok && was != id {
		return fmt.Errorf("%s is listed twice", gun)
	}
	if *a == nil {
		*a = AcceptedRoots{}
	}
	(*a)[gun] = id
	return nil
}

// Many marks a flag that takes several values.
func (a *AcceptedRoots) Many() {}

// Type is what the help shows.
func (a *AcceptedRoots) Type() string { return "REPOSITORY=KEYID" }

// String lists the accepted roots, sorted.
func (a *AcceptedRoots) String() string {
	var all []string
	for gun, id := range *a {
		all = append(all, gun.String()+"="+id)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// AcceptRoots makes the session accept the roots when the repositories are read. A root that would have no effect is
// an error, as it is probably a typing error.
func (f *Session) AcceptRoots(a AcceptedRoots) error {
	for _, gun := range slices.SortedFunc(maps.Keys(a), dct.GUN.Compare) {
		switch id := a[gun]; {
		case !slices.Contains(f.GUNs, gun):
			return cli.Usage(fmt.Errorf("--accept-root %s: it is not among the repositories of this call\nhint: name it as an argument, too", gun))
		case !f.pins.Exactly(gun, id):
			return cli.Usage(fmt.Errorf("--accept-root %s: key id %s is not pinned under this name\nhint: pin the id that the owner of the repository gives you with --trust-pinning, under certs or root-keys; a prefix or an authority is not enough", gun, id))
		}
	}
	f.accepted = a
	return nil
}

// OnlyAccepted reports whether a configuration differs from the ledger's only in the pins of repositories whose new
// roots are accepted.
func (a AcceptedRoots) OnlyAccepted(known, now *state.Fingerprint) bool {
	var differs *state.FingerprintError
	if !errors.As(known.Check(now), &differs) {
		return false
	}
	return !slices.ContainsFunc(differs.Fields, func(field string) bool {
		name, _ := now.Pin(field)
		gun, err := dct.ParseGUN(name)
		return err != nil || a[gun] == ""
	})
}

// NamingRoots adds to the error for a changed configuration which roots the ledger knows of the repositories that are
// now pinned differently: accepting the change would not replace those roots.
func (a AcceptedRoots) NamingRoots(err error, ledger *state.Ledger, now *state.Fingerprint) error {
	var differs *state.FingerprintError
	if !errors.As(err, &differs) {
		return err
	}
	for _, field := range differs.Fields {
		name, ids := now.Pin(field)
		if gun, err := dct.ParseGUN(name); err != nil || a[gun] != "" {
			continue // a prefix, or an accepted one
		}
		before, found, lerr := ledger.Repository(name)
		known := slices.Concat(before.RootKeyIDs, before.RootKeys)
		if lerr != nil || !found || slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(known, id) }) {
			continue
		}
		return fmt.Errorf("%s: the ledger knows root %s, your pin says %s: %w", safetext.Safe(name, 256),
			safetext.Safe(strings.Join(before.RootKeyIDs, ", "), 512), strings.Join(ids, ", "), err)
	}
	return err
}
