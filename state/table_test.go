package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func TestANewerSchemaIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(path, Options{Tool: "old"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// The newer version also has a bucket and records unknown to us.
	edit(t, path, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("novelties"))
		if err != nil {
			return err
		}
		if err := b.Put([]byte("k"), []byte("unlike anything")); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketMeta)).Put(keySchema,
			seal(bucketMeta, keySchema, binary.BigEndian.AppendUint32(nil, schemaVersion+1)))
	})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Tool: "old"}); !errors.Is(err, ErrNewerSchema) || errors.Is(err, ErrDamaged) {
		t.Errorf("opening it: got %v, want %v", err, ErrNewerSchema)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("got %d bytes, %v, want the file unchanged with %d", len(after), err, len(before))
	}
}

// edit changes a closed ledger's file behind its back.
func edit(t *testing.T, path string, change func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAForgedHistoryIsFound has a forger who can make checksums fit.
func TestAForgedHistoryIsFound(t *testing.T) {
	t.Parallel()
	forgeries := map[string]func(*bolt.Bucket) error{
		"last event removed":   func(b *bolt.Bucket) error { return b.Delete(sequence(3)) },
		"middle event removed": func(b *bolt.Bucket) error { return b.Delete(sequence(2)) },
		"event changed": func(b *bolt.Bucket) error {
			payload := bytes.Replace(b.Get(sequence(2))[sumSize:], []byte("skipped"), []byte("pushed"), 1)
			return b.Put(sequence(2), seal(bucketEvents, sequence(2), payload))
		},
		"event added": func(b *bolt.Bucket) error {
			payload := bytes.Replace(b.Get(sequence(3))[sumSize:], []byte(`"seq":3`), []byte(`"seq":4`), 1)
			return b.Put(sequence(4), seal(bucketEvents, sequence(4), payload))
		},
	}
	for name, forge := range forgeries {
		path := filepath.Join(t.TempDir(), "ledger.db")
		l, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, class := range []string{"one", "two", "three"} {
			if _, err := l.Plan([]Item{sample}); err != nil {
				t.Fatal(err)
			}
			if err := l.Skip(sample.Key, class, "reason"); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(l.VerifyEvents(), l.Close()); err != nil {
			t.Fatal(err)
		}
		edit(t, path, func(tx *bolt.Tx) error { return forge(tx.Bucket([]byte(bucketEvents))) })
		if l, err = Open(path, Options{}); err != nil {
			t.Fatalf("%s: got %v, want no error", name, err)
		}
		if err := l.VerifyEvents(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, ErrDamaged)
		}
		l.Close()
	}
}

func TestAFileCutShortWhileOpenStopsTheRunButNotTheProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let go of open files")
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Plan([]Item{sample}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	_, _, readErr := l.Item(sample.Key)
	signErr := l.Sign(sample.Key, Envelope{MediaType: "m", Blob: []byte("b")})
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	select {
	case err := <-closed:
		for _, err := range []error{readErr, signErr, err} {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v, want %v", err, ErrDamaged)
			}
		}
		// The same process does not find it locked by itself.
		if _, err := Open(path, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened again: got %v, want %v", err, ErrDamaged)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("got a Close that hangs, want it to end")
	}
}
