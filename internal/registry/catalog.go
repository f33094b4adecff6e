package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// A Budget bounds one list of tags, or of repositories: a server could go on for ever.
type Budget struct {
	Pages int           // at most, each of pageBytes of names on average; 0: 10,000
	Time  time.Duration // from the first request to the last page; 0: an hour
}

const (
	defaultPages = 10_000
	defaultTime  = time.Hour
	pageBytes    = 32 << 10
)

// ErrBudget is returned for a list that is longer than its Budget, takes longer, or goes round.
var ErrBudget = errors.New("the list does not end")

// run calls list with a function that takes its pages. What list returns is replaced where the
// time ran out.
func (b Budget) run(ctx context.Context, each func(name string) error, list func(ctx context.Context, page func([]string) error) error) error {
	if b.Pages == 0 {
		b.Pages = defaultPages
	}
	if b.Time == 0 {
		b.Time = defaultTime
	}
	late := fmt.Errorf("%w: it took longer than %s\nhint: --list-timeout raises that", ErrBudget, b.Time)
	ctx, cancel := context.WithTimeoutCause(ctx, b.Time, late)
	defer cancel()
	pages, size := 0, int64(0)
	first := map[string]bool{} // names that pages begin with
	err := list(ctx, func(names []string) error {
		pages++
		for _, n := range names {
			size += int64(len(n))
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case pages > b.Pages:
			return fmt.Errorf("%w: it has more than %d pages\nhint: --max-pages raises that", ErrBudget, b.Pages)
		case size > int64(b.Pages)*pageBytes:
			return fmt.Errorf("%w: it has more than %d bytes of names\nhint: --max-pages raises that", ErrBudget, int64(b.Pages)*pageBytes)
		case len(names) > 0 && first[names[0]]:
			return fmt.Errorf("%w: it goes round after %d pages", ErrBudget, pages-1)
		case len(names) > 0:
			first[names[0]] = true
		}
		for _, n := range names {
			if err := each(n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && context.Cause(ctx) == late {
		return late
	}
	return err
}

// Catalog calls each with the names of a registry's repositories, without the host, page
// by page to the end. The names are the server's: anything at all. Docker Hub has no
// catalogue.
func (c *Client) Catalog(ctx context.Context, host string, each func(name string) error) error {
	reg, err := remote.NewRegistry(host)
	if err != nil {
		return fmt.Errorf("listing the repositories of %s: %w", host, transport.Redact(err))
	}
	reg.Client = c.o.Client
	reg.PlainHTTP = c.o.PlainHTTP(host)
	err = c.o.Lists.run(ctx, each, func(ctx context.Context, page func([]string) error) error {
		return reg.Repositories(ctx, "", page)
	})
	if err != nil {
		return fmt.Errorf("listing the repositories of %s: %w", host, transport.Redact(err))
	}
	return nil
}
