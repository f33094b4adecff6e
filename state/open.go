package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// Options of Open. The zero value is usable.
type Options struct {
	Clock          func() time.Time // stamps records; time.Now if nil
	Tool           string           // name and version of the program, recorded in the file
	AllowNetworkFS bool             // open even where locks and flushes are doubtful
	// ReadOnly opens an existing ledger and changes neither it nor its directory. It still takes the lock, since
	// nobody else may read a ledger in use.
	ReadOnly bool

	copied bool // a copy, which is not locked; see OpenCopy
}

// A Ledger is an open ledger file. See the package comment.
type Ledger struct {
	path  string
	clock func() time.Time
	fixed bool // opened for reading
	copy  bool // it is a copy, which may be replaced meanwhile
	db    *bolt.DB
	file  *os.File    // used and owned by db
	self  os.FileInfo // of file, to notice when path names another file

	queue   chan *op      // to the writer
	stopped chan struct{} // closed when the writer has ended

	ends map[Key]string // how items ended; owned by the writer, see again

	schema uint32 // schema of the file, set before Open returns; an older file is only read

	// Every call holds gate shared, and Close holds it exclusively.
	gate   sync.RWMutex
	closed bool

	fault fault
}

const lockTimeout = 2 * time.Second

// Open opens the ledger at path. If there is none, it creates the ledger and its directory. It waits at most two
// seconds for another process to release it.
//
// It returns a *LockedError if another process holds the ledger, and ErrNewerSchema, ErrDamaged or ErrNetworkFS if
// the file is not usable. In all these cases it has not changed the file. It refuses a symbolic link.
func Open(path string, o Options) (*Ledger, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	l, err := open(path, o)
	if err == nil {
		return l, nil
	}
	var locked *LockedError
	if errors.As(err, &locked) {
		return nil, locked // needs no more context
	}
	err = fmt.Errorf("opening ledger %s: %w", path, err)
	switch {
	case errors.Is(err, ErrDamaged):
		err = fmt.Errorf("%w\n%s", err, rebuildHint)
	case errors.Is(err, fs.ErrPermission) && o.ReadOnly:
		err = fmt.Errorf("%w\nhint: the ledger must be readable, and its directory", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w\nhint: the ledger and its directory must be writable", err)
	}
	return nil, err
}

func open(path string, o Options) (*Ledger, error) {
	if path == "" {
		return nil, errors.New("no path given")
	}
	// The working directory may change later.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := prepare(path, o); err != nil {
		return nil, err
	}
	l := &Ledger{path: path, clock: o.Clock, fixed: o.ReadOnly, copy: o.copied, queue: make(chan *op, maxBatch), stopped: make(chan struct{})}
	if err := l.openDB(); err != nil {
		return nil, err
	}
	if l.fixed {
		go l.write() // never gets anything to write
		if err := l.readSchema(); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	}
	if err := announce(path, o.Clock()); err != nil {
		l.release()
		return nil, err
	}
	// An earlier process's copy lacks what this one will do. If it cannot be removed, readers see that it is older
	// than the holder.
	_ = RemoveCopy(path)
	go l.write()
	err = errors.Join(l.readSchema(), l.upgrade())
	if err == nil {
		err = l.recordTool(o.Tool)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// openDB opens the file with bbolt after it has passed inspect. If bbolt still fails or panics, that is an error too.
func (l *Ledger) openDB() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damage("%v", r)
		}
		if err != nil && l.file != nil {
			l.abandon() // after a panic bbolt has not closed it; closing twice is harmless
		}
	}()
	l.db, err = bolt.Open(l.path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		InitialMmapSize: initialMmap(),
		MaxSize:         maxSize(),
		ReadOnly:        l.copy, // lets bbolt share its lock with other readers
		OpenFile: func(name string, _ int, _ os.FileMode) (*os.File, error) {
			l.file, l.self, err = inspect(name, l.fixed, !l.copy)
			return l.file, err
		},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return &LockedError{Path: l.path, Holder: holder(l.path)}
	}
	return err
}

// release gives the file back. The holder's file goes first, while it is still ours to remove; if path names another
// file by now, its holder may be someone else.
func (l *Ledger) release() error {
	if !l.fixed && !errors.Is(l.fault.get(), ErrReplaced) {
		withdraw(l.path)
	}
	if l.fault.panicked() {
		// bbolt may still hold its locks, and its Close would wait for them.
		return l.abandon()
	}
	return l.db.Close()
}

// abandon closes the file without bbolt. What bbolt has mapped keeps the file's lock although it is closed, so that
// this process could not open the ledger again: the lock is released first.
func (l *Ledger) abandon() error {
	_ = durable.Unlock(l.file) // fails where bbolt has closed it, and the lock is gone then
	return l.file.Close()
}

// Close waits for moves under way and releases the file. It returns the error that stopped the ledger, if any.
// Calling it again does nothing.
func (l *Ledger) Close() error {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.queue)
	<-l.stopped
	if l.fault.get() == nil && !l.copy {
		if err := l.inPlace(); err != nil {
			l.fault.set(err)
		}
	}
	err := l.release()
	if fault := l.fault.get(); fault != nil {
		return fault
	}
	if err != nil {
		return fmt.Errorf("closing ledger %s: %w", l.path, err)
	}
	return nil
}

// Err returns the error that stopped the ledger, which every later call returns too, or nil.
func (l *Ledger) Err() error { return l.fault.get() }

// inPlace reports whether path still names the file that we write. Writes to an unlinked file succeed but are lost.
func (l *Ledger) inPlace() error {
	now, err := os.Lstat(l.path)
	if err == nil && os.SameFile(now, l.self) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking after ledger %s: %w", l.path, err)
	}
	return fmt.Errorf("%w: %s", ErrReplaced, l.path)
}

// initialMmap returns the address space to map at the start, in bytes. Growing beyond it has to wait for readers.
// Windows would make the file that large, and on 32 bits address space is scarce.
func initialMmap() int {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" {
		return 0
	}
	return 256 << 20
}

// maxSize returns the largest size of the file in bytes.
func maxSize() int {
	if strconv.IntSize < 64 {
		return 1 << 30
	}
	size := int64(4) << 30
	return int(size)
}
