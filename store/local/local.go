// Package local is the storage engine for one machine: a directory, no set-up.
//
// All writes, of every object and every record, go into one append-only log.
// One goroutine writes what has gathered as one batch and makes it durable with
// one call, so that many writers share the cost of the disk. What is in the log
// is the truth; everything else is derived from it. Bodies stay on disk, only
// keys and places are in memory: about 200 bytes for an object at rest.
//
// A directory belongs to one process at a time, see [Open]. The layout of the
// files and why they are as they are is in docs/decisions/0004-local-log.md.
package local

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/internal/table"
)

// Sync says what an acknowledged write survives.
type Sync int

const (
	// PowerSafe writes survive the end of the process, of the operating system and
	// of the power supply, as far as the disk keeps what it reports as written.
	PowerSafe Sync = iota
	// CrashSafe writes survive the end of the process, as by kill -9 or a panic,
	// but up to about half a minute of them may be lost when the machine stops. What
	// is left is consistent. It is for tests and for data that can be made again.
	CrashSafe
)

// Options of [Open]. The zero value is right for production.
type Options struct {
	// Sync says what acknowledged writes survive. The zero value is PowerSafe.
	Sync Sync
	// Logger hears what the engine repaired and what hinders it. Nil is
	// slog.Default.
	Logger *slog.Logger
	// SegmentSize is how large a file of the log becomes, in bytes, rounded to 4
	// KiB pages. 0 means 64 MiB; the first ones are smaller, so that a small store
	// stays small. At least 64 KiB, at most 1 GiB.
	SegmentSize int64
	// Segments is how many full files of the log are kept before the older half is
	// compacted. 0 means 12. At least 2.
	Segments int
	// IndexEvery is how many changes the index on disk may lag behind; a start reads them
	// again. It is written beside the traffic, about 60 bytes for each record and object.
	// 0 means 100,000.
	IndexEvery int

	disk disk.Disk // instead of the operating system's, in tests
	// breakAckBeforeSync acknowledges before the disk does. It makes the engine
	// wrong, so that tests can show that they would notice.
	breakAckBeforeSync bool
}

const (
	defaultSegmentSize  = 64 << 20
	minSegmentSize      = 64 << 10
	maxSegmentSize      = 1 << 30 // places have 32 bits
	firstSegmentSize    = 1 << 20
	defaultSegments     = 12
	defaultIndexEvery   = 100_000
	changesRemembered   = 1 << 16
	maxBatch            = 8 << 20
	orphanBlobsKeptFor  = time.Hour
	maintenanceInterval = time.Minute
)

func (o *Options) withDefaults() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.SegmentSize == 0 {
		opts.SegmentSize = defaultSegmentSize
	}
	opts.SegmentSize = pages(min(max(opts.SegmentSize, minSegmentSize), maxSegmentSize))
	if opts.Segments == 0 {
		opts.Segments = defaultSegments
	}
	opts.Segments = max(opts.Segments, 2)
	if opts.IndexEvery <= 0 {
		opts.IndexEvery = defaultIndexEvery
	}
	return opts
}

// A Store is an open data directory. It is safe for concurrent use.
type Store struct {
	opts   Options
	disk   disk.Disk
	log    *slog.Logger
	format format
	seed   uint32 // of all checksums
	unlock func() error

	mu          sync.RWMutex
	err         error // set when the store is closed or has stopped
	records     *table.Table[place]
	objects     map[store.ObjectID]*object
	kinds       map[string]string     // one copy of each kind
	blobs       map[string]*blobState // by blob id
	objectBlobs map[store.ObjectID][]string
	files       map[uint32]*dataFile      // segments and packs that hold data
	gone        map[string]uint64         // deleted records whose deletion is not durable yet
	buried      map[store.ObjectID]uint64 // the same for objects

	lastLSN   uint64        // the last one given out
	durable   uint64        // everything up to here is
	open      *batch        // gathers writes
	inFlight  *batch        // on its way to the disk, or nil
	work      chan struct{} // tells the writer
	changed   chan struct{} // closed when more is durable, nil if nobody waits
	nextFile  uint32
	sealed    []*dataFile   // full segments, oldest first
	spares    []spare       // prepared segments
	spareErr  error         // why there is none
	wantSpare int64         // how large one somebody waits for must be
	spareNew  chan struct{} // closed when spares or spareErr change
	deadBlobs []deadBlob    // in the order in which they died
	dirty     int           // changes since the last index
	indexSize int64         // bytes of the last index

	sweep   *time.Timer
	sweepAt int64

	recent recentReads

	tail logTail // of what is durable
	// condemned has the files whose contents are elsewhere and which are not
	// durably removed yet. Every new pack names them.
	condemned  map[uint32]bool
	retired    []*dataFile   // files that nobody reads any more
	tend       chan struct{} // tells the maintenance goroutine
	prepare    chan struct{} // tells the one that prepares segments
	compactNow chan chan error
	tending    context.Context
	stop       context.CancelFunc
	wg         sync.WaitGroup
	failed     chan struct{} // closed when the store has stopped by itself
	made       atomic.Uint32 // segments made in this life
	reserve    atomic.Int64  // size of the reserve
}

var _ store.Engine = (*Store)(nil)

// place is where a frame lies.
type place struct {
	file, off, size uint32
}

// dataFile is a segment or a pack.
type dataFile struct {
	number uint32
	name   string
	pack   bool
	f      disk.File
	size   int64 // of the file
	end    int64 // of what is in it
	minLSN uint64
	// live is how many bytes of frames are still needed, dead what deletions in a
	// pack take, both guarded by Store.mu.
	live, dead int64
	refs       atomic.Int32 // readers, plus one while the store knows it
	damaged    bool         // not to be compacted
	retire     func(*dataFile)
}

