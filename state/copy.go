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

// A process that holds a ledger for days, as run --watch does, keeps others from reading it. So now and then it
// leaves a copy beside the ledger. A copy is replaced as a whole and never changed.

// CopyPath returns the path of a ledger's copy.
func CopyPath(path string) string { return path + ".copy" }

// copyBatch bounds the memory for a copy, in bytes.
const copyBatch = 4 << 20

// SaveCopy saves a copy of the ledger at one moment to [CopyPath], for OpenCopy. When it returns nil the copy is on
// the disk. On error there is no copy, since the previous one lacks what was done since. An error does not stop the
// ledger, unless the ledger could not be read. Moves may go on meanwhile.
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
	// It is flushed once, at the end: until then nobody knows the file.
	db, err := bolt.Open(f.Name(), 0o600, &bolt.Options{Timeout: lockTimeout, NoSync: true})
	if err != nil {
		return err
	}
	err = l.guard(func() error { return l.db.View(func(tx *bolt.Tx) error { return copyAll(db, tx) }) })
	if errors.Is(err, ErrDamaged) {
		l.fault.set(err) // bbolt may hold both locks
		return err
	}
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	// The copy has the state at its beginning, without moves made meanwhile.
	if err := os.Chtimes(f.Name(), began, began); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), to); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(to))
}

// copyAll copies what a transaction sees into an empty database. It writes everything before it returns, because
// bbolt keeps references to values in the transaction's memory. (bolt.Compact commits its last part after the
// transaction has ended, so it cannot be used beside a writer.)
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

// RemoveCopy removes the copy of a ledger, if there is one, since the ledger itself can be read again.
func RemoveCopy(path string) error {
	err := os.Remove(CopyPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// OpenCopy opens for reading the copy that SaveCopy left of the ledger at path. It returns when the copy was begun:
// it contains everything done before. OpenCopy takes no lock, as a copy does not change, and checks every page as
// Open does. If there is no copy the error is fs.ErrNotExist.
func OpenCopy(path string, o Options) (_ *Ledger, made time.Time, err error) {
	o.ReadOnly, o.copied = true, true
	l, err := Open(CopyPath(path), o)
	if errors.Is(err, ErrReplaced) {
		l, err = Open(CopyPath(path), o) // replaced by the next copy while it was opened
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	return l, l.self.ModTime(), nil
}
