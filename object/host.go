package object

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Options of a [Host]. The zero value is useful for tests: databases then live in a temporary directory.
type Options struct {
	// Dir holds the objects' SQLite files. With an engine that is Exclusive (store/local) they are part of
	// what is stored: keep the directory with the engine's, and always the same. With others it is a cache.
	// Empty is a temporary directory that Close removes.
	Dir string
	// Logger gets what nobody waits for: failed alarms, lost copies. Nil is slog.Default().
	Logger *slog.Logger
	// IdleAfter is how long an object stays in memory after its last use. Zero is 10 s.
	IdleAfter time.Duration
	// BusyTimeout is how long a caller waits for its turn before ErrBusy. Zero is 30 s.
	BusyTimeout time.Duration
	// MaxOpen is how many databases are open at once; beyond it the least recently used that is not in use
	// is closed. It is a target, not a wall: databases in use stay open. Zero is 512. One costs 150 KiB and
	// three file descriptors.
	MaxOpen int
	// MaxLive is how many objects stay in memory though idle. Zero is 100,000.
	MaxLive int
	// MaxState is how large one state may be, in bytes of JSON: each update writes it whole. Zero is 256 KiB.
	MaxState int
	// MaxCommit is how much one unit may change of the database, in bytes of pages. Zero is 32 MiB.
	MaxCommit int
	// MaxDatabase is how large one object's database may grow, in bytes. Zero is 1 GiB.
	MaxDatabase int64
	// Deliver receives what units told with Notify, after it is durable, at least once and in no promised
	// order across objects; Note.ID is the same on each repetition. Nil drops notes.
	Deliver func(context.Context, Note) error
	// TaskTimeout is how long one run of an alarm or job may take. Zero is 15 min.
	TaskTimeout time.Duration
	// MaxTasks is how many alarms or jobs run at once in the host. Zero is 64.
	MaxTasks int
}

// A Host runs the objects of one store engine. All methods are safe for concurrent use.
type Host struct {
	engine  store.Engine
	opts    Options
	log     *slog.Logger
	limits  limits
	synced  func(path string) // tests look on; else nil
	ownsDir bool

	ctx    context.Context // ends with the host
	cancel context.CancelFunc
	wg     sync.WaitGroup // background work
	spare  chan func()    // to goroutines that wait for some

	mu     sync.RWMutex
	kinds  map[string]*definition
	lives  map[store.ObjectID]*live
	closed bool

	openDBs atomic.Int64
	sweep   chan struct{} // asks for room before the next tick
	clock   wakeClock
	started atomic.Bool   // alarms and jobs run
	tasks   chan struct{} // one element per running task
	flushes chan struct{} // one element while a database file is made part of a snapshot
}

// definition is a kind without its type parameter.
type definition struct {
	name     string
	onUpdate func(ctx context.Context, id string, state []byte)
	run      func(ctx context.Context, id string, t *task) error // nil when the kind has no such handler
	handles  func(lane) bool
	check    func(state []byte) error

	migrations []Migration
}

// NewHost runs objects kept in engine. The engine stays the caller's to close, after the host.
func NewHost(engine store.Engine, opts *Options) (*Host, error) {
	if opts == nil {
		opts = &Options{}
	}
	h := &Host{engine: engine, opts: *opts, limits: usualLimits, kinds: map[string]*definition{}, lives: map[store.ObjectID]*live{}, sweep: make(chan struct{}, 1)}
	h.setDefaults()
	if h.opts.Dir == "" {
		dir, err := os.MkdirTemp("", "causeway-objects-")
		if err != nil {
			return nil, fmt.Errorf("make a directory for objects: %w", err)
		}
		h.opts.Dir, h.ownsDir = dir, true
	} else if err := os.MkdirAll(h.opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for objects: %w", err)
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.spare = make(chan func())
	h.clock.wake, h.clock.max = make(chan struct{}, 1), maxWakes
	h.flushes = make(chan struct{}, 1)
	h.tasks = make(chan struct{}, h.opts.MaxTasks)
	h.wg.Go(h.sweepIdle)
	return h, nil
}

func (h *Host) setDefaults() {
	o := &h.opts
	h.log = cmp.Or(o.Logger, slog.Default())
	o.IdleAfter = cmp.Or(o.IdleAfter, 10*time.Second)
	o.BusyTimeout = cmp.Or(o.BusyTimeout, 30*time.Second)
	o.MaxOpen = cmp.Or(o.MaxOpen, 512)
	o.MaxLive = cmp.Or(o.MaxLive, 100_000)
	o.MaxState = cmp.Or(o.MaxState, 256<<10)
	o.MaxCommit = cmp.Or(o.MaxCommit, 32<<20)
	o.MaxDatabase = cmp.Or(o.MaxDatabase, 1<<30)
	o.TaskTimeout = cmp.Or(o.TaskTimeout, 15*time.Minute)
	o.MaxTasks = cmp.Or(o.MaxTasks, 64)
}

// Close lets running units and tasks end, puts every object to sleep and returns. If ctx ends first, what
// was acknowledged is still in the journal; only the databases' files are then left as after a crash.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	lives := make([]*live, 0, len(h.lives))
	for _, l := range h.lives {
		lives = append(lives, l)
	}
	h.mu.Unlock()
	h.cancel()
	done := make(chan struct{})
	go func() { h.wg.Wait(); close(done) }() // alarms that have ended journal it before objects close
	var errs error
	select {
	case <-done:
	case <-ctx.Done():
		errs = fmt.Errorf("close objects: %w", ctx.Err())
	}
	for _, l := range lives {
		errs = errors.Join(errs, l.shut(ctx))
	}
	if h.ownsDir {
		errs = errors.Join(errs, os.RemoveAll(h.opts.Dir))
	}
	return errs
}

