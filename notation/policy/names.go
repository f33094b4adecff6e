package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// As in distribution's grammar: a host that cannot be mistaken for a path, then components of lower-case letters
	// and digits with single separators. notation's trust policy accepts no IPv6 address as a host.
	repositoryName = regexp.MustCompile(`^(localhost|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9-]+:[0-9]+)(:[0-9]+)?(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)+$`)
)

func isLabel(s string) bool { return dnsLabel.MatchString(s) }

func isRepository(s string) bool { return len(s) <= 512 && repositoryName.MatchString(s) }

// hubHosts are the names of Docker Hub's registry.
var hubHosts = []string{"docker.io/", "index.docker.io/", "registry-1.docker.io/"}

// onHub returns the path of a repository on Docker Hub, whatever name its registry has.
func onHub(repository string) (path string, ok bool) {
	for _, host := range hubHosts {
		if path, ok = strings.CutPrefix(repository, host); ok {
			return path, true
		}
	}
	return "", false
}

// same returns one name for all names of a repository.
func same(repository string) string {
	if path, ok := onHub(repository); ok {
		return hubHosts[0] + path
	}
	return repository
}

// maxLabel leaves room for a suffix after a label, within 63 characters.
const maxLabel = 40

// label makes a DNS label from any name. Different names give different labels: if a name had to be changed, a hash
// of it is added.
func label(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := strings.Trim(b.String(), "-")
	if s == name && len(s) <= maxLabel {
		return s
	}
	sum := sha256.Sum256([]byte(name))
	s = strings.Trim(s[:min(len(s), maxLabel-9)], "-")
	return strings.TrimPrefix(s+"-"+hex.EncodeToString(sum[:4]), "-")
}
