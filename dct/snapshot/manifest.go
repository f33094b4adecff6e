package snapshot

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// file is one metadata file of a repository, as described by a layer.
type file struct {
	blob
	name    string // root, 3.root, timestamp, targets/releases
	version int
}

func (f file) role() string {
	if _, ok := chainVersion(f.name); ok {
		return "root"
	}
	return f.name
}

// answers reports whether the file is the one that a source is asked for by that name.
func (f file) answers(name string) bool {
	return name == f.name || name == f.role()+"."+f.digest().Encoded() ||
		f.name == "root" && name == chainName(f.version)
}

func (f file) layer() ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: MediaType, Digest: f.digest(), Size: f.size,
		Annotations: map[string]string{
			annotationFile:    f.name,
			annotationRole:    f.role(),
			annotationVersion: strconv.Itoa(f.version),
		},
	}
}

// newManifest makes the manifest of a repository. about are its own annotations.
func newManifest(gun dct.GUN, files []file, about map[string]string) ([]byte, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType,
		Config:      ocispec.DescriptorEmptyJSON,
		Layers:      []ocispec.Descriptor{},
		Annotations: maps.Clone(about),
	}
	m.Annotations[annotationGUN] = gun.String()
	for _, f := range files {
		m.Layers = append(m.Layers, f.layer())
	}
	return encode(m)
}

// parseManifest reads the manifest of a repository. An error means that this package did
// not write it.
func parseManifest(raw []byte) (dct.GUN, []file, error) {
	var m ocispec.Manifest
	if err := decode(raw, &m); err != nil {
		return dct.GUN{}, nil, err
	}
	switch {
	case m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest:
		return dct.GUN{}, nil, errors.New("it is no OCI image manifest")
	case m.ArtifactType != ArtifactType || m.Subject != nil:
		return dct.GUN{}, nil, fmt.Errorf("its artifact type is %s, and not that of a snapshot", safetext.Safe(m.ArtifactType, 100))
	case !reflect.DeepEqual(m.Config, ocispec.DescriptorEmptyJSON):
		return dct.GUN{}, nil, errors.New("its config is not the empty one")
	}
	gun, err := parseGUN(m.Annotations[annotationGUN])
	if err != nil {
		return dct.GUN{}, nil, err
	}
	files, err := parseLayers(m.Layers)
	return gun, files, err
}

// savedAt is when the manifest says that its repository was saved, or the zero time.
func savedAt(raw []byte) time.Time {
	var m ocispec.Manifest
	if err := decode(raw, &m); err != nil {
		return time.Time{}
	}
	at, _ := time.Parse(time.RFC3339, m.Annotations[annotationSaved])
	return at
}

// parseGUN accepts a GUN only in its full spelling.
func parseGUN(name string) (dct.GUN, error) {
	gun, err := dct.ParseGUN(name)
	if err == nil && gun.String() != name {
		err = fmt.Errorf("repository %s: its full name is %s", safetext.Safe(name, 256), gun)
	}
	return gun, err
}

func parseLayers(layers []ocispec.Descriptor) ([]file, error) {
	files := make([]file, 0, len(layers))
	seen := map[string]bool{}
	for i, l := range layers {
		f, err := parseLayer(l)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		if seen[f.name] {
			return nil, fmt.Errorf("layer %d: file %s is listed twice", i, f.name)
		}
		seen[f.name] = true
		files = append(files, f)
	}
	// Without this check, a manifest without a root would read as an unsigned repository.
	if i := slices.IndexFunc(latest, func(name string) bool { return !seen[name] }); i >= 0 {
		return nil, fmt.Errorf("it lists no file of role %s", latest[i])
	}
	return files, nil
}

func parseLayer(l ocispec.Descriptor) (file, error) {
	version, err := strconv.Atoi(l.Annotations[annotationVersion])
	if err != nil {
		return file{}, errors.New("its version is no number")
	}
	if err := checkDigest(l.Digest); err != nil {
		return file{}, err
	}
	role := l.Annotations[annotationRole]
	f := file{blob{sumIn(l.Digest), l.Size}, ownName(l.Annotations[annotationFile]), version}
	chained, isChain := chainVersion(f.name)
	switch {
	case l.Size <= 0 || l.Size > maxFile:
		return file{}, fmt.Errorf("its size is %d", l.Size)
	case !rolePattern.MatchString(role):
		return file{}, fmt.Errorf("%s is no role", safetext.Safe(role, 128))
	case isChain && (role != "root" || chained != version), !isChain && f.name != role:
		return file{}, fmt.Errorf("file %s is not called as that of role %s and version %d is", safetext.Safe(f.name, 128), role, version)
	// This package writes no other layers.
	case !reflect.DeepEqual(l, f.layer()):
		return file{}, fmt.Errorf("file %s is described otherwise than snapshots do", f.name)
	}
	return f, nil
}

// order sorts files as manifests list them: the roots by version, then from the timestamp
// down to the delegations.
func order(files []file) {
	rank := func(f file) int {
		if i := slices.Index(latest, f.role()); i >= 0 {
			return i
		}
		return len(latest)
	}
	slices.SortFunc(files, func(a, b file) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if a.role() == "root" && a.version != b.version {
			return a.version - b.version
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
}