// hold keeps the file from being reused. Store.mu is held.
func (d *dataFile) hold() *dataFile { d.refs.Add(1); return d }

func (d *dataFile) release() {
	if d.refs.Add(-1) == 0 {
		d.retire(d)
	}
}

// object is one journal: where its live entries lie.
type object struct {
	first entry
	more  []entry
}

type entry struct {
	lsn uint64
	at  place
}

func (o *object) tail() uint64 {
	if n := len(o.more); n > 0 {
		return o.more[n-1].lsn
	}
	return o.first.lsn
}

// find returns the entry with this lsn, or nil.
func (o *object) find(lsn uint64) *entry {
	if o.first.lsn == lsn {
		return &o.first
	}
	lo, hi := 0, len(o.more)
	for lo < hi {
		if mid := (lo + hi) / 2; o.more[mid].lsn < lsn {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(o.more) && o.more[lo].lsn == lsn {
		return &o.more[lo]
	}
	return nil
}

// blobState is a blob that an entry names, or may soon.
type blobState struct {
	object store.ObjectID
	size   int64
	lsn    uint64    // of the newest entry that names it, 0 for none yet
	put    time.Time // when it was put
}

// Open opens the data directory dir and makes it if it is not there. The
// directory is this process's until Close; a second process is refused.
//
// Open replays what the index does not know yet. A batch that was being written
// when the machine stopped is dropped, as nobody had been told that it was kept. (A
// bit that flips within the very last batch cannot be told from that.) Damage
// anywhere else is [store.ErrDamaged] with the file, the place and what to do; nothing
// is changed then. So it is for a directory that another program or a newer
// version wrote: [ErrFormat].
func Open(dir string, opts *Options) (*Store, error) {
	o := opts.withDefaults()
	if o.disk == nil {
		o.disk = disk.OS(dir)
	}
	s := newStore(o)
	if err := s.start(); err != nil {
		s.stop()
		s.wg.Wait()
		s.closeFiles()
		if s.unlock != nil {
			s.unlock()
		}
		return nil, fmt.Errorf("opening the data directory %s: %w", s.disk.Path("."), err)
	}
	return s, nil
}

func newStore(o Options) *Store {
	s := &Store{
		opts: o, disk: o.disk, log: o.Logger,
		records: table.New[place](changesRemembered, 0),
		objects: make(map[store.ObjectID]*object), kinds: make(map[string]string),
		blobs: make(map[string]*blobState), objectBlobs: make(map[store.ObjectID][]string), files: make(map[uint32]*dataFile),
		gone: make(map[string]uint64), condemned: make(map[uint32]bool), buried: make(map[store.ObjectID]uint64),
		work: make(chan struct{}, 1), tend: make(chan struct{}, 1), prepare: make(chan struct{}, 1), compactNow: make(chan chan error),
		spareNew: make(chan struct{}), failed: make(chan struct{}), nextFile: 1,
	}
	s.tending, s.stop = context.WithCancel(context.Background())
	return s
}

func (s *Store) start() error {
	if err := s.takeDirectory(); err != nil {
		return err
	}
	s.seed = s.checksumSeed()
	tail, err := s.recover()
	if err != nil {
		return err
	}
	if err := s.readyToWrite(tail); err != nil {
		return err
	}
	s.sweep = time.AfterFunc(time.Hour, s.expire)
	s.mu.Lock()
	s.settleExpiry()
	s.mu.Unlock()
	s.wg.Go(func() { s.writeBatches(tail) })
	s.wg.Go(s.maintain)
	s.wg.Go(s.prepareSegments)
	return nil
}

// checksumSeed makes all checksums the directory's own.
func (s *Store) checksumSeed() uint32 { return crc32.Checksum([]byte(s.format.ID), castagnoli) }

// Close waits for writes under way, writes the index and releases the
// directory.
func (s *Store) Close() error {
	s.mu.Lock()
	if errors.Is(s.err, store.ErrClosed) {
		s.mu.Unlock()
		return nil
	}
	stopped := s.err
	s.err = store.ErrClosed
	s.sweep.Stop()
	s.notify()
	s.mu.Unlock()
	s.stop()
	s.wake()
	s.wg.Wait()
	s.reuse()
	var err error
	if stopped == nil && s.stoppedErr() == nil {
		err = s.writeIndex()
	}
	s.closeFiles()
	if uerr := s.unlock(); err == nil {
		err = uerr
	}
	if err != nil {
		return fmt.Errorf("closing the data directory %s: %w", s.disk.Path("."), err)
	}
	return nil
}

// stoppedErr returns why the store has stopped by itself, or nil.
func (s *Store) stoppedErr() error {
	select {
	case <-s.failed:
		return store.ErrStopped
	default:
		return nil
	}
}

// Failed is closed when the disk has failed and the store has stopped: what was
// acknowledged is kept, nothing more is accepted. The process should end and be
// started again.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// fail stops the store for good: after a failed write or sync nobody knows
// what is on the disk, and asking again would be answered with a lie.
func (s *Store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stoppedErr() != nil {
		return
	}
	s.log.Error("the data directory has stopped accepting writes", "dir", s.disk.Path("."), "err", err)
	if s.err == nil {
		s.err = fmt.Errorf("%w: %w", store.ErrStopped, err)
	}
	close(s.failed)
	s.notify()
}

func (s *Store) closeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.files {
		d.retire = func(d *dataFile) { d.f.Close() }
		d.release()
	}
	for _, sp := range s.spares {
		sp.f.Close()
	}
	s.files, s.spares = nil, nil
}

// Dir returns what the directory is called in messages.
func (s *Store) Dir() string { return s.disk.Path(".") }

// Exclusive implements [store.Journal]: the directory is locked.
func (s *Store) Exclusive() bool { return true }
