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
)

// Options of Open. The zero value is usable.
type Options struct {
	Clock          func() time.Time // stamps records; time.Now if nil
	Tool           string           // name and version of the program, recorded in the file
	AllowNetworkFS bool             // open even where locks and flushes are doubtful
	// ReadOnly opens a ledger that is there and leaves it as it is, and its directory:
	// every change is refused. It takes the lock all the same, as a ledger in use is read
	// by nobody else.
	ReadOnly bool

	copied bool // a copy, see OpenCopy: it takes no lock
}

// A Ledger is an open ledger file. See the package comment.
type Ledger struct {
	path  string
	clock func() time.Time
	fixed bool // opened for reading
	copy  bool // and it is a copy, which may be replaced meanwhile
	db    *bolt.DB
	file  *os.File    // the one db uses; db owns it
	self  os.FileInfo // of file, to notice when path becomes another one

	queue   chan *op      // to the writer
	stopped chan struct{} // closed when the writer has ended

	ends map[Key]string // how items ended; the writer's own, see again

	schema uint32 // of the file, set before Open returns; an older one is only read

	// gate is held shared by every call and exclusively by Close.
	gate   sync.RWMutex
	closed bool

	fault fault
}

const lockTimeout = 2 * time.Second

// Open opens the ledger at path and creates it, with its directory, when there
// is none. It waits at most two seconds for another process to let go of it.
//
// It returns a *LockedError when another process holds the ledger,
// ErrNewerSchema, ErrDamaged or ErrNetworkFS when the file is not usable, and
// in all these cases has not changed it. A symbolic link is refused.
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
		return nil, locked // says it all by itself
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
	// A later change of the working directory must not confuse us.
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
		go l.write() // gets nothing to write
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
	// The copy of an earlier process lacks what this one will do. One that cannot be removed is
	// older than the holder, by which readers tell.
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

// openDB hands the file to bbolt after it has passed inspect. What inspect has
// let through should not trouble bbolt; if it does, that is an error too.
func (l *Ledger) openDB() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damage("%v", r)
		}
		if err != nil && l.file != nil {
			l.file.Close() // after a panic bbolt has not; a second time does no harm
		}
	}()
	l.db, err = bolt.Open(l.path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		InitialMmapSize: initialMmap(),
		MaxSize:         maxSize(),
		ReadOnly:        l.copy, // then bbolt shares its lock with other readers
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

// release gives the file back. The holder's file goes first, while it is ours
// to remove; if path is another file by now, its holder may be somebody else.
func (l *Ledger) release() error {
	if !l.fixed && !errors.Is(l.fault.get(), ErrReplaced) {
		withdraw(l.path)
	}
	if l.fault.panicked() {
		// bbolt may still hold its locks, and its Close would wait for them.
		return l.file.Close()
	}
	return l.db.Close()
}

// Close waits for moves under way and gives the file back. It returns the error
// that has stopped the ledger, if one has. Calling it again does nothing.
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

// Err returns what has stopped the ledger: every later call returns it too. nil: nothing
// has.
func (l *Ledger) Err() error { return l.fault.get() }

// inPlace reports whether path still names the file that we write. An unlinked
// file takes every write and keeps none.
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

// initialMmap is the size of the address space taken from the start, in bytes.
// Growing beyond it has to wait for readers. Windows would make the file as
// large as that, and on 32 bits address space is scarce.
func initialMmap() int {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" {
		return 0
	}
	return 256 << 20
}

// maxSize is the largest size of the file in bytes.
func maxSize() int {
	if strconv.IntSize < 64 {
		return 1 << 30
	}
	size := int64(4) << 30
	return int(size)
}
