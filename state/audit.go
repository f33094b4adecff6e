package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/dct2notation/dct2notation/state/internal/boltfile"
)

// audit reads the file as bbolt would and reports the first thing that a
// ledger cannot contain. It returns nil only if package boltfile has accounted for every
// page, the buckets are ours, and every record matches its checksum. Only then may bbolt
// map the file. The caller holds the lock. One GB takes about a second.
func audit(file io.ReaderAt, size int64) error {
	err := auditRecords(file, size)
	var d boltfile.Damage
	if errors.As(err, &d) {
		return damage("%s", d)
	}
	return err
}

func auditRecords(file io.ReaderAt, size int64) error {
	f, err := boltfile.Read(file, size)
	if err != nil {
		return err
	}
	if !f.Has(bucketMeta) {
		return damage("bucket %s is missing; is it a ledger at all?", bucketMeta)
	}
	// Check the schema first: if it is newer, the rest may look wrong to us.
	if err := auditSchema(f); err != nil {
		return err
	}
	if n := f.Buckets(); n != len(buckets) {
		return damage("%d buckets instead of %d", n, len(buckets))
	}
	for _, name := range buckets {
		if !f.Has(name) {
			return damage("bucket %s is missing", name)
		}
		err := f.Each(name, func(key, value []byte) error {
			_, err := unseal(name, key, value)
			return err
		})
		if err != nil {
			return err
		}
	}
	return f.End()
}

// auditSchema reads the schema's number from the bucket meta.
func auditSchema(f *boltfile.File) error {
	found := false
	err := f.Peek(bucketMeta, func(key, value []byte) error {
		if !bytes.Equal(key, keySchema) {
			return nil
		}
		found = true
		return checkSchema(value)
	})
	if err == nil && !found {
		err = damage("no schema is recorded; is it a ledger at all?")
	}
	return err
}

// checkSchema checks the schema's record.
func checkSchema(value []byte) error {
	payload, err := unseal(bucketMeta, keySchema, value)
	if err != nil {
		return err
	}
	if len(payload) != 4 {
		return damage("a schema of %d bytes", len(payload))
	}
	switch n := binary.BigEndian.Uint32(payload); {
	case n > schemaVersion:
		return newerSchema(n)
	case n < 1:
		return damage("schema %d never existed", n)
	}
	return nil
}
