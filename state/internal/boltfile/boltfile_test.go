package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// prefix begins the keys in smallFile's file.
const prefix = "registry.example.com/app"

// sizes are the buckets of smallFile's file and their numbers of entries. The last one is inside the
// list of buckets.
var sizes = map[string]int{"one": 300, "two": 300, "zero": 2}

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
			for name, size := range sizes {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				for n := range size {
					key := fmt.Appendf(nil, "%s %04d", prefix, n)
					if err := b.Put(key, record(key, 200)); err != nil {
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
	for name := range sizes {
		if err == nil && !f.Has(name) {
			err = damaged("no bucket %s", name)
		}
		if err == nil {
			err = f.Each(name, checksum)
		}
	}
	if err != nil {
		return err
	}
	return f.End()
}

// checksum stands for what the ledger stores with each record: a value here ends in the length of the whole.
func checksum(key, value []byte) error {
	if n := len(value); n < 2 || int(value[n-2])<<8|int(value[n-1]) != len(key)+n {
		return damaged("a record of another length")
	}
	return nil
}

// record returns a value for key of at least size bytes.
func record(key []byte, size int) []byte {
	n := len(key) + size + 2
	return append(make([]byte, size), byte(n>>8), byte(n))
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
	zero := root + uint64(bytes.Index(file[root:], []byte("zero"))) + 4 + bucketHeader // the page inside a value
	one := root + uint64(bytes.Index(file[root:], []byte("one"))) + 3
	at := func(id uint64) uint64 { return id * uint64(m.pageSize) }
	branch := at(order.Uint64(file[one:]))
	leaf := at(order.Uint64(file[branch+pageHeader+8:]))
	last := func(page uint64) uint64 { return uint64(order.Uint16(file[page+10:])) - 1 }
	lastOf := func(page uint64) string {
		return fmt.Sprintf("page %d: entry %d points", page/uint64(m.pageSize), last(page))
	}
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
		"points to another place":                    func(b []byte) { order.PutUint32(b[root+pageHeader+8:], 1<<31) },
		lastOf(branch):                               func(b []byte) { order.PutUint32(b[branch+pageHeader+last(branch)*branchEntry+4:], 0) },
		lastOf(leaf):                                 func(b []byte) { order.PutUint32(b[leaf+pageHeader+last(leaf)*leafEntry+8:], 0) },
		"small bucket of type 0x2, page 0, 3 more":   func(b []byte) { order.PutUint32(b[zero+12:], 3) },
		"has no entries":                             func(b []byte) { order.PutUint16(b[leaf+10:], 0) },
		"has more in it":                             func(b []byte) { b[leaf+uint64(m.pageSize)-1] = 1 },
		"a small bucket of type 0x1":                 func(b []byte) { order.PutUint16(b[zero+8:], branchPage) },
		"type 0x2, page 9":                           func(b []byte) { order.PutUint64(b[zero:], 9) },
		"more in it than its 0 entries":              func(b []byte) { order.PutUint16(b[zero+10:], 0) },
		"a bucket of ":                               func(b []byte) { order.PutUint64(b[zero-bucketHeader:], first) },
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
		if id != m.root && order.Uint64(p) == id && order.Uint16(p[8:]) == leafPage && order.Uint16(p[10:]) > 2 && bytes.Contains(p[:m.pageSize], []byte(prefix)) {
			pages = append(pages, int(id*uint64(m.pageSize)))
		}
	}
	at := 0
	// key returns the key of entry i. All have the same length.
	key := func(b []byte, i int) []byte {
		start := at + pageHeader + i*leafEntry
		return b[start+int(order.Uint32(b[start+4:])):][:len(prefix)+len(" 0000")]
	}
	for name, damage := range map[string]func(b []byte){
		"two neighbours swapped": func(b []byte) {
			first := bytes.Clone(key(b, 1))
			copy(key(b, 1), key(b, 2))
			copy(key(b, 2), first)
		},
		"the same twice": func(b []byte) { copy(key(b, 1), key(b, 0)) },
		"the last as the next page's first": func(b []byte) {
			last := key(b, int(order.Uint16(b[at+10:]))-1)
			number, _ := strconv.Atoi(string(last[len(prefix)+1:]))
			copy(last, fmt.Appendf(nil, "%s %04d", prefix, number+1))
		},
		"the last first": func(b []byte) { copy(key(b, 0), key(b, int(order.Uint16(b[at+10:]))-1)) },
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

// TestEachBitOfAPageCounts flips single bits in what places the entries of a page: its header, its
// entries, and the keys of a branch. A page with fewer entries would hide records, and no checksum of
// a record would tell.
func TestEachBitOfAPageCounts(t *testing.T) {
	t.Parallel()
	file, m := smallFile(t)
	f, err := Read(bytes.NewReader(file), int64(len(file)))
	for name := range sizes {
		if err == nil {
			err = f.Each(name, checksum)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var places []int // bytes of the file
	for id := uint64(2); id < m.pages; id++ {
		if !f.used[id] && id != m.freelist {
			continue
		}
		start := int(id) * int(m.pageSize)
		p := parsePage(file[start:][:m.pageSize])
		length := map[uint16]int{leafPage: pageHeader + p.count*leafEntry, branchPage: pageHeader + p.count*(branchEntry+len(prefix)), freelistPage: pageHeader + p.count*8}[p.flags]
		for at := range length {
			places = append(places, start+at)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		at, bit := places[random.IntN(len(places))], random.IntN(8)
		file[at] ^= 1 << bit
		var d Damage
		if err := check(file); !errors.As(err, &d) {
			t.Errorf("page %d, byte %d, bit %d: got %v, want damage", at/int(m.pageSize), at%int(m.pageSize), bit, err)
		}
		file[at] ^= 1 << bit
	}
}

// TestWhatBboltWritesIsSound: whatever is put and deleted, bbolt fills pages as this package expects it.
func TestWhatBboltWritesIsSound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "random.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(3, 4))
	change := func(b *bolt.Bucket) (err error) {
		b.FillPercent = 0.1 + random.Float64()*0.9
		first, length := random.IntN(3000), random.IntN(400)
		if random.IntN(10) == 0 {
			first, length = 0, 3000 // everything
		}
		remove := random.IntN(2) == 0
		for n := first; n < first+length && err == nil; n++ {
			// Keys that are prefixes of others, and some large values.
			key := fmt.Appendf(nil, "%0*d", 1+n%7, n)
			size := random.IntN(300)
			if random.IntN(200) == 0 {
				size = random.IntN(20_000)
			}
			switch {
			case remove:
				err = b.Delete(key)
			case random.IntN(3) > 0:
				err = b.Put(key, record(key, size))
			}
		}
		return err
	}
	for n := range 150 {
		err := db.Update(func(tx *bolt.Tx) error {
			for name := range sizes {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err == nil && (n == 0 || random.IntN(3) > 0) {
					err = change(b)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err == nil {
			err = check(file)
		}
		if err != nil {
			t.Fatalf("after transaction %d: got %v, want no damage", n, err)
		}
	}
}
