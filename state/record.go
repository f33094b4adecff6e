package state

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// A value in the file is a checksum followed by JSON (in one case by four bytes). bbolt has no checksums on data
// pages, and a third of all single bit flips would pass unnoticed. The checksum also covers the record's key, so that
// a record moved to another key is detected.

const (
	sumSize   = 4
	recordV   = 1 // "v" in JSON records, except those with their own newest
	separator = 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is CRC32C over bucket, NUL, the key's length, key and payload.
func checksum(bucket string, key, payload []byte) uint32 {
	var place []byte
	place = append(place, bucket...)
	place = append(place, separator)
	place = binary.BigEndian.AppendUint32(place, uint32(len(key)))
	sum := crc32.Update(0, castagnoli, place)
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, payload)
}

// seal prepends the checksum to the payload.
func seal(bucket string, key, payload []byte) []byte {
	value := make([]byte, sumSize, sumSize+len(payload))
	binary.BigEndian.PutUint32(value, checksum(bucket, key, payload))
	return append(value, payload...)
}

// unseal returns the payload, which shares value's memory, or ErrDamaged.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	if len(value) < sumSize {
		return nil, damage("record %q in %s is %d bytes long", key, bucket, len(value))
	}
	payload := value[sumSize:]
	if binary.BigEndian.Uint32(value) != checksum(bucket, key, payload) {
		return nil, damage("checksum of record %q in %s does not match", key, bucket)
	}
	return payload, nil
}

// encode encodes a record as a value. Our own types always encode.
func encode(bucket string, key []byte, record any) ([]byte, error) {
	payload, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encoding record %q in %s: %w", key, bucket, err)
	}
	return seal(bucket, key, payload), nil
}

// decode reads a value into record, which must point to a struct with a version. Nothing in record refers to value
// afterwards: bbolt reuses that memory when the transaction ends. An unknown field was written by a version that we
// do not know; rewriting the record would lose it.
func decode(bucket string, key, value []byte, record versioned) error {
	payload, err := unseal(bucket, key, value)
	if err != nil {
		return err
	}
	if err := strictjson.UnmarshalKnown(payload, record); err != nil {
		return damage("record %q in %s: %v", key, bucket, err)
	}
	if v := record.version(); v < 1 || v > record.newest() {
		return damage("record %q in %s: version %d, want 1 to %d", key, bucket, v, record.newest())
	}
	return nil
}

// versioned is a record with the "v" that every JSON record carries. A newer version only adds fields, so older
// records are read as they are: an upgrade does not rewrite ten million items, and opening for reading rewrites
// nothing.
type versioned interface {
	version() int
	newest() int // highest version that is read, and the one written
}

// stamp is embedded in every record.
type stamp struct {
	V int `json:"v"`
}

func (s stamp) version() int { return s.V }

func (stamp) newest() int { return recordV }
