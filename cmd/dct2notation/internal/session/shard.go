package session

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// A Shard is one of Count parts of the repositories, counted from 0, that several machines process in parallel. Its
// zero value is all of them.
type Shard struct{ Index, Count int }

const maxShards = 10_000

// jobIndex is what a Kubernetes Indexed Job calls the number of a Pod.
const jobIndex = "JOB_COMPLETION_INDEX"

// Bind adds the flag.
func (s *Shard) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupSelect, func(f *pflag.FlagSet) {
		f.Var(s, "shard", "process only part `I/N` of the repositories, counted from 0; /N takes I from "+jobIndex+", as in an Indexed Job of Kubernetes")
	})
}

// Type is what the help shows.
func (s *Shard) Type() string { return "I/N" }

// String returns the value that Set accepts; empty: all repositories.
func (s Shard) String() string {
	if s.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Index, s.Count)
}

// Set parses a value.
func (s *Shard) Set(text string) error {
	i, n, ok := strings.Cut(text, "/")
	if !ok {
		return errors.New("it takes I/N, such as 0/8, or /8 in an Indexed Job")
	}
	if i == "" {
		if i = os.Getenv(jobIndex); i == "" {
			return fmt.Errorf("it takes I/N: %s, which Kubernetes sets in the Pods of an Indexed Job, is not set", jobIndex)
		}
	}
	index, err := strconv.ParseUint(i, 10, 31)
	if err != nil {
		return fmt.Errorf("%s is not a number", safetext.Safe(i, 32))
	}
	count, err := strconv.ParseUint(n, 10, 31)
	if err != nil || count < 1 || count > maxShards {
		return fmt.Errorf("%s is not a number from 1 to %d", safetext.Safe(n, 32), maxShards)
	}
	if index >= count {
		return fmt.Errorf("there is no shard %d of %d: they are counted from 0", index, count)
	}
	s.Index, s.Count = int(index), int(count)
	return nil
}

// Check returns a usage error in a Pod of an Indexed Job that was not given its part: all Pods would do the same at
// once, and sign the same images.
func (s Shard) Check() error {
	i := os.Getenv(jobIndex)
	index, err := strconv.ParseUint(i, 10, 31)
	switch {
	case i == "", s.Count == 0 && i == "0", s.Count > 0 && err == nil && int(index) == s.Index:
		return nil
	case s.Count == 0:
		return cli.Usage(fmt.Errorf("%s is %s, so other Pods of the same Job do the same work\nhint: --shard /N gives each of N Pods its part", jobIndex, safetext.Safe(i, 32)))
	}
	return cli.Usage(fmt.Errorf("%s is %s, and --shard %s would be the same in all Pods of the Job\nhint: --shard /%d gives each Pod its part; outside of an Indexed Job, unset %[1]s", jobIndex, safetext.Safe(i, 32), s, s.Count))
}

// Alone reports whether the repositories are not split, so that what they lack is in no other shard.
func (s Shard) Alone() bool { return s.Count < 2 }

// CheckLedger returns a usage error for the ledger of another shard: it knows nothing about this shard's images.
func (s Shard) CheckLedger(known *state.Fingerprint) error {
	if known == nil || known.Shard == s.String() {
		return nil
	}
	name := func(shard, without string) string {
		if shard == "" {
			return without
		}
		return "--shard " + safetext.Safe(shard, 32)
	}
	return cli.Usage(fmt.Errorf("the ledger is of a run with %s, and this is one with %s\nhint: each shard has a ledger of its own; another number of shards begins with new ones, and finds in the registry what is signed",
		name(known.Shard, "all repositories"), name(s.String(), "all repositories")))
}

// has reports whether a place is in the shard. The shard with the greatest hash has it, so that changing the number
// of shards moves as few places as possible.
func (s Shard) has(place string) bool {
	if s.Alone() {
		return true
	}
	best, most := 0, uint64(0)
	for i := range s.Count {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", i, place))
		if weight := binary.BigEndian.Uint64(sum[:]); i == 0 || weight > most {
			best, most = i, weight
		}
	}
	return best == s.Index
}

// of returns the repositories whose images are in the shard. Those that share a place stay together.
func (s Shard) of(guns []dct.GUN, canonical func(dct.GUN) string) []dct.GUN {
	return slices.DeleteFunc(guns, func(gun dct.GUN) bool { return !s.has(canonical(gun)) })
}

// campaign identifies what all shards are parts of: the number of shards, the selection, and the repositories found
// for it. If these differed between shards, a repository could be in none, each shard taking it for another's.
func (s Shard) campaign(asked string, guns []dct.GUN, canonical func(dct.GUN) string) string {
	all := make([]string, len(guns))
	for i, gun := range guns {
		all[i] = gun.String() + " " + canonical(gun)
	}
	slices.Sort(all)
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d\n%s\n", s.Count, asked) // writing to a hash never fails
	_, _ = io.WriteString(h, strings.Join(all, "\n"))
	return hex.EncodeToString(h.Sum(nil))
}

// canonical returns the place of a repository's images in its canonical spelling.
func (f *Session) canonical(gun dct.GUN) string {
	place := f.Scope.PlaceOf(gun)
	return canonicalLocation(place, f.plain(migrate.HostOf(place)))
}
