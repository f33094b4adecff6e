package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const maxDepth = 48 // levels of a tree; 100 million items need six

// An auditor walks a whole file and accounts for every page of it.
type auditor struct {
	file io.ReaderAt
	meta meta
	used []bool // by page: reached, or free
	left uint64 // pages not accounted for yet
}

// audit reads the file as bbolt would and reports the first thing that a
// ledger cannot contain. It returns nil only if every page is either reached
// exactly once from the root or recorded as free, all keys are in order, the
// buckets are ours, and every record matches its checksum. Only then may bbolt
// map the file. The caller holds the lock. One GB takes about a second.
//
// What it cannot see is damage to the newer of the two starting pages: that
// looks like a crash before the last commit was complete, and the ledger is
// then the one before that commit.
func audit(file io.ReaderAt, size int64) error {
	m, err := readMeta(file, size)
	if err != nil {
		return err
	}
	a := &auditor{file: file, meta: m, used: make([]bool, m.pages), left: m.pages}
	if err := a.claim(0, 2); err != nil {
		return err
	}
	roots, err := a.roots()
	if err != nil {
		return err
	}
	// First of all the schema: if it is newer, the rest may look wrong to us.
	if err := a.schema(roots[bucketMeta]); err != nil {
		return err
	}
	if len(roots) != len(buckets) {
		return damage("%d buckets instead of %d", len(roots), len(buckets))
	}
	for _, name := range buckets {
		if roots[name] == nil {
			return damage("bucket %s is missing", name)
		}
		if err := a.bucket(name, roots[name]); err != nil {
			return err
		}
	}
	if err := a.freelist(); err != nil {
		return err
	}
	if a.left != 0 {
		return damage("%d pages are neither used nor free", a.left)
	}
	return nil
}

// claim marks pages as accounted for, each once.
func (a *auditor) claim(id, span uint64) error {
	if span > a.meta.pages || id > a.meta.pages-span {
		return damage("page %d (and %d more) is beyond the end at %d", id, span-1, a.meta.pages)
	}
	for i := id; i < id+span; i++ {
		if a.used[i] {
			return damage("page %d is used twice", i)
		}
		a.used[i] = true
	}
	a.left -= span
	return nil
}

// load reads a page, claims it and checks that it is what it says.
func (a *auditor) load(id uint64) (page, error) {
	if id < 2 || id >= a.meta.pages {
		return page{}, damage("page %d is beyond the end at %d", id, a.meta.pages)
	}
	data := make([]byte, a.meta.pageSize)
	if err := a.read(data, id); err != nil {
		return page{}, err
	}
	p := parsePage(data)
	if p.id != id {
		return page{}, damage("page %d calls itself %d", id, p.id)
	}
	if err := a.claim(id, p.span); err != nil {
		return page{}, err
	}
	if p.span > 1 {
		length := int64(p.span) * a.meta.pageSize
		if length > maxPage {
			return page{}, damage("page %d is %d bytes long", id, length)
		}
		p.data = make([]byte, length)
		if err := a.read(p.data, id); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

func (a *auditor) read(data []byte, id uint64) error {
	_, err := a.file.ReadAt(data, int64(id)*a.meta.pageSize)
	switch {
	case errors.Is(err, io.EOF):
		return damage("the file ends within page %d", id)
	case err != nil:
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	return nil
}

// walk visits all entries of the tree under p in order. low and high bound its
// keys: low <= key < high, where nil is no bound.
func (a *auditor) walk(p page, low, high []byte, depth int, visit func(flags uint32, key, value []byte) error) error {
	if depth > maxDepth {
		return damage("page %d is %d levels deep", p.id, depth)
	}
	switch p.flags {
	case leafPage:
		return a.walkLeaf(p, low, high, visit)
	case branchPage:
		return a.walkBranch(p, low, high, depth, visit)
	}
	return damage("page %d has type %#x", p.id, p.flags)
}

func (a *auditor) walkLeaf(p page, low, high []byte, visit func(uint32, []byte, []byte) error) error {
	for i := range p.count {
		flags, key, value, err := p.leaf(i)
		if err != nil {
			return err
		}
		if !between(low, key, high, i > 0) {
			return damage("page %d: entry %d is out of order", p.id, i)
		}
		if err := visit(flags, key, value); err != nil {
			return err
		}
		low = key
	}
	return nil
}

func (a *auditor) walkBranch(p page, low, high []byte, depth int, visit func(uint32, []byte, []byte) error) error {
	if p.count == 0 {
		return damage("page %d has nothing below it", p.id)
	}
	for i := range p.count {
		key, id, err := p.branch(i)
		if err != nil {
			return err
		}
		if !between(low, key, high, i > 0) {
			return damage("page %d: entry %d is out of order", p.id, i)
		}
		next := high
		if i+1 < p.count {
			if next, _, err = p.branch(i + 1); err != nil {
				return err
			}
		}
		child, err := a.load(id)
		if err != nil {
			return err
		}
		if err := a.walk(child, key, next, depth+1, visit); err != nil {
			return err
		}
		low = key
	}
	return nil
}

// between reports whether low <= key < high, or low < key if strict.
func between(low, key, high []byte, strict bool) bool {
	if high != nil && bytes.Compare(key, high) >= 0 {
		return false
	}
	c := bytes.Compare(low, key)
	return low == nil || c < 0 || c == 0 && !strict
}
