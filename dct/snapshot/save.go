package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/internal/ordered"
)

// Options of [Save]. All are optional.
type Options struct {
	// Tool is the name and version of the program, for the manifests.
	Tool string
	// Server returns the address of a registry host's trust data, for the manifests. Credentials in it are left out.
	Server func(registry string) string
	// Readers is how many repositories are read concurrently; 0: one.
	Readers int
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Observe is called after each repository, from the goroutine of Save. Its results are final only when Save
	// returns; otherwise they may have to be done again.
	Observe func(Saved)
	// Signer signs each repository verified in this call that has no signature of it yet. Nil: nothing is signed.
	Signer Signer
}

// Outcome says what became of one repository.
type Outcome string

// Outcomes.
const (
	Added     Outcome = "added"
	Changed   Outcome = "changed"   // content changed, or damage repaired
	Unchanged Outcome = "unchanged" // same manifest
	Kept      Outcome = "kept"      // could not be read now; the saved one stays
	Failed    Outcome = "failed"    // could not be read, and nothing was saved before
)

// Saved is the result for one repository.
type Saved struct {
	GUN     dct.GUN
	Outcome Outcome
	Err     error  // why it was kept or failed; of dct.Reader's kinds
	Warning string // what a person should know although it was saved; may be empty
	// Expired is set if the repository was saved although it is expired: the error that readers get unless they allow
	// that. It is then not signed.
	Expired error
	// Unsigned is why it has no requested signature. It is known when Save returns, in the summary.
	Unsigned error
}

// Summary counts repositories by outcome.
type Summary struct {
	Added, Changed, Unchanged, Kept, Failed int
	Expired                                 int // of those saved or unchanged
	// With a signer: signed now, signed by it before, and not signed.
	Signed, SignedBefore, Unsigned int
	// Attention has the repositories with an error or a warning, sorted by name.
	Attention []Saved
}

// WrongServer returns an error if the Notary server of a registry had none of the trust data of these repositories.
func (s Summary) WrongServer(guns []dct.GUN) error {
	read := map[dct.GUN]error{}
	for _, gun := range guns {
		read[gun] = nil
	}
	for _, one := range s.Attention {
		read[one.GUN] = one.Err
	}
	return dct.WrongServer(read)
}

// commitEvery is after how many repositories the index is written, so that a killed long run keeps most of its work.
const commitEvery = 100

// Save reads and verifies the repositories through the reader, one after the other, and saves what was verified in
// the directory, even if it is expired. It creates the directory if needed and keeps what else is saved there. An
// unchanged repository costs one request, for the timestamp.
//
// A repository's failure is in the summary. An error means that the run ended early: ctx ended, the disk failed, or
// the directory is not a snapshot or a damaged one; ErrLocked if another process writes to it. What was complete by
// then is in the snapshot, if the disk allows, and in the summary.
func Save(ctx context.Context, dir string, reader *dct.Reader, guns []dct.GUN, o Options) (Summary, error) {
	sum, err := save(ctx, dir, reader, guns, o)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("saving trust data in %s: %w", dir, err)
	}
	return sum, err
}

func save(ctx context.Context, dir string, reader *dct.Reader, guns []dct.GUN, o Options) (Summary, error) {
	if err := durable.MkdirAll(dir, dirMode); err != nil {
		return Summary{}, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return Summary{}, err
	}
	defer unlock()
	if err := prepare(dir); err != nil {
		return Summary{}, err
	}
	s, err := Open(dir)
	if err != nil {
		return Summary{}, err
	}
	defer func() { _ = s.Close() }() // only read from
	hosts := dct.NewHosts()
	hosts.ByRepository = true // the server is going away: save whatever it still returns
	w := &writer{dir: dir, saved: s, reader: reader, options: o, every: commitEvery, hosts: hosts}
	if o.Signer != nil {
		if err := w.findUnlisted(); err != nil {
			return Summary{}, err
		}
	}
	sum, err := w.saveAll(ctx, guns)
	slices.SortStableFunc(sum.Attention, func(a, b Saved) int { return a.GUN.Compare(b.GUN) })
	if err != nil {
		return sum, err
	}
	return sum, w.sweep()
}