// Live is how many objects are in memory now, and how many databases are open.
func (h *Host) Live() (objects, databases int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.lives), int(h.openDBs.Load())
}

func (h *Host) definition(kind string) *definition {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.kinds[kind]
}

// live returns the live copy of id, waking it if it sleeps.
func (h *Host) live(ctx context.Context, id store.ObjectID) (*live, error) {
	for {
		h.mu.RLock()
		l, closed := h.lives[id], h.closed
		h.mu.RUnlock()
		if closed {
			return nil, ErrClosed
		}
		if l == nil {
			var mine bool
			if l, mine = h.add(id); mine {
				l.wake(ctx)
			}
		}
		if l == nil {
			return nil, ErrClosed
		}
		select {
		case <-l.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case l.loadErr == nil && !l.isDead():
			return l, nil
		case l.loadErr == nil: // on its way out: the next one reads the journal when the files are closed
			select {
			case <-l.gone:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case ctx.Err() == nil && !isMigration(l.loadErr) && (errors.Is(l.loadErr, context.Canceled) || errors.Is(l.loadErr, context.DeadlineExceeded)):
			// It was someone else's patience that ended.
		default:
			return nil, fmt.Errorf("wake %s: %w", id, l.loadErr)
		}
	}
}

func (h *Host) add(id store.ObjectID) (l *live, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	if l := h.lives[id]; l != nil {
		return l, false
	}
	l = newLive(h, id, h.kinds[id.Kind])
	h.lives[id] = l
	if len(h.lives) > h.opts.MaxLive {
		h.makeRoom()
	}
	return l, true
}

func (h *Host) remove(l *live) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lives[l.id] == l {
		delete(h.lives, l.id)
	}
}

// background runs fn beside everything else, unless the host is closing.
func (h *Host) background(fn func()) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.backgroundLocked(fn)
}

func (h *Host) backgroundLocked(fn func()) bool {
	if h.closed {
		return false
	}
	h.wg.Add(1)
	select {
	case h.spare <- fn:
	default:
		go h.work(fn)
	}
	return true
}

// spareTime is how long a goroutine that has done its work waits for more.
const spareTime = time.Second

// work runs fn and what comes after it. Short work comes often while objects are busy, and
// a goroutine that has worked has its stack already.
func (h *Host) work(fn func()) {
	rest := time.NewTimer(spareTime)
	defer rest.Stop()
	for {
		fn()
		h.wg.Done()
		rest.Reset(spareTime)
		select {
		case fn = <-h.spare:
		case <-rest.C:
			return
		case <-h.ctx.Done():
			return
		}
	}
}

func (h *Host) makeRoom() {
	select {
	case h.sweep <- struct{}{}:
	default:
	}
}

// sweepIdle puts idle objects to sleep and closes databases beyond the limit.
func (h *Host) sweepIdle() {
	tick := time.NewTicker(max(h.opts.IdleAfter/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
			h.sweepOnce(time.Now().Add(-h.opts.IdleAfter))
		case <-h.sweep:
			h.sweepOnce(time.Now().Add(-h.opts.IdleAfter))
		}
	}
}

func (h *Host) sweepOnce(idleSince time.Time) {
	h.mu.RLock()
	lives := make([]*live, 0, len(h.lives))
	for _, l := range h.lives {
		lives = append(lives, l)
	}
	h.mu.RUnlock()
	tooMany := len(lives) - h.opts.MaxLive
	tooOpen := int(h.openDBs.Load()) - h.opts.MaxOpen
	if tooMany > 0 || tooOpen > 0 {
		slices.SortFunc(lives, func(a, b *live) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	}
	for _, l := range lives {
		switch {
		case l.used.Load() < idleSince.UnixNano() || tooMany > 0:
			if l.sleep(h.ctx) {
				tooMany--
			}
		case tooOpen > 0:
			if l.closeDatabase(h.ctx) {
				tooOpen--
			}
		}
	}
}

// path is where the database of an object is kept.
func (h *Host) path(id store.ObjectID) string {
	sum := sha256.Sum256([]byte(id.Kind + "\x00" + id.ID))
	name := hex.EncodeToString(sum[:16])
	return filepath.Join(h.opts.Dir, name[:2], name+".db")
}
