package dct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// Changed is a repository that a changefeed names.
type Changed struct {
	GUN string // unchecked, from the server
	// Deleted: the last record says that the trust data was deleted. Records can be late and out of order, so only
	// [Server.Root] or a read can tell whether it is gone.
	Deleted bool
}

// ErrFeedRefused is returned for a server that lets nobody read its changefeed or has none, like those of Docker Hub,
// Azure and Harbor. Only the Notary server's own codes, or its token server's, show that. A server in trouble does
// not count, nor a proxy's refusal, nor a 404 that is not the Notary server's, with which old ones say that they have
// no changefeed.
var ErrFeedRefused = errors.New("the changefeed is refused")

// A Feed is what a changefeed has said up to its end. It does not change, and is safe for concurrent use. It has no
// authority: it lives in one process, and is compared with the server each time it is followed (docs/adr/0003).
type Feed struct {
	all    []Changed    // each repository once, in order of first appearance
	before string       // position of the record before the tail
	tail   []feedRecord // the last records, oldest first; less than a page
}

// All returns every repository in the feed, each once with its last change.
func (f *Feed) All() []Changed { return slices.Clone(f.all) }

const (
	// changesPage is how many records are requested at a time.
	changesPage = 1000
	// tailLength is the least number of last records that are read again when a feed is followed: servers number
	// records before they commit them, so one may come late.
	tailLength = changesPage / 2
	// maxRecords bounds an endless changefeed. One timestamp is one record.
	maxRecords = 10_000_000
	// maxNames bounds the repositories that one changefeed names.
	maxNames = 1_000_000
	maxName  = 1024 // bytes; a Notary server's database holds 255
	maxPage  = 8 << 20
)

// Changes reads the changefeed of the Notary server of a registry host to its end. It returns the whole feed so far
// and the repositories changed since an earlier Feed, each once with its last change. If since is nil, or the
// server's records differ from it, as after its database was rebuilt, these are all repositories in the feed. The
// server requires credentials that cover everything.
func (s *Server) Changes(ctx context.Context, registry string, since *Feed) (*Feed, []Changed, error) {
	limited, cancel := within(ctx, s.MaxTime)
	defer cancel()
	if since != nil {
		if now, changed := s.follow(limited, registry, since); now != nil {
			return now, changed, nil
		}
	}
	b := newFeedBuilder(&Feed{})
	err := s.records(limited, registry, "", b.add)
	switch {
	case err != nil && limited.Err() != nil && ctx.Err() == nil:
		return nil, nil, fmt.Errorf("reading the changefeed of %s: %w\nhint: %s", transport.RedactText(s.URL(registry)), tooSlow(s.MaxTime), hintSlow)
	case err != nil:
		return nil, nil, err
	}
	return &b.feed, b.feed.All(), nil
}

// follow continues a feed. It reads its last records again, and returns nil unless all of them are there. It returns
// nil for an error too: the server may no longer know the position.
func (s *Server) follow(ctx context.Context, registry string, since *Feed) (*Feed, []Changed) {
	missing := map[feedRecord]bool{}
	for _, r := range since.tail {
		missing[r] = true
	}
	b := newFeedBuilder(since)
	fresh := map[string]bool{}
	err := s.records(ctx, registry, since.before, func(r feedRecord) error {
		if missing[r] {
			delete(missing, r)
		} else {
			fresh[r.GUN] = true
		}
		return b.add(r) // known ones too: of two records, the later one counts
	})
	if err != nil || len(missing) > 0 {
		return nil, nil
	}
	var changed []Changed
	for _, c := range b.feed.all {
		if fresh[c.GUN] {
			changed = append(changed, c)
		}
	}
	return &b.feed, changed
}

// records calls each for every record after a position, to the end of the feed.
func (s *Server) records(ctx context.Context, registry, after string, each func(feedRecord) error) error {
	fail := func(err error) error {
		return fmt.Errorf("reading the changefeed of %s: %w", transport.RedactText(s.URL(registry)), err)
	}
	limit := s.MaxRecords
	if limit == 0 {
		limit = maxRecords
	}
	passed := map[string]bool{after: true}
	for n := 0; ; {
		page, err := s.changes(ctx, registry, after)
		if err != nil || len(page) == 0 {
			return err
		}
		if n += len(page); n > limit {
			return fail(fmt.Errorf("it has more than %d records\nhint: if the server is in order, raise --max-changefeed-records", limit))
		}
		for _, r := range page {
			r.GUN = r.GUN[:min(len(r.GUN), maxName)]
			if err := each(r); err != nil {
				return fail(err)
			}
		}
		after = page[len(page)-1].ID
		if passed[after] {
			return fail(errors.New("its pages repeat"))
		}
		passed[after] = true
	}
}

// feedBuilder builds a Feed from records.
type feedBuilder struct {
	feed Feed
	at   map[string]int // index in all
}

// newFeedBuilder begins with a feed's content except its tail.
func newFeedBuilder(from *Feed) *feedBuilder {
	b := &feedBuilder{feed: Feed{all: from.All(), before: from.before}, at: map[string]int{}}
	for i, c := range b.feed.all {
		b.at[c.GUN] = i
	}
	return b
}

func (b *feedBuilder) add(r feedRecord) error {
	f := &b.feed
	i, known := b.at[r.GUN]
	if !known {
		if len(f.all) == maxNames {
			return fmt.Errorf("it names more than %d repositories", maxNames)
		}
		i = len(f.all)
		b.at[r.GUN] = i
		f.all = append(f.all, Changed{})
	}
	f.all[i] = Changed{r.GUN, r.Category == "deletion"}
	f.tail = append(f.tail, r)
	if len(f.tail) == 2*tailLength {
		f.before = f.tail[tailLength-1].ID
		f.tail = append([]feedRecord(nil), f.tail[tailLength:]...)
	}
	return nil
}

