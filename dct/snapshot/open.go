package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Snapshot is saved trust data as a [dct.Source], as it was when opened. A file that a later Save removed is an error
// of kind dct.ErrIncomplete. It is safe for concurrent use. It holds names and hashes in memory, no metadata.
type Snapshot struct {
	fsys     fs.FS
	root     *os.Root // what fsys reads from
	entries  map[dct.GUN]*entry
	attached []attachment
	lost     error // for a listed signature that cannot be read; nil if none
}

// entry is one repository in the snapshot.
type entry struct {
	manifest blob
	files    []file    // nil for a damaged manifest
	saved    time.Time // as the manifest has it; zero if it has no such time
	damage   error     // of the manifest; an *dct.Error
}

// attachment is a manifest that refers to another as its subject, such as a signature. It is not trust data, and
// stays as long as its subject.
type attachment struct {
	descriptor ocispec.Descriptor
	subject    ocispec.Descriptor
	envelope   ocispec.Descriptor // of a signature; else zero
	blobs      []digest.Digest
}

const hintDir = "\nhint: it takes the directory that dct2notation snapshot -O has written, an OCI image layout"

// Open reads the index and the manifests of a snapshot. An error that is dct.ErrRefused means that the index is
// damaged or hostile, or that the directory holds something else. A repository with a damaged manifest fails when it
// is read; the others can still be read.
func Open(dir string) (*Snapshot, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening snapshot: %w%s", err, hintDir)
	}
	s, err := open(root.FS())
	if err != nil {
		_ = root.Close() // only read from
		return nil, fmt.Errorf("opening snapshot %s: %w", dir, err)
	}
	s.root = root
	return s, nil
}

// Close closes the directory.
func (s *Snapshot) Close() error { return s.root.Close() }

// GUNs lists the repositories in the snapshot, sorted.
func (s *Snapshot) GUNs() []dct.GUN { return slices.SortedFunc(maps.Keys(s.entries), dct.GUN.Compare) }

// Saved returns when the latest new content was saved, according to the manifests. It is the zero time if nothing is
// saved or a manifest has no time.
func (s *Snapshot) Saved() time.Time {
	var last time.Time
	for _, e := range s.entries {
		switch {
		case e.damage != nil: // it fails when it is read
		case e.saved.IsZero():
			return time.Time{}
		case e.saved.After(last):
			last = e.saved
		}
	}
	return last
}

// Manifest describes a repository's manifest; to sign it is to sign all of its files. It returns false if the
// snapshot does not have the repository.
func (s *Snapshot) Manifest(gun dct.GUN) (ocispec.Descriptor, bool) {
	e, ok := s.entries[gun]
	if !ok {
		return ocispec.Descriptor{}, false
	}
	return subject(e.manifest), true
}

// subject describes a repository's manifest as what is signed.
func subject(manifest blob) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType, Digest: manifest.digest(), Size: manifest.size,
	}
}

func open(fsys fs.FS) (*Snapshot, error) {
	s := &Snapshot{fsys: fsys, entries: map[dct.GUN]*entry{}}
	if err := s.checkLayout(); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it is no OCI image layout: %w%s", err, hintDir)
	} else if err != nil {
		return nil, err
	}
	raw, err := readRegular(fsys, ocispec.ImageIndexFile, maxIndex)
	if err != nil {
		return nil, err
	}
	manifests, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: index.json: %w", dct.ErrRefused, err)
	}
	for _, d := range manifests {
		if err := s.add(d); err != nil {
			return nil, fmt.Errorf("%w: index.json: %w", dct.ErrRefused, err)
		}
	}
	return s, nil
}

// checkLayout checks that this is a layout, and that its folders are not links.
func (s *Snapshot) checkLayout() error {
	raw, err := readRegular(s.fsys, ocispec.ImageLayoutFile, 4096)
	if err != nil {
		return err
	}
	var layout ocispec.ImageLayout
	if err := decode(raw, &layout); err != nil {
		return fmt.Errorf("%w: oci-layout: %w", dct.ErrRefused, err)
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("%w: oci-layout: version %s is unknown", dct.ErrRefused, safetext.Safe(layout.Version, 40))
	}
	for _, dir := range []string{"blobs", "blobs/sha256"} {
		info, err := fs.Lstat(s.fsys, dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%w: %s is no folder", dct.ErrRefused, dir)
		}
	}
	return nil
}

// add adds one entry of index.json. An error condemns the whole index. A damaged manifest concerns only its own
// repository, if the index says which one that is.
func (s *Snapshot) add(d ocispec.Descriptor) error {
	claim, known, err := claimed(d)
	if err != nil {
		return err
	}
	raw, err := s.blob(d.Digest, d.Size)
	if err != nil {
		if !known && d.ArtifactType == signatureType {
			s.lost = err // it vouches for nothing; the next Save leaves it out
			return nil
		}
		if !known {
			return fmt.Errorf("manifest %s, of a repository that is not known: %w", d.Digest, err)
		}
		return s.enter(claim, d, &entry{damage: blame(claim, "", "the manifest that index.json lists", err)})
	}
	if !known {
		if a, ok := attachmentOf(d, raw); ok {
			s.attached = append(s.attached, a)
			return nil
		}
	}
	gun, files, err := parseManifest(raw)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return s.enter(gun, d, &entry{files: files, saved: savedAt(raw)})
}

func (s *Snapshot) enter(gun dct.GUN, d ocispec.Descriptor, e *entry) error {
	if err := checkEntry(d, gun); err != nil {
		return err
	}
	if _, twice := s.entries[gun]; twice {
		return fmt.Errorf("%s is listed twice", gun)
	}
	e.manifest = blob{sumIn(d.Digest), d.Size}
	s.entries[gun] = e
	return nil
}

// attachmentOf parses a manifest that a signing tool has added to the layout.
func attachmentOf(d ocispec.Descriptor, raw []byte) (attachment, bool) {
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || m.Subject == nil || m.ArtifactType == ArtifactType {
		return attachment{}, false
	}
	a := attachment{descriptor: d, subject: *m.Subject, envelope: envelopeOf(m), blobs: []digest.Digest{d.Digest}}
	for _, l := range append(m.Layers, m.Config) {
		if checkDigest(l.Digest) == nil {
			a.blobs = append(a.blobs, l.Digest)
		}
	}
	return a, checkDigest(a.subject.Digest) == nil
}

// find returns the file that a source is asked for by a name.
func (e *entry) find(name string) (file, bool) {
	i := slices.IndexFunc(e.files, func(f file) bool { return f.answers(name) })
	if i < 0 {
		return file{}, false
	}
	return e.files[i], true
}

// chain returns the root versions before the newest, sorted.
func (e *entry) chain() []file {
	var roots []file
	for _, f := range e.files {
		if _, ok := chainVersion(f.name); ok {
			roots = append(roots, f)
		}
	}
	slices.SortFunc(roots, func(a, b file) int { return a.version - b.version })
	return roots
}

// isNotThere reports whether an error says that a file is absent rather than damaged.
func isNotThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
