package dct

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/utils"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Pins say which roots are trusted before anything was read.
type Pins struct {
	// Certs maps a GUN, or a prefix ending in *, to key ids of roots.
	Certs map[string][]string `json:"certs,omitempty"`
	// CA maps a GUN prefix to a PEM file of certificate authorities for root
	// certificates.
	CA map[string]string `json:"ca,omitempty"`
	// TOFU trusts the first root seen of a repository that has no pin. It is the
	// opposite of notary's disable_tofu, because here it has to be asked for.
	TOFU bool `json:"-"`
	// NoTOFU is notary's disable_tofu: to ask for TOFU as well is a contradiction.
	NoTOFU bool `json:"-"`
	// DockerTrust is docker's trust directory (~/.docker/trust): the roots that docker
	// trusted on this machine are pins. Empty for none. It is only read.
	DockerTrust string `json:"-"`
}

// LoadPins reads a file of notary's own JSON: either its client configuration with a
// member trust_pinning, or that member alone. Relative paths of CA files are relative
// to the file.
func LoadPins(path string) (Pins, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Pins{}, fmt.Errorf("reading trust pinning: %w", err)
	}
	pins, err := ParsePins(raw, filepath.Dir(path))
	if err != nil {
		return Pins{}, fmt.Errorf("%s: %w", path, err)
	}
	return pins, nil
}

// ParsePins is [LoadPins] for bytes; dir is what relative paths are relative to.
func ParsePins(raw []byte, dir string) (Pins, error) {
	type pinning struct {
		Certs       map[string][]string `json:"certs"`
		CA          map[string]string   `json:"ca"`
		DisableTOFU *bool               `json:"disable_tofu"`
	}
	var file struct {
		TrustPinning *pinning `json:"trust_pinning"`
		pinning
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return Pins{}, fmt.Errorf("reading trust pinning: %w", err)
	}
	p := file.pinning
	if file.TrustPinning != nil {
		p = *file.TrustPinning
	}
	// An absent pin and a misspelt one look alike, and neither may pass silently.
	if len(p.Certs) == 0 && len(p.CA) == 0 && p.DisableTOFU == nil {
		return Pins{}, errors.New("trust pinning names no pins: it takes notary's JSON, with certs, ca and disable_tofu under trust_pinning")
	}
	for prefix, f := range p.CA {
		// The notary client takes the keys of ca as prefixes as they stand, and a * in one
		// would fit no repository: a pin that pins nothing.
		if strings.Contains(prefix, "*") {
			return Pins{}, fmt.Errorf("trust pinning by ca of %s: it takes a prefix without *, such as registry.example.com/team/", safetext.Safe(prefix, 256))
		}
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, f)
			p.CA[prefix] = f
		}
		if _, err := utils.LoadCertBundleFromFile(f); err != nil {
			return Pins{}, fmt.Errorf("trust pinning by ca of %s: reading its certificates: %w", safetext.Safe(prefix, 256), err)
		}
	}
	for name, ids := range p.Certs {
		if len(ids) == 0 {
			return Pins{}, fmt.Errorf("trust pinning of %s names no key id", safetext.Safe(name, 256))
		}
		for _, id := range ids {
			if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
				return Pins{}, fmt.Errorf("trust pinning of %s: %s is no key id, which is 64 hexadecimal digits", safetext.Safe(name, 256), safetext.Safe(id, 80))
			}
		}
	}
	return Pins{Certs: p.Certs, CA: p.CA, NoTOFU: p.DisableTOFU != nil && *p.DisableTOFU}, nil
}

// covers tells whether the configuration pins the repository, as the notary client
// would see it: by its name, by the longest prefix*, or by a certificate authority.
func (p Pins) covers(gun GUN) bool {
	name := gun.String()
	if _, ok := p.Certs[name]; ok {
		return true
	}
	for prefix := range p.Certs {
		if strings.HasSuffix(prefix, "*") && strings.HasPrefix(name, strings.TrimSuffix(prefix, "*")) {
			return true
		}
	}
	for prefix := range p.CA {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// library gives the pins in notary's type. Trust on first use is always off there:
// whether it applies is decided before the library is asked.
func (p Pins) library() trustpinning.TrustPinConfig {
	return trustpinning.TrustPinConfig{Certs: p.Certs, CA: p.CA, DisableTOFU: true}
}

// dockerRoot gives the root.json that docker keeps for the repository, if any.
func (p Pins) dockerRoot(gun GUN) ([]byte, error) {
	if p.DockerTrust == "" {
		return nil, nil
	}
	// os.Root, because the path holds a name that may come from a server.
	root, err := os.OpenRoot(p.DockerTrust)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening docker's trust directory: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	raw, err := root.ReadFile(filepath.FromSlash("tuf/" + gun.String() + "/metadata/root.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading docker's pinned root: %w", err)
	}
	return raw, nil
}
