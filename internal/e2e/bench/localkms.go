//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dct2notation/dct2notation/cmd/notation-awskms/localkms"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// localKMS measures both with a key of local-kms, an emulator of AWS KMS, through the same plugin. Its
// server is in this process, whose CPU counts as that of other programs.
func localKMS(ctx context.Context, bin, dir string, out io.Writer) (err error) {
	dir = filepath.Join(dir, "localkms")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	kms := localkms.Start(filepath.Join(dir, "keys"))
	defer kms.Close()
	arn, public, err := kms.CreateKey(pki.EC256)
	if err != nil {
		return err
	}
	servers, err := startRemote(requestLatency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "home"), bin, servers.address, nil)
	if err != nil {
		return err
	}
	h.extra = kms.Env()
	authority, err := pki.NewAuthority("bench root")
	if err != nil {
		return err
	}
	id, err := authority.Issue("bench KMS key", pki.Public(public))
	if err != nil {
		return err
	}
	if err := h.write("chain.pem", id.ChainPEM()); err != nil {
		return err
	}
	if err := h.install(ctx, "notation-awskms"); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nlocal-kms: beside the loop, %d ms for each request to the registry, plugin notation-awskms\n%s", requestLatency.Milliseconds(), pairHead)
	key := []string{"--plugin", "awskms", "--id", arn, "--plugin-config", "ca_certs=" + h.path("chain.pem")}
	return (stage{remote: servers, home: h, key: key}).measurePairs(ctx, "ec-256", out)
}
