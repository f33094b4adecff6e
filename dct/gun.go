package dct

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// GUN is a repository's name in Notary (globally unique name), such as docker.io/library/alpine or
// registry.example.com:5000/team/app. Only [ParseGUN] makes one, so it cannot escape from a URL path or a folder.
type GUN struct{ domain, path string }

// ParseGUN reads a repository the way docker does: alpine becomes
// docker.io/library/alpine. A tag or digest is an error, as trust data belongs to the
// repository.
func ParseGUN(s string) (GUN, error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return GUN{}, fmt.Errorf("repository %s: a repository has no %s://\nhint: write %s", safetext.Safe(s, 256), safetext.Safe(scheme, 16), safetext.Safe(strings.TrimRight(rest, "/"), 256))
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		hint := "it is HOST/PATH, in lower case, such as registry.example.com/team/app"
		if bare := strings.TrimRight(s, "/"); bare != s && bare != "" {
			hint = "write " + safetext.Safe(bare, 256)
		}
		// Its text repeats the raw name.
		return GUN{}, fmt.Errorf("repository %s: %s\nhint: %s", safetext.Safe(s, 256), safetext.Safe(err.Error(), 400), hint)
	}
	if reference.Domain(named) == "" {
		return GUN{}, fmt.Errorf("repository %s: its host is not valid", safetext.Safe(s, 256))
	}
	if !reference.IsNameOnly(named) {
		name := safetext.Safe(s, 256)
		// A host with only a port looks like a name with a tag.
		host, port, _ := strings.Cut(s, ":")
		if (host == "localhost" || strings.Contains(host, ".") && !strings.Contains(host, "/")) && strings.Trim(port, "0123456789") == "" {
			return GUN{}, fmt.Errorf("repository %s: it is a registry\nhint: name a repository of it, such as %s/team/app, or find them: --discover catalog '%s/**'", name, name, name)
		}
		return GUN{}, fmt.Errorf("repository %s: give the repository without tag or digest\nhint: write %s", name, safetext.Safe(reference.FamiliarName(named), 256))
	}
	return GUN{reference.Domain(named), reference.Path(named)}, nil
}

// String returns the name as Notary and docker write it.
func (g GUN) String() string { return g.domain + "/" + g.path }

// Compare compares the names as strings. For one registry it makes none.
func (g GUN) Compare(other GUN) int {
	if g.domain == other.domain {
		return strings.Compare(g.path, other.path)
	}
	return strings.Compare(g.String(), other.String())
}

// Registry returns the host, with its port, at the beginning of the name.
func (g GUN) Registry() string { return g.domain }
