package signature

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
	"github.com/dct2notation/dct2notation/notation"
)

// Claim is a ledger's record of a signature made by a run. It can be forged.
type Claim struct {
	Image     digest.Digest
	Signature digest.Digest // of its manifest
	Leaf      string        // SHA-256 of the signing certificate, in hex
	GUN       string
}

// Proof decides which signatures undo may delete.
type Proof struct {
	Named       []notation.Identity // whose signatures may be deleted; none: any with a true claim
	MetadataGUN string              // the metadata key of the GUN in our envelopes
}

// Check returns the claim if the registry has the signature and it is what is claimed: a Notation signature of
// exactly this image, made by this tool for this GUN, with this certificate, by one of the named identities. It is
// absent only if the registry itself says that it has nothing under the digest. A failure of class security says that
// it has something else there.
func (p Proof) Check(ctx context.Context, r *registry.Repository, c Claim) lookup.Answer[Claim] {
	stored, err := r.StoredSignature(ctx, c.Image, c.Signature).Result()
	if err != nil {
		return lookup.Of(c, err)
	}
	hint := "the ledger does not tell the truth about it; nothing of this image was deleted"
	says, err := p.proven(c, stored)
	if err == nil && len(p.Named) > 0 && !slices.ContainsFunc(p.Named, func(i notation.Identity) bool { return i.Matches(says) == nil }) {
		err = fmt.Errorf("it is by certificate %s, which is not among those that are named", notation.Thumbprint(says.Chain[0]))
		hint = "if that is a certificate of yours, name it with --certificate too; nothing of this image was deleted"
	}
	if err != nil {
		return lookup.Unknown[Claim](failure.WithHint(failure.Security, fmt.Errorf("signature %s of %s@%s: %w",
			safetext.Safe(c.Signature.String(), 80), safetext.Safe(r.Name(), 256), c.Image, err), hint))
	}
	return lookup.Found(c)
}

// proven returns the contents of a signature, or an error unless it is the one that the ledger records. The GUN
// distinguishes it from signatures that other tools made with the same key.
func (p Proof) proven(c Claim, s registry.Stored) (says notation.Contents, err error) {
	says, err = notation.Read(s.MediaType, s.Envelope)
	if err != nil {
		return says, err
	}
	leaf, gun := notation.Thumbprint(says.Chain[0]), says.Target.Annotations[p.MetadataGUN]
	switch {
	case leaf != c.Leaf:
		return says, fmt.Errorf("it is by certificate %s, and the ledger says by %s", leaf, safetext.Safe(c.Leaf, 80))
	case says.Target.Digest != c.Image:
		return says, fmt.Errorf("it is over %s", safetext.Safe(says.Target.Digest.String(), 80))
	case gun == "":
		return says, errors.New("it was not made by this tool")
	case gun != c.GUN:
		return says, fmt.Errorf("it is of repository %s, and the ledger says of %s", safetext.Safe(gun, 256), safetext.Safe(c.GUN, 256))
	}
	return says, nil
}
