package mcphttp

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/store"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// A taskBoard is the tasks that one handler's process works on.
//
// Every task's record names its owner, the board that works on it. While a board
// has tasks it keeps a lease, a record that expires unless it is renewed: whoever
// finds a task whose owner has no lease knows that nobody works on it. Who
// changes a task of another board rings that board's bell, a record that it
// watches, and the owner reads the task's record again.
type taskBoard struct {
	h     *Handler
	owner string
	// leaseTTL is how long the lease lasts without renewal, renewEvery when it is
	// renewed.
	leaseTTL, renewEvery time.Duration

	mu     sync.Mutex
	live   map[string]*task
	byUser map[string]int
	taking map[string]bool // tasks that are being taken over
	closed bool            // no more tasks are taken on
	wg     sync.WaitGroup  // one for each live task; Add under mu and not after closed

	// turns keep the changes that this process makes to one task from getting in
	// each other's way: a hundred compare-and-sets at once would fail each other for
	// seconds. What other processes do is what the compare-and-set is for.
	turns [64]sync.Mutex

	// leaseMu orders taking and giving up the lease. It is taken before mu.
	leaseMu sync.Mutex
	resign  context.CancelFunc // ends the keeping of the lease; nil without one
}

const (
	leasePrefix = "mcp/taskowner/"
	bellPrefix  = "mcp/taskbell/"
	bellTTL     = time.Minute
)

func (b *taskBoard) init(h *Handler) {
	b.h, b.owner = h, rand.Text()
	b.leaseTTL, b.renewEvery = 20*time.Second, 5*time.Second
}

func (b *taskBoard) turn(id string) *sync.Mutex {
	h := fnv.New32a()
	h.Write([]byte(id))
	return &b.turns[h.Sum32()%uint32(len(b.turns))]
}

func (b *taskBoard) find(id string) *task {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live[id]
}

func (b *taskBoard) all() []*task {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*task, 0, len(b.live))
	for _, t := range b.live {
		out = append(out, t)
	}
	return out
}

// enter counts a task in, or refuses it.
func (b *taskBoard) enter(t *task) error {
	opts, user := &b.h.opts, t.first.User
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return wireError(sdkrpc.CodeInternalError, "the server is shutting down; try again")
	case user != "" && b.byUser[user] >= opts.MaxTasksPerUser:
		return wireError(sdkrpc.CodeInternalError, "more than %d tasks of yours are running: wait for some to end, or cancel them", opts.MaxTasksPerUser)
	case len(b.live) >= opts.MaxTasks:
		return wireError(sdkrpc.CodeInternalError, "too many tasks are running: try again later")
	}
	if b.live == nil {
		b.live, b.byUser = make(map[string]*task), make(map[string]int)
	}
	b.live[t.id] = t
	b.byUser[user]++
	b.wg.Add(1)
	return nil
}

func (b *taskBoard) leave(t *task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, t.id)
	if b.byUser[t.first.User]--; b.byUser[t.first.User] <= 0 {
		delete(b.byUser, t.first.User)
	}
	b.wg.Done()
}

// create makes the task exist: when it returns, any process can read it. prev is 0
// for a new one, and the revision of the record of one that is taken over.
func (b *taskBoard) create(c *call, t *task, prev store.Revision) error {
	if err := b.enter(t); err != nil {
		return err
	}
	err := b.lease(c)
	if err == nil {
		err = b.h.putTask(c, taskKey(t.id), &t.first, prev)
	}
	if errors.Is(err, errTaskTooLarge) && prev == 0 && t.first.Call != nil {
		t.first.Call = nil // then it cannot run again
		err = b.h.putTask(c, taskKey(t.id), &t.first, prev)
	}
	if err != nil {
		b.leave(t)
		t.call.cancel(err)
		if prev != 0 {
			return err
		}
		b.h.log.Error("a task could not be kept", slog.String("target", t.first.Tool), slog.Any("error", err))
		return wireError(sdkrpc.CodeInternalError, "the task store is not available")
	}
	return nil
}

// drop undoes create for a task that was not started.
func (b *taskBoard) drop(t *task) {
	t.call.cancel(errTaskLost)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.call), storeTimeout)
	defer cancel()
	if err := b.h.opts.Records.Delete(ctx, taskKey(t.id), store.AnyRevision); err != nil && !errors.Is(err, store.ErrNotFound) {
		b.h.log.Warn("a task that nobody knows of could not be deleted", slog.Any("error", err))
	}
	b.leave(t)
}

// attended tells whether someone works on a task of the given owner. If that
// cannot be found out, it is taken to be so.
func (b *taskBoard) attended(ctx context.Context, id, owner string) bool {
	switch owner {
	case b.owner:
		return b.find(id) != nil
	case "":
		return false // its process was shut down
	}
	r, err := b.h.opts.Records.Get(ctx, leasePrefix+owner)
	if err == nil && string(r.Value) != processID && isExclusive(b.h.opts.Records) {
		return false // nobody else can have this store open: the owner is dead
	}
	return !errors.Is(err, store.ErrNotFound)
}

