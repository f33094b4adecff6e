package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// A process that holds a ledger for days, as run --watch does, keeps it from being read. So it
// leaves a copy beside it now and then, which is replaced as a whole and never changed.

// CopyPath is where the copy of a ledger lies.
func CopyPath(path string) string { return path + ".copy" }

// copyBatch bounds what is in memory while a copy is made, in bytes.
const copyBatch = 4 << 20

// SaveCopy leaves a copy of the ledger, as it is at one moment, at [CopyPath], for OpenCopy. It is
// on the disk when SaveCopy returns nil; on error there is none, as the one before lacks what was
// done since. The error is not one of the ledger, which goes on, unless the ledger could not be
// read. Moves may go on meanwhile.
func (l *Ledger) SaveCopy() error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.saveCopy(CopyPath(l.path)); err != nil {
		return fmt.Errorf("copying ledger %s: %w", l.path, errors.Join(err, RemoveCopy(l.path)))
	}
	return nil
}

func (l *Ledger) saveCopy(to string) error {
	began := time.Now()
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when renamed
	if err := f.Close(); err != nil {
		return err
	}
	// It is flushed once, at the end: until then nobody knows of it.
	db, err := bolt.Open(f.Name(), 0o600, &bolt.Options{Timeout: lockTimeout, NoSync: true})
	if err != nil {
		return err
	}
	err = l.guard(func() error { return l.db.View(func(tx *bolt.Tx) error { return copyAll(db, tx) }) })
	if errors.Is(err, ErrDamaged) {
		l.fault.set(err) // bbolt may hold locks of both
		return err
	}
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	// It has what was there then, and not what was moved while it was made.
	if err := os.Chtimes(f.Name(), began, began); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), to); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(to))
}

// copyAll puts what a transaction sees into an empty database. Everything is written before it
// returns: bbolt keeps values by reference, and their memory is the transaction's. (So bolt.Compact,
// which commits its last part after that has ended, will not do beside a writer.)
func copyAll(db *bolt.DB, from *bolt.Tx) error {
	return from.ForEach(func(name []byte, source *bolt.Bucket) error {
		c := source.Cursor()
		for key, value := c.First(); ; {
			err := db.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists(name)
				if err != nil {
					return err
				}
				b.FillPercent = 0.95 // keys come in order
				for size := 0; key != nil && size < copyBatch; key, value = c.Next() {
					if err := b.Put(key, value); err != nil {
						return err
					}
					size += len(key) + len(value)
				}
				return nil
			})
			if err != nil || key == nil {
				return err
			}
		}
	})
}

// RemoveCopy removes the copy of a ledger, if there is one: the ledger itself can be read.
func RemoveCopy(path string) error {
	err := os.Remove(CopyPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// OpenCopy opens the copy that SaveCopy has left of the ledger at path, for reading, and returns
// when it was begun: what was done before is in it. It takes no lock, as a copy does not change, and checks every page as Open
// does. Where there is no copy the error is fs.ErrNotExist.
func OpenCopy(path string, o Options) (_ *Ledger, made time.Time, err error) {
	o.ReadOnly, o.copied = true, true
	l, err := Open(CopyPath(path), o)
	if errors.Is(err, ErrReplaced) {
		l, err = Open(CopyPath(path), o) // by the next one, while it was opened
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	return l, l.self.ModTime(), nil
}
