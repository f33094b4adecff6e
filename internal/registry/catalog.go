package registry

import (
	"context"
	"fmt"

	"oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/internal/transport"
)

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
	err = reg.Repositories(ctx, "", func(names []string) error {
		for _, name := range names {
			if err := each(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing the repositories of %s: %w", host, transport.Redact(err))
	}
	return nil
}
