package state

import (
	"bytes"
	"encoding/binary"
)

// roots finds the top of each bucket's tree. The value is the bucket's header,
// followed by the tree itself when that is small.
func (a *auditor) roots() (map[string][]byte, error) {
	top, err := a.load(a.meta.root)
	if err != nil {
		return nil, err
	}
	roots := map[string][]byte{}
	err = a.walk(top, nil, nil, 0, func(flags uint32, key, value []byte) error {
		if flags&bucketLeaf == 0 || len(value) < bucketHeader {
			return damage("%q is not part of a ledger", key)
		}
		roots[string(key)] = value
		return nil
	})
	if err == nil && roots[bucketMeta] == nil {
		err = damage("bucket %s is missing; is it a ledger at all?", bucketMeta)
	}
	return roots, err
}

// tree returns the page at the top of a bucket.
func (a *auditor) tree(root []byte) (page, error) {
	if id := order.Uint64(root); id != 0 {
		return a.load(id)
	}
	// The pages of a small bucket lie in its value, which starts anywhere; its
	// entries count from there.
	inline := root[bucketHeader:]
	if len(inline) < pageHeader {
		return page{}, damage("a small bucket of %d bytes", len(inline))
	}
	p := parsePage(inline)
	if p.flags != leafPage || p.span != 1 {
		return page{}, damage("a small bucket of type %#x", p.flags)
	}
	return p, nil
}

// bucket checks every record of a bucket.
func (a *auditor) bucket(name string, root []byte) error {
	top, err := a.tree(root)
	if err != nil {
		return err
	}
	return a.walk(top, nil, nil, 0, func(flags uint32, key, value []byte) error {
		if flags&bucketLeaf != 0 {
			return damage("%q in %s is a bucket", key, name)
		}
		_, err := unseal(name, key, value)
		return err
	})
}

// schema reads the schema's number from the bucket meta, before anything else
// is believed. It claims no pages.
func (a *auditor) schema(root []byte) error {
	probe := &auditor{file: a.file, meta: a.meta, used: make([]bool, len(a.used)), left: a.left}
	top, err := probe.tree(root)
	if err != nil {
		return err
	}
	found := false
	err = probe.walk(top, nil, nil, 0, func(_ uint32, key, value []byte) error {
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

// checkSchema judges the schema's record.
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

// freelist accounts for the pages that are free.
func (a *auditor) freelist() error {
	if a.meta.freelist == noFreelist {
		return damage("the list of free pages is missing")
	}
	p, err := a.load(a.meta.freelist)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return damage("page %d has type %#x, not that of the free pages", p.id, p.flags)
	}
	at, count := uint64(pageHeader), uint64(p.count)
	if p.count == 0xFFFF {
		// Too many for the header: the number is in the first place.
		first, ok := p.slice(at, 8)
		if !ok {
			return damage("the list of free pages is empty")
		}
		at, count = at+8, order.Uint64(first)
	}
	if count > a.meta.pages {
		return damage("%d free pages of %d", count, a.meta.pages)
	}
	ids, ok := p.slice(at, count*8)
	if !ok {
		return damage("the list of %d free pages is longer than its page", count)
	}
	for i := range count {
		if err := a.claim(order.Uint64(ids[i*8:]), 1); err != nil {
			return err
		}
	}
	return nil
}
