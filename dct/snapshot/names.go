package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
)

const (
	// ArtifactType is the type of the manifest with one repository's trust data.
	ArtifactType = "application/vnd.dct2notation.snapshot.v1"
	// MediaType is the type of a layer: one metadata file.
	MediaType = "application/vnd.dct2notation.tuf.v1+json"
)

// Annotations. They tell people and tools what is inside. Reading relies on gun and file, which can hide or rename
// files as a server could, and ignores all others. [Snapshot.Saved] returns the newest of the times, for people to
// compare with their own.
const (
	annotationGUN    = "io.dct2notation.gun"
	annotationServer = "io.dct2notation.server"
	annotationSaved  = "io.dct2notation.saved" // when this content was saved first
	annotationTool   = "io.dct2notation.tool"
	// For a layer. On the manifest, version and expires are followed by a dot and a role.
	annotationFile    = "io.dct2notation.file" // as dct.Source names it, without a hash
	annotationRole    = "io.dct2notation.role"
	annotationVersion = "io.dct2notation.version"
	annotationExpires = "io.dct2notation.expires"
)

// Limits, in bytes. Callers set the limits of the files themselves.
const (
	maxIndex    = 256 << 20
	maxManifest = 4 << 20 // the least that registries accept
	maxFile     = 32 << 20
	maxRoot     = 4 << 20
)

// maxChain is how many root versions before the newest are saved, like the reader's limit on how many it follows.
const maxChain = 1000

// latest lists the files that every repository has.
var latest = []string{"root", "timestamp", "snapshot", "targets"}

// ownName returns a name of a file without the memory it was cut from: a snapshot has thousands of them.
func ownName(name string) string {
	if i := slices.Index(latest, name); i >= 0 {
		return latest[i]
	}
	return strings.Clone(name)
}

// rolePattern is the grammar of roles in the notary library.
var rolePattern = regexp.MustCompile(`^(root|timestamp|snapshot|targets(/[-a-z0-9_]+)*)$`)

// chainName returns the file name of a root version.
func chainName(version int) string { return strconv.Itoa(version) + ".root" }

// chainVersion returns the version in a name from chainName.
func chainVersion(name string) (int, bool) {
	number, ok := strings.CutSuffix(name, ".root")
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(number)
	return v, err == nil && v > 0 && chainName(v) == name
}

// cutSum splits a name of consistent snapshots, such as targets.<sha256>.
func cutSum(name string) (role string, sum digest.Digest, ok bool) {
	at := strings.LastIndexByte(name, '.')
	if at < 0 {
		return "", "", false
	}
	sum = digest.NewDigestFromEncoded(digest.SHA256, name[at+1:])
	return name[:at], sum, checkDigest(sum) == nil
}

// checkDigest accepts SHA-256 only in its one spelling: it becomes a file name.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("a digest by %s, and only sha256 is taken", d.Algorithm())
	}
	return nil
}

// blobName returns a blob's path in the layout. The digest has passed checkDigest.
func blobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// blob describes a blob in less memory than a descriptor with its texts.
type blob struct {
	sum  [sha256.Size]byte
	size int64
}

func blobOf(raw []byte) blob { return blob{sha256.Sum256(raw), int64(len(raw))} }

// digest returns the digest, which is also the blob's name.
func (b blob) digest() digest.Digest { return digest.NewDigestFromBytes(digest.SHA256, b.sum[:]) }

// sumIn returns the hash in a digest that has passed checkDigest.
func sumIn(d digest.Digest) (sum [sha256.Size]byte) {
	_, _ = hex.Decode(sum[:], []byte(d.Encoded())) // checkDigest took these 64 digits
	return sum
}

// refName makes a tag from a GUN, with which tools can copy its manifest. The hash distinguishes GUNs that differ
// only in characters that a tag cannot have, or far at the end.
func refName(gun dct.GUN) string {
	readable := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, gun.String())
	sum := sha256.Sum256([]byte(gun.String()))
	return readable[:min(len(readable), 95)] + "-" + hex.EncodeToString(sum[:16])
}