// writer is the one process that changes a snapshot. It is not safe for concurrent use.
type writer struct {
	dir     string
	saved   *Snapshot // on the disk, except entries changed since the last commit
	reader  *dct.Reader
	options Options
	every   int // commit after this many repositories

	hosts *dct.Hosts // hosts not to ask again

	changed  bool         // since the last commit
	pending  []pending    // to be signed after the next commit
	unlisted []attachment // signatures on the disk that the index did not list
}

func (w *writer) saveAll(ctx context.Context, guns []dct.GUN) (Summary, error) {
	var sum Summary
	guns = slices.Clone(guns)
	slices.SortFunc(guns, dct.GUN.Compare)
	entries := maps.Clone(w.saved.entries) // reading ahead does not interfere with writing
	i := -1
	for gun, r := range ordered.Each(ctx, slices.Values(slices.Compact(guns)), w.options.Readers, func(ctx context.Context, gun dct.GUN) was {
		one := was{before: entries[gun]}
		one.err = w.hosts.Try(ctx, gun, func() (err error) {
			one.recording, err = w.read(ctx, gun, one.before)
			return err
		})
		return one
	}) {
		i++
		done, err := w.save(ctx, gun, r)
		if err != nil {
			// Even after ctx has ended: the next run must find what is complete.
			return sum, errors.Join(err, w.commit())
		}
		sum.count(done)
		if w.options.Observe != nil {
			w.options.Observe(done)
		}
		if i%w.every == w.every-1 {
			if err := w.commitAndSign(ctx, &sum); err != nil {
				return sum, err
			}
		}
	}
	if ctx.Err() != nil {
		return sum, errors.Join(ctx.Err(), w.commit())
	}
	return sum, w.commitAndSign(ctx, &sum)
}

// commitAndSign writes the index, signs its entries, and writes it again.
func (w *writer) commitAndSign(ctx context.Context, sum *Summary) error {
	if err := w.commit(); err != nil || len(w.pending) == 0 {
		return err
	}
	// What was signed before an error must be listed.
	return errors.Join(w.signPending(ctx, sum), w.commit())
}

func (s *Summary) count(done Saved) {
	switch done.Outcome {
	case Added:
		s.Added++
	case Changed:
		s.Changed++
	case Unchanged:
		s.Unchanged++
	case Kept:
		s.Kept++
	case Failed:
		s.Failed++
	}
	if done.Expired != nil {
		s.Expired++
	}
	if done.Err != nil || done.Warning != "" || done.Expired != nil {
		s.Attention = append(s.Attention, done)
	}
}

// attend records why a repository was not signed, replacing its entry if it has one.
func (s *Summary) attend(done Saved) {
	i := slices.IndexFunc(s.Attention, func(one Saved) bool { return one.GUN == done.GUN })
	if i < 0 {
		s.Attention = append(s.Attention, done)
		return
	}
	s.Attention[i].Unsigned = done.Unsigned
}

// commit writes the index, unless it is unchanged. All blobs it leads to are already on the disk.
func (w *writer) commit() error {
	path := filepath.Join(w.dir, ocispec.ImageIndexFile)
	write := func(to io.Writer) error { return writeIndex(to, w.saved.listed()) }
	if !w.changed {
		if same, err := hasContent(path, write); err != nil || same {
			return err
		}
	}
	w.changed = false
	return durable.Write(path, fileMode, write)
}

func (w *writer) now() string {
	now := time.Now
	if w.options.Now != nil {
		now = w.options.Now
	}
	return now().UTC().Format(time.RFC3339)
}

// server returns where the repository came from, without credentials.
func (w *writer) server(gun dct.GUN) string {
	if w.options.Server == nil {
		return ""
	}
	u, err := url.Parse(w.options.Server(gun.Registry()))
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}
