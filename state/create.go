package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// prepare makes sure that there is a ledger to open.
func prepare(path string, o Options) error {
	dir := filepath.Dir(path)
	if o.ReadOnly {
		return local(dir, o)
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := local(dir, o); err != nil {
		return err
	}
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path, o)
	}
	return err
}

// local returns an error if the directory is on a network file system, unless that is allowed.
func local(dir string, o Options) error {
	if name, bad := networkFS(dir); bad && !o.AllowNetworkFS {
		return fmt.Errorf("%w (%s)\nhint: put it on a local disk", ErrNetworkFS, name)
	}
	return nil
}

// create makes an empty ledger. The file appears complete or not at all: a power loss while bbolt writes its first
// pages would leave a file that cannot be opened. If another process creates one at the same moment, that one stays.
func create(path string, o Options) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp) // gone already when published
	if err := f.Close(); err != nil {
		return err
	}
	if err := fill(temp, o.Tool, o.Clock()); err != nil {
		return fmt.Errorf("creating it: %w", err)
	}
	if err := durable.Publish(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// fill makes an empty file a ledger.
func fill(path, tool string, now time.Time) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		schema := seal(bucketMeta, keySchema, binary.BigEndian.AppendUint32(nil, schemaVersion))
		if err := tx.Bucket([]byte(bucketMeta)).Put(keySchema, schema); err != nil {
			return err
		}
		b := &batch{table: table{tx}, now: now}
		if err := b.put(bucketMeta, keyTally, tallyRecord{stamp: stamp{recordV}}); err != nil {
			return err
		}
		return b.put(bucketMeta, keyOrigin, originRecord{
			stamp: stamp{recordV}, CreatedBy: tool, CreatedAt: now.UTC(), LastWrittenBy: tool,
		})
	})
	if err != nil {
		db.Close()
		return err
	}
	return db.Close()
}

// recordTool records the program that writes from now on, if it has changed.
func (l *Ledger) recordTool(tool string) error {
	return l.do(func(b *batch) error {
		var origin originRecord
		found, err := b.get(bucketMeta, keyOrigin, &origin)
		if err == nil && !found {
			err = damage("the record of its origin is missing")
		}
		if err != nil || origin.LastWrittenBy == tool {
			return err
		}
		origin.LastWrittenBy = tool
		return b.put(bucketMeta, keyOrigin, origin)
	})
}

// newerSchema says what to do about a file of a newer version.
func newerSchema(n uint32) error {
	return fmt.Errorf("%w: schema %d, this version knows %d\nhint: use the version that wrote it", ErrNewerSchema, n, schemaVersion)
}
