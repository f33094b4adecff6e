package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const maxDepth = 48 // levels of a tree; 100 million items need six

// Damage says what is wrong with a file. Other errors come from reading it.
type Damage string

func (d Damage) Error() string { return string(d) }

func damaged(format string, args ...any) error { return Damage(fmt.Sprintf(format, args...)) }

// A File is walked once. Each page reached is claimed, and none twice.
type File struct {
	file    io.ReaderAt
	meta    meta
	used    []bool            // by page: reached, or free
	left    uint64            // pages not claimed yet
	buckets map[string][]byte // by name: a header, followed by the tree itself when that is small
}

// Read reads the starting pages and the list of buckets. The caller holds the lock.
func Read(file io.ReaderAt, size int64) (*File, error) {
	m, err := readMeta(file, size)
	if err != nil {
		return nil, err
	}
	f := &File{file: file, meta: m, used: make([]bool, m.pages), left: m.pages, buckets: map[string][]byte{}}
	if err := f.claim(0, 2); err != nil {
		return nil, err
	}
	top, err := f.load(m.root, nil)
	if err != nil {
		return nil, err
	}
	return f, f.walk(top, nil, nil, 0, func(flags uint32, key, value []byte) error {
		if flags&bucketLeaf == 0 || len(value) < bucketHeader {
			return damaged("%q is no bucket", key)
		}
		f.buckets[string(key)] = bytes.Clone(value)
		return nil
	})
}

// Has reports whether the bucket exists.
func (f *File) Has(bucket string) bool { return f.buckets[bucket] != nil }

// Buckets returns the number of buckets.
func (f *File) Buckets() int { return len(f.buckets) }

// Each visits the entries of an existing bucket, in order. They are valid until visit returns.
func (f *File) Each(bucket string, visit func(key, value []byte) error) error {
	top, err := f.tree(f.buckets[bucket])
	if err != nil {
		return err
	}
	return f.walk(top, nil, nil, 0, func(flags uint32, key, value []byte) error {
		if flags&bucketLeaf != 0 {
			return damaged("%q in %s is a bucket", key, bucket)
		}
		return visit(key, value)
	})
}

// Peek visits the entries of an existing bucket before the file is trusted. It claims no page.
func (f *File) Peek(bucket string, visit func(key, value []byte) error) error {
	peek := *f
	peek.used = make([]bool, len(f.used))
	top, err := peek.tree(f.buckets[bucket])
	if err != nil {
		return err
	}
	return peek.walk(top, nil, nil, 0, func(_ uint32, key, value []byte) error { return visit(key, value) })
}

// End claims the free pages. Call it last: no page may remain.
func (f *File) End() error {
	if err := f.freelist(); err != nil {
		return err
	}
	if f.left != 0 {
		return damaged("%d pages are neither used nor free", f.left)
	}
	return nil
}

// claim marks pages as accounted for. Each page can be claimed once.
func (f *File) claim(id, span uint64) error {
	if span > f.meta.pages || id > f.meta.pages-span {
		return damaged("page %d (and %d more) is beyond the end at %d", id, span-1, f.meta.pages)
	}
	for i := id; i < id+span; i++ {
		if f.used[i] {
			return damaged("page %d is used twice", i)
		}
		f.used[i] = true
	}
	f.left -= span
	return nil
}

