// Package boltfile reads a bbolt file as plain bytes and accounts for every page of it.
//
// bbolt maps its file into memory and trusts it: an offset beyond the file's end, or a truncated file, crashes the
// process in a way that no recover can catch. So this package reads the file first. The file is sound only if every
// page is either reached exactly once from the root or recorded as free, all keys are in order, and every page is
// filled as bbolt fills it. The layout is that of bbolt's file version 2, which uses the machine's byte order.
//
// Damage to the newer of the two meta pages is not detected: it looks like a crash before the last commit was
// complete, and the file then has the state before that commit.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io"
)

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = 1<<64 - 1

	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	branchEntry  = 16 // pos 4, key size 4, page 8
	leafEntry    = 16 // flags 4, pos 4, key size 4, value size 4
	bucketHeader = 16 // root page 8, sequence 8
	metaSize     = 64 // ends in a checksum of the preceding bytes

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketLeaf   = 0x01

	maxPage = 512 << 20 // bytes; the largest value is far below
)

var order = binary.NativeEndian

// meta is one of the file's two alternating meta pages.
type meta struct {
	pageSize int64
	root     uint64
	freelist uint64
	pages    uint64 // number of pages in use
	txid     uint64
}

// parseMeta reads a meta page without its header; it returns false if it is not valid, as one of the two may be after
// a crash. b has metaSize bytes.
func parseMeta(b []byte) (meta, bool) {
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion {
		return meta{}, false
	}
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	m := meta{
		pageSize: int64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		pages:    order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}
	return m, h.Sum64() == order.Uint64(b[metaSize-8:])
}

// readMeta returns the meta that bbolt will use: the newer of the valid ones.
func readMeta(r io.ReaderAt, size int64) (meta, error) {
	var best meta
	found := false
	consider := func(offset int64) {
		buf := make([]byte, pageHeader+metaSize)
		if _, err := r.ReadAt(buf, offset); err != nil {
			return
		}
		m, ok := parseMeta(buf[pageHeader:])
		// The second meta page is at the offset given by its own page size.
		if ok && (offset == 0 || offset == m.pageSize) && (!found || m.txid > best.txid) {
			best, found = m, true
		}
	}
	consider(0)
	for offset := int64(1024); offset <= 1024<<14 && offset < size; offset *= 2 {
		consider(offset)
	}
	if !found {
		return meta{}, damaged("neither of the two starting pages is valid; is it a ledger at all?")
	}
	return best, best.check(size)
}

func (m meta) check(size int64) error {
	if m.pageSize < 1024 || m.pageSize > 1024<<14 || m.pageSize&(m.pageSize-1) != 0 {
		return damaged("page size %d", m.pageSize)
	}
	if m.pages < 4 || m.pages > uint64(size/m.pageSize) {
		return damaged("%d pages of %d bytes are recorded, the file has %d bytes: it has been cut short",
			m.pages, m.pageSize, size)
	}
	return nil
}

// A page is one node of a tree, with its overflow pages.
type page struct {
	id    uint64
	flags uint16
	count int
	span  uint64 // number of pages it occupies
	data  []byte // complete, header included; a page inside a value ends with the value
}

func parsePage(data []byte) page {
	return page{
		id:    order.Uint64(data),
		flags: order.Uint16(data[8:]),
		count: int(order.Uint16(data[10:])),
		span:  uint64(order.Uint32(data[12:])) + 1,
		data:  data,
	}
}

// slice returns n bytes at offset, or false if they are not all in the page.
func (p page) slice(offset, n uint64) ([]byte, bool) {
	// Sums of 32-bit numbers cannot overflow.
	if offset+n > uint64(len(p.data)) {
		return nil, false
	}
	return p.data[offset : offset+n : offset+n], true
}

// bbolt writes the data of all entries without a gap, from after the last entry on, and zeros after them. So a wrong
// number of entries shows, and with it entries that are missing.

// dataStart returns where the data of the first entry starts.
func (p page) dataStart(entry int) uint64 { return uint64(pageHeader + p.count*entry) }

// endsAt checks that the data of the last entry ends at that offset.
func (p page) endsAt(end uint64) error {
	if rest := p.data[end:]; bytes.Count(rest, []byte{0}) != len(rest) {
		return damaged("page %d has more in it than its %d entries", p.id, p.count)
	}
	return nil
}

// A child is an entry of a branch page: a page below and its first key.
type child struct {
	first []byte
	page  uint64
}

// children returns the entries of a branch page.
func (p page) children() ([]child, error) {
	all := make([]child, p.count)
	start := p.dataStart(branchEntry)
	for i := range all {
		at := uint64(pageHeader + i*branchEntry)
		e, ok := p.slice(at, branchEntry)
		if ok && at+uint64(order.Uint32(e)) == start {
			all[i].first, ok = p.slice(start, uint64(order.Uint32(e[4:])))
			all[i].page = order.Uint64(e[8:])
		}
		if !ok || len(all[i].first) == 0 {
			return nil, p.misplaced(i)
		}
		start += uint64(len(all[i].first))
	}
	return all, nil
}

// leaf returns entry i of a leaf page, whose data starts at that offset.
func (p page) leaf(i int, start uint64) (flags uint32, key, value []byte, err error) {
	at := uint64(pageHeader + i*leafEntry)
	e, ok := p.slice(at, leafEntry)
	if ok && at+uint64(order.Uint32(e[4:])) == start {
		flags = order.Uint32(e)
		keySize, valueSize := uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
		key, ok = p.slice(start, keySize)
		if ok {
			value, ok = p.slice(start+keySize, valueSize)
		}
	}
	if !ok || len(key) == 0 || flags&^bucketLeaf != 0 {
		return 0, nil, nil, p.misplaced(i)
	}
	return flags, key, value, nil
}

func (p page) misplaced(i int) error {
	return damaged("page %d: entry %d points to another place than its own", p.id, i)
}
