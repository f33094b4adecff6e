package session

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// ReadRunning reads a list of what runs from the file of a flag, or from stdin (-).
func ReadRunning(flag, path string, stdin io.Reader) (*verify.RunningList, error) {
	list := &verify.RunningList{Name: "stdin", At: time.Now()}
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("%s: %w", flag, err))
		}
		defer func() { _ = f.Close() }() // only read from
		info, err := f.Stat()
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("%s: %w", flag, err))
		}
		list.Name, list.At, stdin = path, info.ModTime(), f
	}
	sum := digest.SHA256.Digester()
	all := io.TeeReader(stdin, sum.Hash())
	var err error
	if list.Images, err = verify.ReadRunning(all); err != nil {
		return nil, cli.Usage(fmt.Errorf("%s %s: %w", flag, safetext.Safe(path, 300), err))
	}
	list.SHA256 = sum.Digest().Encoded()
	return list, nil
}

// Running returns which registries may be asked about images of a list, and whose trust data applies: that of the
// repository of this name, or of the one whose images have moved there. A registry may be spelled in any way: what
// cannot be found out by another spelling is then unknown, and not left out.
func (f *Session) Running() verify.RunningScope {
	spelled := func(registry string) string { return canonicalLocation(registry, f.plain(registry)) }
	known := map[string]bool{}
	for _, host := range f.Hosts {
		known[spelled(host)] = true
	}
	return verify.RunningScope{
		Asks:   func(registry string) bool { return known[spelled(registry)] },
		Signed: f.moves.origin,
	}
}

// origin returns the GUN whose images are in a repository now.
func (m mirrors) origin(repository string) (dct.GUN, error) {
	for _, one := range m {
		from, fits := one.from, repository == one.to
		if one.below {
			var rest string
			rest, fits = strings.CutPrefix(repository, one.to+"/")
			from += "/" + rest
		}
		if !fits {
			continue
		}
		// An earlier rule may have moved that GUN's images elsewhere.
		if gun, err := dct.ParseGUN(from); err == nil && m.location(gun) == repository {
			return gun, nil
		}
	}
	return dct.ParseGUN(repository)
}