// load reads a page, claims it and checks its header. It reuses the memory of a page that is no longer needed, which may
// be nil.
func (f *File) load(id uint64, memory []byte) (page, error) {
	if id < 2 || id >= f.meta.pages {
		return page{}, damaged("page %d is beyond the end at %d", id, f.meta.pages)
	}
	data := memory
	if int64(len(data)) != f.meta.pageSize {
		data = make([]byte, f.meta.pageSize)
	}
	if err := f.read(data, id); err != nil {
		return page{}, err
	}
	p := parsePage(data)
	if p.id != id {
		return page{}, damaged("page %d calls itself %d", id, p.id)
	}
	if err := f.claim(id, p.span); err != nil {
		return page{}, err
	}
	if p.span > 1 {
		length := int64(p.span) * f.meta.pageSize
		if length > maxPage {
			return page{}, damaged("page %d is %d bytes long", id, length)
		}
		p.data = make([]byte, length)
		if err := f.read(p.data, id); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

func (f *File) read(data []byte, id uint64) error {
	_, err := f.file.ReadAt(data, int64(id)*f.meta.pageSize)
	switch {
	case errors.Is(err, io.EOF):
		return damaged("the file ends within page %d", id)
	case err != nil:
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	return nil
}

// walk visits all entries of the tree under p in order. first is the key that the page above has for p, and every key
// comes before next; both are nil for a root, and next is nil where nothing follows.
func (f *File) walk(p page, first, next []byte, depth int, visit func(flags uint32, key, value []byte) error) error {
	if depth > maxDepth {
		return damaged("page %d is %d levels deep", p.id, depth)
	}
	if p.count == 0 && depth > 0 {
		return damaged("page %d has no entries", p.id)
	}
	switch p.flags {
	case leafPage:
		return f.walkLeaf(p, first, next, visit)
	case branchPage:
		return f.walkBranch(p, first, next, depth, visit)
	}
	return damaged("page %d has type %#x", p.id, p.flags)
}

func (f *File) walkLeaf(p page, first, next []byte, visit func(uint32, []byte, []byte) error) error {
	var before []byte
	at := p.dataStart(leafEntry)
	for i := range p.count {
		flags, key, value, err := p.leaf(i, at)
		if err != nil {
			return err
		}
		if !inOrder(i, before, key, first, next) {
			return damaged("page %d: entry %d is out of order", p.id, i)
		}
		if err := visit(flags, key, value); err != nil {
			return err
		}
		before = key
		at += uint64(len(key) + len(value))
	}
	return p.endsAt(at)
}

func (f *File) walkBranch(p page, first, next []byte, depth int, visit func(uint32, []byte, []byte) error) error {
	children, err := p.children()
	if err != nil {
		return err
	}
	var before []byte
	var below page
	for i, c := range children {
		if !inOrder(i, before, c.first, first, next) {
			return damaged("page %d: entry %d is out of order", p.id, i)
		}
		end := next
		if i+1 < len(children) {
			end = children[i+1].first
		}
		if below, err = f.load(c.page, below.data); err != nil {
			return err
		}
		if err := f.walk(below, c.first, end, depth+1, visit); err != nil {
			return err
		}
		before = c.first
	}
	return nil
}

// inOrder reports whether the key of entry i comes after the one before, or is first, and comes before next. bbolt
// finds a page in the page above by its first key; if they differ, it keeps the old page in the tree although it has
// freed it, and later writes something else there.
func inOrder(i int, before, key, first, next []byte) bool {
	switch {
	case next != nil && bytes.Compare(key, next) >= 0:
		return false
	case i > 0:
		return bytes.Compare(before, key) < 0
	}
	return first == nil || bytes.Equal(first, key)
}

// tree returns the root page of a bucket.
func (f *File) tree(root []byte) (page, error) {
	if id := order.Uint64(root); id != 0 {
		if len(root) != bucketHeader {
			return page{}, damaged("a bucket of %d bytes", len(root))
		}
		return f.load(id, nil)
	}
	// A small bucket's pages are in its value, which starts anywhere; offsets of its entries count from there.
	inline := root[bucketHeader:]
	if len(inline) < pageHeader {
		return page{}, damaged("a small bucket of %d bytes", len(inline))
	}
	p := parsePage(inline)
	// bbolt frees the page that a small bucket names, and names none.
	if p.flags != leafPage || p.span != 1 || p.id != 0 {
		return page{}, damaged("a small bucket of type %#x, page %d, %d more", p.flags, p.id, p.span-1)
	}
	return p, nil
}

// freelist claims the free pages.
func (f *File) freelist() error {
	if f.meta.freelist == noFreelist {
		return damaged("the list of free pages is missing")
	}
	p, err := f.load(f.meta.freelist, nil)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return damaged("page %d has type %#x, not that of the free pages", p.id, p.flags)
	}
	at, count := uint64(pageHeader), uint64(p.count)
	if p.count == 0xFFFF {
		// Too many for the header: the first element holds the number.
		first, ok := p.slice(at, 8)
		if !ok {
			return damaged("the list of free pages is empty")
		}
		at, count = at+8, order.Uint64(first)
	}
	if count > f.meta.pages {
		return damaged("%d free pages of %d", count, f.meta.pages)
	}
	ids, ok := p.slice(at, count*8)
	if !ok {
		return damaged("the list of %d free pages is longer than its page", count)
	}
	for i := range count {
		if err := f.claim(order.Uint64(ids[i*8:]), 1); err != nil {
			return err
		}
	}
	return nil
}
