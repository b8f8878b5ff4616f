package object

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Each object with something to do has one record that says when: written in the same step as the entry
// that changes it, and deleted when there is nothing left. A host learns from them whom to wake, also after
// a restart, without reading a single object.
const wakePrefix = "object/wake/"

func wakeKey(id store.ObjectID) string { return wakePrefix + id.Kind + "/" + id.ID }

func parseWake(r store.Record) (store.ObjectID, time.Time, bool) {
	kind, id, ok := strings.Cut(strings.TrimPrefix(r.Key, wakePrefix), "/")
	if !ok || len(r.Value) != 8 {
		return store.ObjectID{}, time.Time{}, false
	}
	return store.ObjectID{Kind: kind, ID: id}, time.UnixMilli(int64(binary.BigEndian.Uint64(r.Value))), true
}

// withWake adds the wake record to what goes with an entry, if it changes. Needs the turn.
func (l *live) withWake(records []store.RecordWrite) []store.RecordWrite {
	next := l.memory.next()
	if next.Equal(l.wakeAt) {
		return records
	}
	l.wakeAt = next
	r := store.RecordWrite{Key: wakeKey(l.id), Prev: store.AnyRevision}
	if next.IsZero() {
		r.Delete = true
	} else {
		r.Value = binary.BigEndian.AppendUint64(nil, uint64(next.UnixMilli()))
		l.host.clock.add(l.id, next)
	}
	return append(records, r)
}

// wakeClock knows the next objects to wake. It holds at most twice max; the records hold the rest.
type wakeClock struct {
	mu      sync.Mutex
	heap    wakeHeap
	at      map[store.ObjectID]time.Time // the earliest time in the heap for each
	horizon time.Time                    // if not zero: records after it were not read
	running bool
	max     int // entries read from the records at once
	wake    chan struct{}
}

const maxWakes = 1 << 16

type wakeEntry struct {
	at time.Time
	id store.ObjectID
}

type wakeHeap []wakeEntry

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h wakeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wakeHeap) Push(x any)        { *h = append(*h, x.(wakeEntry)) }
func (h *wakeHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// add notes that id must be awake at that time. Times that are no longer true do no harm: the object looks
// and finds nothing due.
func (c *wakeClock) add(id store.ObjectID, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running || !c.horizon.IsZero() && at.After(c.horizon) {
		return
	}
	if known, ok := c.at[id]; ok && !at.Before(known) {
		return // awake at the earlier time, it asks for the later one
	}
	if c.at == nil {
		c.at = make(map[store.ObjectID]time.Time)
	}
	c.at[id] = at
	heap.Push(&c.heap, wakeEntry{at, id})
	if len(c.heap) > 2*c.max { // too many repeats: read the records anew
		c.heap, c.at, c.horizon = nil, nil, time.Now()
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// due takes out everything due by now, and tells whether it is time to read the records again.
func (c *wakeClock) due(now time.Time) (ids []store.ObjectID, reload bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.heap) > 0 && !c.heap[0].at.After(now) {
		e := heap.Pop(&c.heap).(wakeEntry)
		if known, ok := c.at[e.id]; ok && known.Equal(e.at) {
			delete(c.at, e.id)
			ids = append(ids, e.id)
		}
	}
	return ids, !c.horizon.IsZero() && !now.Before(c.horizon)
}

// next is when to look again; zero for not before the next add.
func (c *wakeClock) next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.heap) > 0 && (c.horizon.IsZero() || c.heap[0].at.Before(c.horizon)):
		return c.heap[0].at
	default:
		return c.horizon
	}
}

// Start begins to run alarms and jobs, those of objects asleep too. Register all kinds first; objects of
// kinds that are not registered, or have no handler, keep theirs. Without Start none runs. ctx bounds the
// start alone.
func (h *Host) Start(ctx context.Context) error {
	h.clock.mu.Lock()
	started := h.clock.running
	h.clock.running = true
	h.clock.mu.Unlock()
	if started {
		return errors.New("object: the host has been started already")
	}
	if err := h.readWakes(ctx); err != nil {
		return fmt.Errorf("read when objects have to wake: %w", err)
	}
	if err := h.redeliver(ctx); err != nil {
		return fmt.Errorf("read undelivered notes: %w", err)
	}
	if !h.background(h.runClock) {
		return ErrClosed
	}
	h.started.Store(true)
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, l := range h.lives {
		select {
		case <-l.ready:
			l.kickWith(h.backgroundLocked)
		default: // it kicks itself when it has been read
		}
	}
	return nil
}

// readWakes fills the clock with the earliest records.
func (h *Host) readWakes(ctx context.Context) error {
	var found wakeHeap // in reverse: the latest on top
	var horizon time.Time
	for r, err := range h.engine.List(ctx, wakePrefix) {
		if err != nil {
			return err
		}
		id, at, ok := parseWake(r)
		if !ok {
			continue
		}
		found = append(found, wakeEntry{at, id})
		if len(found) >= 2*h.clock.max {
			found, horizon = keepEarliest(found, h.clock.max)
		}
	}
	if len(found) > h.clock.max {
		found, horizon = keepEarliest(found, h.clock.max)
	}
	c := &h.clock
	c.mu.Lock()
	c.horizon = horizon
	c.mu.Unlock()
	for _, e := range found {
		c.add(e.id, e.at)
	}
	return nil
}

func keepEarliest(found wakeHeap, n int) (wakeHeap, time.Time) {
	heap.Init(&found)
	kept := make(wakeHeap, 0, n)
	for range n {
		kept = append(kept, heap.Pop(&found).(wakeEntry))
	}
	return kept, kept[len(kept)-1].at
}

// lookAgain is how long the clock waits at most: timers do not hear of it when somebody sets the machine's
// clock, or when it wakes up from suspension.
const lookAgain = time.Minute

func (h *Host) runClock() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-timer.C:
		case <-h.clock.wake:
		}
		ids, reload := h.clock.due(time.Now())
		for _, id := range ids {
			h.wakeFor(id)
		}
		if reload {
			if err := h.readWakes(h.ctx); err != nil && h.ctx.Err() == nil {
				h.log.Error("object: read when objects have to wake", "err", err)
				timer.Reset(time.Second)
				continue
			}
		}
		next := h.clock.next()
		if next.IsZero() {
			timer.Stop()
			continue
		}
		timer.Reset(min(max(0, time.Until(next)), lookAgain))
	}
}

// wakeFor wakes an object that has something to do. Waking it starts its runners.
func (h *Host) wakeFor(id store.ObjectID) {
	if d := h.definition(id.Kind); d == nil {
		return
	}
	h.background(func() {
		l, err := h.live(h.ctx, id)
		for err == nil && !l.kick() { // it was just going to sleep
			select {
			case <-l.gone:
				l, err = h.live(h.ctx, id)
			case <-h.ctx.Done():
				return
			}
		}
		if err != nil && h.ctx.Err() == nil {
			h.log.Error("object: wake for an alarm", "kind", id.Kind, "err", err)
			h.clock.add(id, time.Now().Add(10*time.Second))
		}
	})
}
