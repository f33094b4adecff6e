package dct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// Changed is a repository that a changefeed names.
type Changed struct {
	GUN     string // as the server says it; anything at all
	Deleted bool   // the last thing that happened to it
}

// changesPage is how many records are asked for at a time.
const changesPage = 1000

// Changes reads the changefeed of the Notary server of a registry host, from behind the
// position to its end, and returns the repositories in it, each once with what happened
// last, and the new position. Positions are the server's own and opaque; empty is the
// beginning. The server lets only those read it whose credentials cover everything.
func (s *Server) Changes(ctx context.Context, registry, after string) (changed []Changed, position string, err error) {
	last := map[string]int{} // index in changed
	position = after
	for {
		page, err := s.changes(ctx, registry, position)
		if err != nil {
			return nil, "", err
		}
		for _, r := range page {
			if r.ID == position {
				return nil, "", fmt.Errorf("reading the changefeed of %s: it goes in circles", s.URL(registry))
			}
			i, known := last[r.GUN]
			if !known {
				i = len(changed)
				last[r.GUN] = i
				changed = append(changed, Changed{})
			}
			changed[i] = Changed{r.GUN, r.Category == "deletion"}
		}
		if len(page) == 0 {
			return changed, position, nil
		}
		position = page[len(page)-1].ID
	}
}

type feedRecord struct {
	ID       string `json:"ID"`
	GUN      string `json:"GUN"`
	SHA256   string `json:"SHA256"` // of the timestamp
	Category string `json:"Category"`
}

// lastTimestamp gives the SHA-256, in hex, of the newest timestamp that a repository's own
// changefeed names.
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
	fail := func(err error, hint string) error {
		if hint != "" {
			hint = "\nhint: " + hint
		}
		return fmt.Errorf("reading the changefeed of %s: %w%s", base, err, hint)
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
	resp, err := s.HTTP(registry).Do(req)
	if err != nil {
		return nil, fail(redact(ctx, err), "")
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return nil, fail(fmt.Errorf("it answered %d", resp.StatusCode),
			"the changefeed wants an administrator's credentials, and Docker Hub, Azure and Harbor have none for you: try --discover catalog")
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxTargets))
	if err != nil {
		return nil, fail(redact(ctx, err), "")
	}
	var page struct {
		Count   int          `json:"count"`
		Records []feedRecord `json:"records"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, fail(errors.New("the answer is no changefeed"), "is that a Notary v1 server?")
	}
	if page.Count != len(page.Records) {
		return nil, fail(fmt.Errorf("the answer says %d records and has %d", page.Count, len(page.Records)), "")
	}
	return page.Records, nil
}

// redact makes an error of the HTTP stack fit to be shown; ctx's own stays.
func redact(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return transport.Redact(err)
}
