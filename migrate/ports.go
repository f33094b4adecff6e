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

// The interfaces below are called from several goroutines at once. Their errors say what
// was being done and to which image; they are a [*Failure] where the class is known, an
// error of package dct, or ctx's. Any other error counts as permanent.

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
	// Sign spends one key operation and returns the envelope, checked against the
	// expected certificate and payload. Nothing is pushed. A failure of class security
	// must not be retried. Only vouch and attest call it: see there.
	Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error)
	// Check returns an error unless the envelope is this key's signature of the subject,
	// intact, in the manifest beside it: ErrOtherCertificate if it is intact and by another
	// certificate, as one that was made before a renewal is; ErrEnded if its time is over, and
	// nothing else is wrong; a failure of class transient if it could not be found out. No key
	// operation is spent.
	Check(ctx context.Context, subject ocispec.Descriptor, e state.Envelope) error
}

// ErrOtherCertificate is returned by Signer.Check for an envelope by another certificate.
var ErrOtherCertificate = errors.New("signed with another certificate")

// ErrEnded is returned by Signer.Check for an envelope that does not verify any more.
var ErrEnded = errors.New("the signature does not verify any more")

// ErrUnlisted is returned by Registry.Recorded for a good signature that is not listed: the list is
// late, or another writer has lost its entry. Another signature would be one too many.
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
	// Tag returns the digest that a tag has now. It is absent only where the registry itself
	// says that it has no such tag. What it learns of the digest meanwhile, Resolve need not
	// ask again.
	Tag(ctx context.Context, repository, tag string) lookup.Answer[digest.Digest]
	// Manifest fetches the image's manifest and checks its bytes against the digest and
	// size. A failure of class security says that they differ.
	Manifest(ctx context.Context, image Image) ([]byte, error)
	// Answers returns an error unless the registry answers for the repository as such: a server
	// that does not may say of any digest that it is not there.
	Answers(ctx context.Context, repository string) error
}

// ReadRegistry reads what a comparison of both sides needs.
type ReadRegistry interface {
	Images
	// IsList reports whether a tag sha256-<hex> holds only the list of an image's signatures and
	// other referrers, and nothing that could be run. It costs no request once Judge has read
	// the list and all that is listed. An error means that it is unknown.
	IsList(ctx context.Context, repository, tag string) (bool, error)
	// Tags calls each with every tag of a repository.
	Tags(ctx context.Context, repository string, each func(tag string) error) error
}

// Registry finds and stores signatures beside their images.
type Registry interface {
	Images
	// Find returns the Notation signatures that the registry lists for an image, and which
	// are of the key of that name. An error means that it is unknown whether one is, which is
	// never none: as when the list names what the registry then does not have.
	Find(ctx context.Context, image Image, key string) (Found, error)
	// Recorded returns the signature of that digest if the registry lists it for the image, and
	// it is intact, over that image, and verifies now, whoever made it; it is by the identity of the key
	// of that name, or by one that it accepts, where that is so. With ErrUnlisted the
	// registry has it, and does not list it. Any other error means that this is unknown.
	Recorded(ctx context.Context, image Image, key, signature string) (Signature, bool, error)
	// ListsInTag reports whether the list of an image's signatures is kept in a tag, where two
	// writers lose each other's entries, or seemed to be for a while. It means something after Find.
	ListsInTag(repository string) bool
	// CheckList returns an error if signatures of the image may be listed elsewhere than Find has
	// looked: in a tag, or by the referrers API, for which it asks anew where there seemed to be none.
	CheckList(ctx context.Context, image Image, inTag bool) error
	// Relist stores a signature that the registry has and does not list once more, as it is. It
	// is harmless to repeat, and makes no promise that it is listed then.
	Relist(ctx context.Context, image Image, signature string) error
	// Push stores the envelope beside its image. The same envelope makes the same
	// signature, so repeating is harmless. inTag is Found's, of the last look: where
	// signatures are listed elsewhere by now, nothing is stored, and the error is transient.
	// Another error does not mean that nothing was stored. told reports whether the registry has said that
	// it lists the signature for the image now.
	Push(ctx context.Context, image Image, e state.Envelope, inTag bool) (told bool, err error)
	// Listed returns the digests of all signatures that the registry lists for the image. An
	// error means that it is unknown which those are.
	Listed(ctx context.Context, image Image) ([]string, error)
}

// Found is what a look for signatures gave.
type Found struct {
	Ours   []Signature // of our key, that verify
	Others int         // by others
	Broken int         // entries that are proven not to be a signature
	Why    string      // one of those is broken
	InTag  bool        // the list was read in a tag, for CheckList
	// Unread may be ours too, and were not read: there are too many, or the registry lists
	// them and does not give them. There is at least one of ours then: else it is unknown,
	// and an error.
	Unread int
}

// Signature is one in the registry, of our key.
type Signature struct {
	Digest   string            // of its manifest
	By       state.SignedBy    // never zero
	Metadata map[string]string // what it signed beside the image's digest
}

func (f Found) all() int { return len(f.Ours) + f.Others + f.Broken + f.Unread }

// Ledger is the part of [state.Ledger] that the engine uses. An error but ErrStale means
// that progress cannot be recorded, and ends the run.
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

// HostOf is the registry's host in a repository's name.
func HostOf(name string) string {
	h, _, _ := strings.Cut(name, "/")
	return h
}
