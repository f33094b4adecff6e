package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// maxUnsigned is how many repositories without trust data of a Notary server are tried before its address is doubted.
const maxUnsigned = 3

// trustData reads one repository of each Notary server: more would crash the servers, and a run reads the others soon
// enough. It returns one target for each repository that could be read.
func (e *exam) trustData(ctx context.Context, f *session.Session, ledger *state.Ledger) map[dct.GUN]dct.Target {
	targets := map[dct.GUN]dct.Target{}
	var servers []string // in the order of the repositories
	of := map[string][]dct.GUN{}
	for _, gun := range f.GUNs {
		server := f.Opts.Source
		if f.Opts.FromServer() {
			server = f.NotaryURL(gun.Registry())
		}
		if of[server] == nil {
			servers = append(servers, server)
		}
		of[server] = append(of[server], gun)
	}
	for _, server := range servers {
		e.notary(ctx, f, ledger, server, of[server], targets)
	}
	return targets
}

// unpinned counts the repositories for which nobody has said which root to trust: a run reads none of them. Of those
// that were only found, some may have no trust data.
func (e *exam) unpinned(f *session.Session, ledger *state.Ledger) {
	var all []dct.GUN
	result := report.Warn
	for _, gun := range f.GUNs {
		if known, err := remembered(ledger, gun); f.Anchored(gun) || err == nil && known.Root != nil {
			continue
		}
		all = append(all, gun)
		if !f.Found(gun) {
			result = report.Fail
		}
	}
	if len(all) > 1 { // if there is one, the check of its trust data reports it
		e.add(report.Check{
			Check: "pins", Subject: all[0].String() + ", ...", Result: result,
			Detail: fmt.Sprintf("%d of %s have no pin, and are not read", len(all), safetext.Count(len(f.GUNs), "repository")),
			Hint:   "dct2notation pins lists their roots; pin those that you trust",
		})
	}
}

// notary reads repositories of one server until one has trust data.
func (e *exam) notary(ctx context.Context, f *session.Session, ledger *state.Ledger, server string, guns []dct.GUN, targets map[dct.GUN]dct.Target) {
	reader := f.Reader()
	reader.Cache = nil // ask the server for everything
	for i, gun := range guns {
		if i == maxUnsigned {
			break
		}
		known, err := remembered(ledger, gun)
		if err != nil {
			e.failed("ledger", gun.String(), err)
		}
		r, err := reader.Read(ctx, gun, known)
		if err == nil {
			e.reached(f, server, gun)
			e.verified(r, len(guns))
			if all := r.Targets(); len(all) > 0 {
				targets[gun] = all[0]
			}
			return
		}
		if !e.unreadable(f, server, gun, err) {
			return
		}
	}
	if f.Opts.FromServer() {
		e.add(report.Check{
			Check: "notary-server", Subject: server, Result: report.Fail,
			Detail: fmt.Sprintf("none of its first %d repositories (of %d) has trust data%s", min(len(guns), maxUnsigned), len(guns), f.Origin(server)),
			Hint:   session.WrongURL,
		})
	}
}

// reached records that a Notary server answered as such, and whether it accepted our credentials: it may not have
// asked for any, or accept a token that anybody gets.
func (e *exam) reached(f *session.Session, server string, gun dct.GUN) {
	switch {
	case !f.Opts.FromServer():
	case f.LoggedIn(gun.Registry()):
		e.ok("notary-server", server, "answers, and accepts the credentials%s", f.Origin(server))
	default:
		e.ok("notary-server", server, "answers, and was given no credentials%s", f.Origin(server))
	}
}

// verified records that trust data passed.
func (e *exam) verified(r *dct.Repository, of int) {
	detail := fmt.Sprintf("verifies, pinned by %s, %s", r.PinnedBy(), safetext.Count(len(r.Targets()), "tag"))
	if expired := r.Expired(); len(expired) > 0 {
		detail += ", expired, allowed by --allow-expired: " + strings.Join(expired, ", ")
	}
	if first := slices.MinFunc(r.Expiries(), func(a, b dct.Expiry) int { return a.At.Compare(b.At) }); first.Role != "" {
		detail += fmt.Sprintf(", %s until %s", first.Role, first.At.UTC().Format(time.DateOnly))
	}
	if of > 1 {
		detail += fmt.Sprintf("; not read: %d more", of-1)
	}
	e.ok("trust-data", r.GUN().String(), "%s", detail)
}

// unreadable records why trust data could not be read, and reports whether trying another repository of the server
// may say more.
func (e *exam) unreadable(f *session.Session, server string, gun dct.GUN, err error) (next bool) {
	fromServer := f.Opts.FromServer()
	var where *dct.Error
	switch {
	case errors.Is(err, dct.ErrUnsigned):
		result := report.Fail
		if f.Found(gun) {
			result = report.Warn // a repository that was found and has none is skipped
		}
		e.ended(result, "trust-data", gun.String(), err)
		return true
	case fromServer && errors.Is(err, dct.ErrDenied):
		e.ok("notary-server", server, "answers%s", f.Origin(server))
		e.failed("notary-credentials", server, err)
	case fromServer && (errors.Is(err, dct.ErrNotNotary) || errors.Is(err, dct.ErrUnavailable) && errors.As(err, &where) && where.Role == "root"):
		e.failed("notary-server", server, err)
	default:
		if !errors.Is(err, dct.ErrUnavailable) {
			e.reached(f, server, gun)
		}
		e.failed("trust-data", gun.String(), err)
	}
	return false
}

// notaryServers checks whether something answers at the addresses of the hosts' Notary servers; more cannot be
// checked without a repository.
func (e *exam) notaryServers(ctx context.Context, f *session.Session, hosts []string) {
	var servers []string
	if f.Opts.NotaryServer != "" {
		servers = append(servers, strings.TrimSuffix(f.Opts.NotaryServer, "/"))
	} else {
		for _, h := range hosts {
			servers = append(servers, f.NotaryURL(h))
		}
	}
	if !f.Opts.FromServer() {
		servers = nil
	}
	slices.Sort(servers)
	for _, server := range slices.Compact(servers) {
		if err := ping(ctx, f.Servers, server); err != nil {
			e.failed("notary-server", server, err)
			continue
		}
		e.ok("notary-server", server, "answers; only a repository can show whether it is a Notary server")
	}
}

// ping requests /v2/ without credentials: a Notary server requires those of an administrator for that.
func ping(ctx context.Context, r *session.Servers, server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return errors.New("not a valid address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/v2/", nil)
	if err != nil {
		return transport.Redact(err)
	}
	c := transport.Client(r.Transport, nil).Client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		return transport.Redact(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	begins, err := io.ReadAll(io.LimitReader(resp.Body, 512))
	switch {
	case err != nil:
		return transport.Redact(err)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("the server answers %d, a redirect to %s\nhint: if that is the Notary server's new address, configure it as notary-server", resp.StatusCode, safetext.Safe(resp.Header.Get("Location"), 200))
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized:
		return fmt.Errorf("it answers %d\nhint: check the Notary URL", resp.StatusCode)
	case transport.MediaType(resp.Header) == "text/html" || strings.HasPrefix(strings.TrimSpace(string(begins)), "<"):
		return errors.New("the server answers with a web page\nhint: check the Notary URL; Harbor's is https://<host>:4443")
	}
	return nil
}
