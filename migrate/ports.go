package migrate

import (
	"context"
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/state"
)

// The interfaces below are called from several goroutines at once. Their errors say what was being done and to which
// image. They are a [*Failure] if the class is known, an error of package dct, or ctx's. Any other error counts as
// permanent.

// Trust reads verified trust data; [dct.Reader] is one.
type Trust interface {
	Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error)
}

// A Signer makes Notation envelopes with one key.
type Signer interface {
	// Name is the key's name in plan, ledger and reports.
	Name() string
	// Leaf is the SHA-256 of the signing certificate in hex.
	Leaf() string
	// Sign spends one key operation and returns the envelope, checked against the expected certificate and payload.
	// Nothing is pushed. A failure of class security must not be retried. Only vouch and attest call it.
	Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error)
	// Check returns an error unless the envelope is this key's intact signature of the subject, in the manifest
	// stored with it. The error is ErrOtherCertificate if the envelope is intact and by another certificate, as one
	// made before a renewal is; ErrEnded if it has only expired; a failure of class transient if this could not be
	// found out. It spends no key operation.
	Check(ctx context.Context, subject ocispec.Descriptor, e state.Envelope) error
}

// ErrOtherCertificate is returned by Signer.Check for an envelope by another certificate.
var ErrOtherCertificate = errors.New("signed with another certificate")

// ErrEnded is returned by Signer.Check for an envelope that does not verify any more.
var ErrEnded = errors.New("the signature does not verify any more")

// ErrUnlisted is returned by Registry.Recorded for a good signature that is not listed: the list is late, or another
// writer has overwritten its entry. Signing again would make one signature too many.
var ErrUnlisted = errors.New("the registry has the signature that the ledger names, and does not list it")

// Image is a digest in a repository of a registry.
type Image struct {
	Repository string // with its host
	Descriptor ocispec.Descriptor
}

// Images reads images in registries. It never resolves a tag for signing.
type Images interface {
	// Resolve describes what the registry has under a digest. A failure of class
	// missing says that it has nothing.
	Resolve(ctx context.Context, repository string, d digest.Digest) (ocispec.Descriptor, error)
	// Tag returns the digest that a tag has now. It is absent only if the registry itself says that it has no such
	// tag. Resolve need not ask again for what Tag learns about the digest.
	Tag(ctx context.Context, repository, tag string) lookup.Answer[digest.Digest]
	// Manifest fetches the image's manifest and checks its bytes against the digest and
	// size. A failure of class security says that they differ.
	Manifest(ctx context.Context, image Image) ([]byte, error)
	// Answers returns an error unless the registry answers for the repository itself: a server that does not may say
	// of any digest that it is not there.
	Answers(ctx context.Context, repository string) error
}

// ReadRegistry reads what verify needs to compare both sides.
type ReadRegistry interface {
	Images
	// IsList reports whether a tag sha256-<hex> holds only the list of an image's signatures and other referrers, and
	// nothing that could be run. It costs no request once Judge has read the list and its entries. An error means
	// that it is unknown.
	IsList(ctx context.Context, repository, tag string) (bool, error)
	// Tags calls each for every tag of a repository.
	Tags(ctx context.Context, repository string, each func(tag string) error) error
}

// Registry finds and stores signatures beside their images.
type Registry interface {
	Images
	// Find returns the Notation signatures that the registry lists for an image, and which of them belong to the
	// named key. An error means that it is unknown whether any does, which is never the same as none; for example,
	// the list names a signature that the registry then does not have.
	Find(ctx context.Context, image Image, key string) (Found, error)
	// Recorded returns the signature with that digest if the registry lists it for the image, and it is intact, over
	// that image, and verifies now, whoever made it. If its identity is the named key's or one that the key accepts,
	// Signature.By says so. ErrUnlisted means that the registry has it and does not list it. Any other error means
	// that this is unknown.
	Recorded(ctx context.Context, image Image, key, signature string) (Signature, bool, error)
	// ListsInTag reports whether the list of an image's signatures is kept in a tag, where two writers overwrite each
	// other's entries, or seemed to be for a while. Call it after Find.
	ListsInTag(repository string) bool
	// CheckList returns an error if signatures of the image may be listed elsewhere than Find has looked: in a tag,
	// or by the referrers API, which it tries again if there seemed to be none.
	CheckList(ctx context.Context, image Image, inTag bool) error
	// Relist stores again, unchanged, a signature that the registry has and does not list. It is harmless to repeat,
	// and does not guarantee that the signature is listed afterwards.
	Relist(ctx context.Context, image Image, signature string) error
	// Push stores the envelope beside its image. The same envelope makes the same signature, so repeating is
	// harmless. inTag is Found's, from the last Find: if signatures are listed elsewhere by now, nothing is stored
	// and the error is transient. After any other error, something may have been stored. told reports whether the
	// registry has said that it now lists the signature for the image.
	Push(ctx context.Context, image Image, e state.Envelope, inTag bool) (told bool, err error)
	// Listed returns the digests of all signatures that the registry lists for the image. An error means that they
	// are unknown.
	Listed(ctx context.Context, image Image) ([]string, error)
}

// Found is the result of looking for signatures.
type Found struct {
	Ours   []Signature // of our key, that verify
	Others int         // by other keys
	Broken int         // entries that are proven not to be a signature
	Why    string      // why one of those is broken
	InTag  bool        // the list was read in a tag, for CheckList
	// Unread counts signatures that were not read and may be ours: there are too many, or the registry lists them and
	// does not return them. At least one of ours was found then; otherwise it would be unknown, and an error.
	Unread int
}

// Signature is a signature of our key in the registry.
type Signature struct {
	Digest   string            // of its manifest
	By       state.SignedBy    // never zero
	Metadata map[string]string // what it signed besides the image's digest
}

func (f Found) all() int { return len(f.Ours) + f.Others + f.Broken + f.Unread }

// Ledger is the part of [state.Ledger] that the engine uses. An error other than ErrStale means that progress cannot
// be recorded, and ends the run.
type Ledger interface {
	Repository(gun string) (state.Repository, bool, error)
	SetRepository(state.Repository) error
	ReplaceRoot(r state.Repository, reason string) error
	Plan([]state.Item) ([]state.Item, error)
	Sign(state.Key, state.Envelope) error
	Push(k state.Key, signature string) error
	Confirm(k state.Key, signature, by string) error
	Adopt(k state.Key, signature string, by state.SignedBy, bound map[string]string) error
	Reopen(state.Key) (state.Stage, error)
	Skip(k state.Key, class, reason string) error
	Fail(k state.Key, class, reason string) error
	Discard(k state.Key, reason string) error
	Item(state.Key) (state.Item, bool, error)
	Beside(repository string, known func(digest string) bool) ([]state.Item, error)
	Envelope(state.Key) (state.Envelope, bool, error)
}

// HostOf returns the registry's host in a repository's name.
func HostOf(name string) string {
	h, _, _ := strings.Cut(name, "/")
	return h
}
