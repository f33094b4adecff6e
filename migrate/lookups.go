package migrate

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
)

// lookups asks once for each digest of a repository what Notation says of it, however
// many tags it has. It is safe for concurrent use.
type lookups struct {
	v          *Verification
	repository string
	known      sync.Map // digest -> func() (Verdict, error), called once
}

func (l *lookups) judge(ctx context.Context, d digest.Digest) (Verdict, error) {
	once, _ := l.known.LoadOrStore(d, sync.OnceValues(func() (Verdict, error) {
		desc, err := l.v.Registry.Resolve(ctx, l.repository, d)
		if err != nil {
			return Verdict{}, err
		}
		return l.v.Judge.Judge(ctx, Image{l.repository, desc})
	}))
	return once.(func() (Verdict, error))()
}