// tell lets the worker of a task know that its record was changed.
func (b *taskBoard) tell(ctx context.Context, id string, rec *taskRecord) {
	if t := b.find(id); t != nil {
		t.see(rec)
		return
	}
	if rec.Owner == b.owner || rec.Owner == "" || (rec.over() && rec.Status != taskCancelled) {
		return
	}
	_, err := b.h.opts.Records.Put(ctx, bellPrefix+rec.Owner+"/"+id, []byte("!"), store.AnyRevision, &store.PutOptions{TTL: bellTTL})
	if err != nil {
		b.h.log.Warn("the worker of a task could not be told of a change", slog.Any("error", err))
	}
}

// lease makes sure that the board has a lease before it has a task.
func (b *taskBoard) lease(ctx context.Context) error {
	b.leaseMu.Lock()
	defer b.leaseMu.Unlock()
	if b.resign != nil {
		return nil
	}
	if err := b.renew(ctx); err != nil {
		return err
	}
	kept, resign := context.WithCancel(context.Background())
	b.resign = resign
	go b.keepLease(kept)
	go b.hearBells(kept)
	return nil
}

func (b *taskBoard) renew(ctx context.Context) error {
	_, err := b.h.opts.Records.Put(ctx, leasePrefix+b.owner, []byte(processID), store.AnyRevision, &store.PutOptions{TTL: b.leaseTTL})
	return err
}

func (b *taskBoard) keepLease(ctx context.Context) {
	tick := time.NewTicker(b.renewEvery)
	defer tick.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if b.release() {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, b.leaseTTL)
		err := b.renew(attempt)
		cancel()
		if err != nil {
			b.h.log.Warn("the lease for running tasks could not be renewed", slog.Any("error", err))
			continue
		}
		if time.Since(renewed) >= b.leaseTTL {
			// Others may have taken us for dead meanwhile.
			for _, t := range b.all() {
				b.reread(ctx, t.id)
			}
		}
		renewed = time.Now()
	}
}

// release gives the lease up if there is no task left. Tasks enter before they
// look for a lease, so either this sees the task or the task sees that there is no
// lease.
func (b *taskBoard) release() bool {
	b.leaseMu.Lock()
	defer b.leaseMu.Unlock()
	b.mu.Lock()
	busy := len(b.live) > 0
	b.mu.Unlock()
	if busy || b.resign == nil {
		return !busy
	}
	b.resign()
	b.resign = nil
	ctx, cancel := context.WithTimeout(context.Background(), b.renewEvery)
	defer cancel()
	_ = b.h.opts.Records.Delete(ctx, leasePrefix+b.owner, store.AnyRevision) // expires otherwise
	return true
}

// hearBells rereads tasks that other processes have changed.
func (b *taskBoard) hearBells(ctx context.Context) {
	prefix := bellPrefix + b.owner + "/"
	for ctx.Err() == nil {
		for change, err := range b.h.opts.Records.Watch(ctx, prefix, 0) {
			if err != nil {
				break
			}
			if !change.Heartbeat && !change.Deleted {
				b.reread(ctx, strings.TrimPrefix(change.Record.Key, prefix))
			}
		}
		// A watch that broke off starts with what is there, so nothing is missed.
		_ = pause(ctx, time.Second)
	}
}

// reread looks at the record of a task that is worked on here.
func (b *taskBoard) reread(ctx context.Context, id string) {
	t := b.find(id)
	if t == nil {
		return
	}
	rec, _, err := b.h.readTask(ctx, id, t.first.User)
	switch {
	case err == nil:
		t.see(rec)
	case errors.Is(err, errNoTask):
		t.call.cancel(errTaskLost)
	default:
		b.h.log.Warn("the record of a running task could not be read", slog.Any("error", err))
	}
}

// close takes no more tasks on. Those that run may end; see part.
func (b *taskBoard) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// partGrace is how long handlers have to return once they are told to: the next process
// should not begin again while this one is still at it.
const partGrace = time.Second

// part ends what outlasts the drain. ended is closed when every handler has returned.
func (b *taskBoard) part(ended <-chan struct{}) {
	for _, t := range b.all() {
		t.call.cancel(errTaskShutdown)
	}
	grace := time.NewTimer(partGrace)
	defer grace.Stop()
	select {
	case <-ended:
		return
	case <-grace.C:
	}
	var parting sync.WaitGroup
	for _, t := range b.all() {
		parting.Go(t.part)
	}
	parting.Wait()
}

// wait returns when every handler of a task has returned.
func (b *taskBoard) wait() {
	b.wg.Wait()
	b.release()
}
