package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// A Budget bounds one list of tags or repositories, since a server could send pages forever.
type Budget struct {
	Pages int           // at most, with pageBytes of names on average; 0: 10,000
	Time  time.Duration // from the first request to the last page; 0: an hour
}

const (
	defaultPages = 10_000
	defaultTime  = time.Hour
	pageBytes    = 32 << 10
)

// ErrBudget is returned for a list that is longer than its Budget, takes longer, or repeats itself.
var ErrBudget = errors.New("the list does not end")

// A boundError says which bound a list exceeded, and which flag raises it.
type boundError struct{ what, flag string }

func (e *boundError) Error() string { return ErrBudget.Error() + ": " + e.what }
func (e *boundError) Unwrap() error { return ErrBudget }

// run calls list with a function that consumes its pages. If the time ran out, run returns that instead of list's
// error.
func (b Budget) run(ctx context.Context, each func(name string) error, list func(ctx context.Context, page func([]string) error) error) error {
	if b.Pages == 0 {
		b.Pages = defaultPages
	}
	if b.Time == 0 {
		b.Time = defaultTime
	}
	late := &boundError{fmt.Sprintf("it took longer than %s", b.Time), "--list-timeout"}
	ctx, cancel := context.WithTimeoutCause(ctx, b.Time, late)
	defer cancel()
	pages, size := 0, int64(0)
	first := map[string]bool{} // the first names of pages
	err := list(ctx, func(names []string) error {
		pages++
		for _, n := range names {
			size += int64(len(n))
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case pages > b.Pages:
			return &boundError{fmt.Sprintf("it has more than %d pages", b.Pages), "--max-pages"}
		case size > int64(b.Pages)*pageBytes:
			return &boundError{fmt.Sprintf("it has more than %d bytes of names", int64(b.Pages)*pageBytes), "--max-pages"}
		case len(names) > 0 && first[names[0]]:
			return &boundError{fmt.Sprintf("it goes round after %d pages", pages-1), ""}
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
	if err != nil && errors.Is(context.Cause(ctx), late) {
		return late
	}
	return err
}

// Catalog calls each with the names of a registry's repositories, without the host, page by page to the end. The
// names are unchecked data from the server. Docker Hub has no catalogue.
func (c *Client) Catalog(ctx context.Context, host string, each func(name string) error) (err error) {
	defer func() { err = classed(err) }()
	reg, err := remote.NewRegistry(host)
	if err != nil {
		return fmt.Errorf("listing the repositories of %s: %w", host, transport.Redact(err))
	}
	reg.Client = checked{c.client}
	reg.PlainHTTP = c.o.PlainHTTP(host)
	err = c.o.Lists.run(ctx, each, func(ctx context.Context, page func([]string) error) error {
		return reg.Repositories(ctx, "", page)
	})
	if err != nil {
		return advised(fmt.Errorf("listing the repositories of %s: %w", host, transport.Redact(err)), hint(err))
	}
	return nil
}
