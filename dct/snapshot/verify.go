package snapshot

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// Result is the result of [Verify] for one repository.
type Result struct {
	GUN      dct.GUN
	Manifest digest.Digest // names the repository's trust data as a whole
	Targets  int           // trusted ones
	Findings int           // entries that are not trusted targets
	Expiries []dct.Expiry
	Expired  []string // what is expired and was allowed to be
	Judged   dct.Judged
	PinnedBy string
	// Signatures counts the manifest's signatures; Signature is the judge's verdict on them.
	Signatures int
	Signature  Verdict
	Err        error // an *dct.Error; nil if everything verifies
}

// Verify checks a snapshot without any server: each file's bytes, and the trust data as reader judges it, with the
// root chain. It does not use the reader's Source. With a judge, each repository needs a trusted signature, and
// expiry is judged at the time it was signed; without one, expiry is judged now. Results are sorted by GUN; a failing
// repository is a result, not an error. An error means that the snapshot cannot be opened, or that ctx has ended.
func Verify(ctx context.Context, dir string, reader *dct.Reader, judge Judge) ([]Result, error) {
	s, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }() // only read from
	var results []Result
	for _, gun := range s.GUNs() {
		r := s.verify(ctx, gun, *reader, judge)
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		results = append(results, r)
	}
	return results, nil
}

func (s *Snapshot) verify(ctx context.Context, gun dct.GUN, reader dct.Reader, judge Judge) Result {
	e := s.entries[gun]
	result := Result{GUN: gun, Manifest: e.manifest.digest(), Signatures: s.Signatures(gun)}
	if result.Err = s.intact(ctx, gun); result.Err != nil {
		return result
	}
	reader.Source = s
	if result.Signature, result.Err = s.Signature(ctx, gun, judge); result.Err != nil {
		return result
	}
	if judge != nil && !result.Signature.Trusted {
		result.Err = &dct.Error{
			GUN: gun.String(), Kind: dct.ErrRefused, Err: errors.New(result.Signature.Reason),
			Hint: "with a trust policy for the snapshot, each repository in it needs a signature that the policy trusts",
		}
		return result
	}
	reader.TimeAttestation = sightOf(result.Signature)
	// Read first without the chain: its oldest root would count as pinned.
	repository, err := reader.Read(ctx, gun, dct.Known{})
	if err != nil {
		result.Err = err
		return result
	}
	result.Targets, result.Findings = len(repository.Targets()), len(repository.Findings())
	result.Expiries, result.Expired, result.PinnedBy = repository.Expiries(), repository.Expired(), repository.PinnedBy()
	result.Judged = repository.Judged()
	if chain := e.chain(); len(chain) > 0 {
		result.Err = follow(ctx, reader, gun, chain[0].name)
	}
	return result
}

// intact reads everything that the manifest lists, even what verification would not request.
func (s *Snapshot) intact(ctx context.Context, gun dct.GUN) error {
	e := s.entries[gun]
	if e.damage != nil {
		return e.damage
	}
	if _, err := s.blob(ocispec.DescriptorEmptyJSON.Digest, ocispec.DescriptorEmptyJSON.Size); err != nil {
		return blame(gun, "", "the config of its manifest", err)
	}
	if err := s.intactSignatures(gun); err != nil {
		return err
	}
	for _, f := range e.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := s.read(gun, f); err != nil {
			return err
		}
	}
	return nil
}

// intactSignatures reads the signatures of a repository's manifest. A lost manifest may be one, for any repository
// without a signature.
func (s *Snapshot) intactSignatures(gun dct.GUN) error {
	manifest, _ := s.Manifest(gun)
	list := s.signatures(manifest)
	for _, a := range list {
		if _, err := s.blob(a.envelope.Digest, a.envelope.Size); err != nil {
			return blame(gun, "", "a signature of its manifest", err)
		}
	}
	if len(list) == 0 && s.lost != nil {
		return blame(gun, "", "a manifest that may be its signature", s.lost)
	}
	return nil
}

// follow verifies the root chain in the reader's source, from one version to the newest: each must be signed by the
// previous one. Pins must have verified the newest root before, since following a chain trusts its beginning.
func follow(ctx context.Context, reader dct.Reader, gun dct.GUN, from string) error {
	raw, err := reader.Source.File(ctx, gun, from, maxRoot)
	if err != nil {
		return err
	}
	_, err = reader.Read(ctx, gun, dct.Known{Root: raw})
	return err
}
