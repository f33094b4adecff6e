package command

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/signature"
)

// remover is the registry as undoing needs it.
type remover struct {
	shelf
	named []signature.Identity // whose signatures may be deleted; none: nothing is
}

// Stored compares what the registry has with what the ledger says of it.
func (s *remover) Stored(ctx context.Context, c migrate.Claim) lookup.Answer[migrate.Claim] {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return lookup.Unknown[migrate.Claim](err)
	}
	stored, err := r.StoredSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature)).Result()
	if err != nil {
		return lookup.Of(c, err)
	}
	by, hint := signature.Identity{}, "the ledger does not tell the truth about it; nothing of this image was deleted"
	if by, err = proven(c, stored); err == nil && len(s.named) > 0 && !slices.ContainsFunc(s.named, by.Equal) {
		err = fmt.Errorf("it is by certificate %s, which is not among those that are named", by.Leaf())
		hint = "if that is a certificate of yours, name it with --certificate too; nothing of this image was deleted"
	}
	if err != nil {
		return lookup.Unknown[migrate.Claim](failure.New(failure.Security, fmt.Errorf("signature %s of %s@%s: %w\nhint: %s",
			safetext.Safe(c.Signature, 80), safetext.Safe(c.Key.Repository, 256), c.Key.Digest, err, hint)))
	}
	return lookup.Found(c)
}

// proven returns by whom a signature is, or an error unless it is the one that the ledger says a run
// has made. The GUN tells it from those that the same key made by other tools.
func proven(c migrate.Claim, s registry.Stored) (by signature.Identity, err error) {
	says, err := notation.Read(s.MediaType, s.Envelope)
	if err != nil {
		return by, err
	}
	by, gun := signature.Certificate(says.Chain[0]), says.Target.Annotations[migrate.MetadataGUN]
	switch {
	case by.Leaf() != c.Leaf:
		return by, fmt.Errorf("it is by certificate %s, and the ledger says by %s", by.Leaf(), safetext.Safe(c.Leaf, 80))
	case says.Target.Digest.String() != c.Key.Digest:
		return by, fmt.Errorf("it is over %s", safetext.Safe(says.Target.Digest.String(), 80))
	case gun == "":
		return by, errors.New("it was not made by this tool")
	case gun != c.GUN:
		return by, fmt.Errorf("it is of repository %s, and the ledger says of %s", safetext.Safe(gun, 256), safetext.Safe(c.GUN, 256))
	}
	return by, nil
}

func (s *remover) Unlist(ctx context.Context, c migrate.Claim) error {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return err
	}
	return r.UnlistSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
}

func (s *remover) Remove(ctx context.Context, c migrate.Claim) error {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return err
	}
	err = r.RemoveSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
	if errors.Is(err, registry.ErrDeleteRefused) {
		return failure.New(failure.Unsupported, err)
	}
	return err
}
