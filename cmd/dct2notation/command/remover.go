package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
)

// remover is the registry as undoing needs it.
type remover struct{ shelf }

// Stored compares what the registry has with what the ledger says of it.
func (s *remover) Stored(ctx context.Context, c migrate.Claim) (bool, error) {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return false, classed(err)
	}
	got, there, err := r.StoredSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
	if err != nil || !there {
		return false, classed(err)
	}
	if err := proven(c, got); err != nil {
		return false, &migrate.Failure{Class: migrate.Security, Err: fmt.Errorf(
			"signature %s of %s@%s: %w\nhint: the ledger does not tell the truth about it; nothing of this image was deleted",
			safetext.Safe(c.Signature, 80), safetext.Safe(c.Key.Repository, 256), c.Key.Digest, err)}
	}
	return true, nil
}

// proven returns an error unless a signature is the one that the ledger says a run has made.
// The GUN tells it from those that the same key made by other tools.
func proven(c migrate.Claim, s registry.Stored) error {
	says, err := notation.Read(s.MediaType, s.Envelope)
	if err != nil {
		return err
	}
	by, gun := notation.Thumbprint(says.Chain[0]), says.Target.Annotations[migrate.MetadataGUN]
	switch {
	case by != c.Leaf:
		return fmt.Errorf("it is by certificate %s, and the ledger says by %s", by, safetext.Safe(c.Leaf, 80))
	case says.Target.Digest.String() != c.Key.Digest:
		return fmt.Errorf("it is over %s", safetext.Safe(says.Target.Digest.String(), 80))
	case gun == "":
		return errors.New("it was not made by this tool")
	case gun != c.GUN:
		return fmt.Errorf("it is of repository %s, and the ledger says of %s", safetext.Safe(gun, 256), safetext.Safe(c.GUN, 256))
	}
	return nil
}

func (s *remover) Unlist(ctx context.Context, c migrate.Claim) error {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return classed(err)
	}
	return classed(r.UnlistSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature)))
}

func (s *remover) Remove(ctx context.Context, c migrate.Claim) error {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return classed(err)
	}
	err = r.RemoveSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
	switch {
	case errors.Is(err, registry.ErrDeleteRefused):
		return &migrate.Failure{Class: migrate.Unsupported, Err: err}
	case registry.Classify(err) == registry.Auth && !strings.Contains(err.Error(), "hint: "):
		err = fmt.Errorf("%w\nhint: log in with docker login, or give -u and --password-stdin, as a user who may delete in this repository", err)
	}
	return classed(err)
}