// Root asks the server for the newest root of a repository, unverified. It shows whether a repository that a
// changefeed calls deleted is gone.
func (s *Server) Root(ctx context.Context, gun GUN) lookup.Answer[[]byte] {
	return lookup.Of(s.file(ctx, gun, "root", maxRoot))
}

type feedRecord struct {
	ID       string `json:"ID"`
	GUN      string `json:"GUN"`
	SHA256   string `json:"SHA256"` // of the timestamp
	Category string `json:"Category"`
}

// lastTimestamp returns the SHA-256, in hex, of the newest timestamp in a repository's own changefeed.
func (s *Server) lastTimestamp(ctx context.Context, gun GUN) (string, error) {
	scope := auth.ScopeRepository(gun.String(), auth.ActionPull)
	query := url.Values{"records": {"1"}, "change_id": {"-1"}}
	page, err := s.feed(ctx, gun.Registry(), "/v2/"+gun.String()+"/_trust/changefeed?"+query.Encode(), scope)
	if err != nil {
		return "", &Error{GUN: gun.String(), Role: "timestamp", Kind: ErrUnavailable, Err: err}
	}
	if len(page) != 1 || page[0].GUN != gun.String() || page[0].Category == "deletion" || len(page[0].SHA256) != 64 || strings.Trim(page[0].SHA256, "0123456789abcdef") != "" {
		return "", &Error{GUN: gun.String(), Role: "timestamp", Kind: ErrIncomplete, Err: errors.New("the changefeed names no timestamp of it")}
	}
	return page[0].SHA256, nil
}

func (s *Server) changes(ctx context.Context, registry, after string) ([]feedRecord, error) {
	query := url.Values{"records": {fmt.Sprint(changesPage)}, "change_id": {after}}
	return s.feed(ctx, registry, "/v2/_trust/changefeed?"+query.Encode(), "registry:catalog:*")
}

// feed reads one page of a changefeed.
func (s *Server) feed(ctx context.Context, registry, path, scope string) ([]feedRecord, error) {
	base := s.URL(registry)
	shown := transport.RedactText(base)
	fail := func(err error, hint string) error {
		if hint != "" {
			hint = "\nhint: " + hint
		}
		return fmt.Errorf("reading the changefeed of %s: %w%s", shown, err, hint)
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fail(errors.New("its URL cannot be parsed"), "")
	}
	ctx = auth.WithScopesForHost(ctx, u.Host, scope)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, fail(err, "")
	}
	req.Header.Set("Cache-Control", "no-cache") // the answer to the same request changes
	resp, err := s.HTTP(registry).Do(req)
	const hint = "the changefeed wants an administrator's credentials, and Docker Hub, Azure and Harbor have none for you: try --discover catalog"
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &answer) && refusesToken(answer):
		return nil, fail(fmt.Errorf("%w: %w", ErrFeedRefused, redact(ctx, err)), hint)
	case err != nil:
		return nil, fail(redact(ctx, err), transport.Hint(err))
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case refuses(code) && saysOnly(resp.Body, refusals...), code == http.StatusNotFound && saysNotFound(resp.Body):
		return nil, fail(fmt.Errorf("%w: it answered %d", ErrFeedRefused, code), hint)
	case refuses(code):
		return nil, fail(fmt.Errorf("it answered %d, without the error code of a Notary server", code), "is that the Notary server, or a proxy before it? Who may not read the changefeed finds repositories with --discover catalog")
	case code == http.StatusNotFound:
		return nil, fail(fmt.Errorf("it answered %d, %w", code, ErrForeign404), "is that the Notary server, or a proxy before it?")
	default:
		return nil, fail(fmt.Errorf("it answered %d", code), hint)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	switch {
	case err != nil:
		return nil, fail(redact(ctx, err), transport.Hint(err))
	case len(raw) > maxPage:
		return nil, fail(fmt.Errorf("a page of it is larger than %d bytes", maxPage), "is that a Notary v1 server?")
	}
	var page struct {
		Count   *int            `json:"count"`
		Records json.RawMessage `json:"records"` // null if there are none, but required
	}
	var records []feedRecord
	err = json.Unmarshal(raw, &page)
	if err == nil && (page.Count == nil || page.Records == nil) {
		err = errors.New("no count or no records")
	}
	if err == nil {
		err = json.Unmarshal(page.Records, &records)
	}
	if err != nil {
		return nil, fail(errors.New("the answer is not a changefeed"), "is that a Notary v1 server?")
	}
	if *page.Count != len(records) {
		return nil, fail(fmt.Errorf("the answer says %d records and has %d", *page.Count, len(records)), "")
	}
	return records, nil
}

// refusals are the codes by which a Notary server, or a token server, refuses a request that it understood.
//
// SPEC (notary, utils/http.go: UNAUTHORIZED for any missing right; distribution: DENIED).
var refusals = []string{errcode.ErrorCodeUnauthorized, errcode.ErrorCodeDenied}

func refuses(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// refusesToken reports whether a token server refuses with its own codes: Docker Hub has none for a wrong password,
// and a proxy has none at all.
func refusesToken(answer *errcode.ErrorResponse) bool {
	return refuses(answer.StatusCode) && len(answer.Errors) > 0 &&
		!slices.ContainsFunc(answer.Errors, func(e errcode.Error) bool { return !slices.Contains(refusals, e.Code) })
}

// redact makes an error of the HTTP stack fit to be shown; ctx's own error stays.
func redact(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return transport.Redact(err)
}
