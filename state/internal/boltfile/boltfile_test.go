package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// prefix begins the keys in smallFile's file.
const prefix = "registry.example.com/app"

// smallFile returns a file of some hundred entries with free pages, and its meta.
func smallFile(t *testing.T) ([]byte, meta) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // rewriting leaves pages free
		err := db.Update(func(tx *bolt.Tx) error {
			for _, name := range []string{"one", "two"} {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				for n := range 300 {
					if err := b.Put(fmt.Appendf(nil, "%s %04d", prefix, n), make([]byte, 200)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := readMeta(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return file, m
}

// check accounts for a whole file.
func check(data []byte) error {
	f, err := Read(bytes.NewReader(data), int64(len(data)))
	for _, name := range []string{"one", "two"} {
		if err == nil {
			err = f.Each(name, func([]byte, []byte) error { return nil })
		}
	}
	if err != nil {
		return err
	}
	return f.End()
}

// A ledger of gigabytes is read with the memory of a few pages.
func TestPagesShareMemory(t *testing.T) {
	file, m := smallFile(t)
	allocated := testing.AllocsPerRun(5, func() {
		if err := check(file); err != nil {
			t.Error(err)
		}
	})
	if used := float64(m.pages) / 3; allocated >= used {
		t.Errorf("got %.0f allocations for a file of %d pages, want less than %.0f", allocated, m.pages, used)
	}
}

// TestEveryPageIsAccountedFor damages what bbolt would notice only later, when it writes over a
// page that is in use.
func TestEveryPageIsAccountedFor(t *testing.T) {
	t.Parallel()
	file, m := smallFile(t)
	free := m.freelist * uint64(m.pageSize)
	root := m.root * uint64(m.pageSize)
	count := order.Uint16(file[free+10:])
	if count < 2 {
		t.Fatalf("got %d free pages, want at least 2 for this test", count)
	}
	first := order.Uint64(file[free+pageHeader:])
	for want, damage := range map[string]func(b []byte){
		"neither used nor free":                      func(b []byte) { order.PutUint16(b[free+10:], count-1) },
		fmt.Sprintf("page %d is used twice", m.root): func(b []byte) { order.PutUint64(b[free+pageHeader:], m.root) },
		fmt.Sprintf("page %d is used", first):        func(b []byte) { order.PutUint64(b[free+pageHeader+8:], first) },
		"page 1 is used twice":                       func(b []byte) { order.PutUint64(b[free+pageHeader:], 1) },
		"is beyond the end":                          func(b []byte) { order.PutUint64(b[free+pageHeader:], m.pages) },
		"65520 free pages of":                        func(b []byte) { order.PutUint16(b[free+10:], 0xFFF0) },
		"":                                           func(b []byte) { order.PutUint16(b[free+10:], 0xFFFF) }, // its number is then the first page in it
		"not that of the free pages":                 func(b []byte) { order.PutUint16(b[free+8:], leafPage) },
		"calls itself":                               func(b []byte) { order.PutUint64(b[root:], m.root+1) },
		"and 4294967295 more":                        func(b []byte) { order.PutUint32(b[root+12:], 1<<32-1) },
		"has type":                                   func(b []byte) { order.PutUint16(b[root+8:], 0x20) },
		"points out of the page":                     func(b []byte) { order.PutUint32(b[root+pageHeader+8:], 1<<31) },
	} {
		data := bytes.Clone(file)
		damage(data)
		err := check(data)
		var d Damage
		if !errors.As(err, &d) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want damage with %q", err, want)
		}
	}
	if err := check(file); err != nil {
		t.Errorf("undamaged: got %v, want no error", err)
	}
}

// TestKeysOutOfOrderAreFound: bbolt's binary search would miss a key, and its item would look as
// if never seen. Checksums do not tell, as each record is whole.
func TestKeysOutOfOrderAreFound(t *testing.T) {
	t.Parallel()
	file, m := smallFile(t)
	// One of these is in use; the others are older, and free.
	var pages []int
	for id := uint64(2); id < m.pages; id++ {
		p := file[id*uint64(m.pageSize):]
		if order.Uint64(p) == id && order.Uint16(p[8:]) == leafPage && order.Uint16(p[10:]) > 2 && bytes.Contains(p[:m.pageSize], []byte(prefix)) {
			pages = append(pages, int(id*uint64(m.pageSize)))
		}
	}
	at := 0
	entry := func(b []byte, i int) []byte { return b[at+pageHeader+i*leafEntry:][:leafEntry] }
	// take makes entry i show what entry from shows; an entry's offset counts from the entry itself.
	take := func(b []byte, i int, of []byte, from int) {
		e := entry(b, i)
		copy(e, of)
		order.PutUint32(e[4:], uint32(int(order.Uint32(of[4:]))+(from-i)*leafEntry))
	}
	for name, damage := range map[string]func(b []byte){
		"two neighbours swapped": func(b []byte) {
			first, second := bytes.Clone(entry(b, 0)), bytes.Clone(entry(b, 1))
			take(b, 0, second, 1)
			take(b, 1, first, 0)
		},
		"the same twice": func(b []byte) { take(b, 1, bytes.Clone(entry(b, 0)), 0) },
		"the last first": func(b []byte) {
			last := int(order.Uint16(b[at+10:])) - 1
			take(b, 0, bytes.Clone(entry(b, last)), last)
		},
	} {
		found := false
		for _, at = range pages {
			data := bytes.Clone(file)
			damage(data)
			err := check(data)
			var d Damage
			found = found || errors.As(err, &d) && strings.Contains(err.Error(), "out of order")
		}
		if !found {
			t.Errorf("%s: got it found in none of %d pages, want it found", name, len(pages))
		}
	}
}

// TestOnlyBboltsOwnStartingPageCounts: of the two, the one that bbolt will use is checked. bbolt
// uses none of another format or version, however well its checksum fits.
func TestOnlyBboltsOwnStartingPageCounts(t *testing.T) {
	t.Parallel()
	file, newest := smallFile(t)
	page := int(newest.txid%2) * int(newest.pageSize)
	for name, c := range map[string]struct {
		field   int
		txid    uint64
		damaged bool
	}{
		"as it is":             {-1, newest.txid, false},
		"another magic number": {0, newest.txid - 1, false},
		"another version":      {4, newest.txid - 1, false},
		"another checksum":     {metaSize - 8, newest.txid - 1, true},
	} {
		data := bytes.Clone(file)
		b := data[page+pageHeader:][:metaSize]
		if c.field >= 0 {
			b[c.field]++
		}
		if !c.damaged {
			h := fnv.New64a()
			h.Write(b[:metaSize-8])
			order.PutUint64(b[metaSize-8:], h.Sum64())
		}
		if m, err := readMeta(bytes.NewReader(data), int64(len(data))); err != nil || m.txid != c.txid {
			t.Errorf("%s: got transaction %d, %v, want %d", name, m.txid, err, c.txid)
		}
	}
}
