package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// A Ledger knows what an engine was asked to write and what it acknowledged, so
// that after a crash somebody can say whether anything is lost. It keeps its
// books in cells, a record or an object with its companion record, each
// written by one worker. It is safe for concurrent use.
type Ledger struct {
	mu    sync.Mutex
	trace io.Writer
	cells map[string][]uint64 // acknowledged state, then those under way
	acked int
}

// NewLedger returns an empty ledger. If trace is not nil it gets a line for
// every step, which [ReadLedger] understands even if the writer was killed.
func NewLedger(trace io.Writer) *Ledger {
	return &Ledger{trace: trace, cells: make(map[string][]uint64)}
}

// ReadLedger adds to l what a trace says. The last line may be cut short.
func (l *Ledger) ReadLedger(trace io.Reader) error {
	lines := bufio.NewReader(trace)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		var step, cell string
		var state uint64
		if _, err := fmt.Sscanf(line, "%s %s %d\n", &step, &cell, &state); err != nil {
			return fmt.Errorf("trace line %q: %w", line, err)
		}
		switch step {
		case "issue":
			l.issue(cell, state)
		case "ack":
			l.ack(cell, state)
		case "refused":
			l.refused(cell)
		}
	}
}

// Acked returns how many writes were acknowledged.
func (l *Ledger) Acked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

func (l *Ledger) note(step, cell string, state uint64) {
	if l.trace != nil {
		fmt.Fprintf(l.trace, "%s %s %d\n", step, cell, state)
	}
}

func (l *Ledger) issue(cell string, state uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cells[cell] == nil {
		l.cells[cell] = []uint64{0}
	}
	l.cells[cell] = append(l.cells[cell], state)
	l.note("issue", cell, state)
}

// ack says that the oldest write under way is durable.
func (l *Ledger) ack(cell string, state uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cells[cell] = l.cells[cell][1:]
	l.acked++
	l.note("ack", cell, state)
}

// refused says that the newest write under way left nothing behind.
func (l *Ledger) refused(cell string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cells[cell] = l.cells[cell][:len(l.cells[cell])-1]
	l.note("refused", cell, 0)
}

// Check compares the engine with the books: every acknowledged write must be
// there, and nothing that was never asked for. It returns what is wrong. What it
// finds becomes the acknowledged state, for another round.
func (l *Ledger) Check(ctx context.Context, e store.Engine) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[string]bool)
	for r, err := range e.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("listing records: %w", err)
		}
		found[strings.TrimPrefix(r.Key, "of/")] = true
	}
	for info, err := range e.Objects(ctx, "") {
		if err != nil {
			return fmt.Errorf("listing objects: %w", err)
		}
		found[info.Object.ID] = true
	}
	for cell := range found {
		if l.cells[cell] == nil {
			return fmt.Errorf("%s is there and was never written", cell)
		}
	}
	for cell, states := range l.cells {
		c, err := readCell(ctx, e, cell)
		if err != nil {
			return err
		}
		got := c.state()
		ok := false
		for _, s := range states {
			ok = ok || s == got
		}
		if !ok {
			return fmt.Errorf("%s is in a state (%d entries, %d bytes of record) that is neither the acknowledged one nor one of the %d under way",
				cell, len(c.bodies), len(c.value), len(states)-1)
		}
		l.cells[cell] = []uint64{got}
	}
	return nil
}

// cell is a record, or an object whose companion record is written with it.
type cell struct {
	name   string
	object bool
	tail   store.Seq
	bodies []string
	rev    store.Revision
	value  string
	there  bool // the record
}

func (c *cell) id() store.ObjectID { return store.ObjectID{Kind: "cell", ID: c.name} }

func (c *cell) key() string {
	if c.object {
		return "of/" + c.name
	}
	return c.name
}

// state is a hash of everything in the cell, 0 if there is nothing.
func (c *cell) state() uint64 {
	if len(c.bodies) == 0 && !c.there {
		return 0
	}
	h := fnv.New64a()
	for _, b := range c.bodies {
		fmt.Fprintf(h, "%d:", len(b))
		io.WriteString(h, b)
	}
	fmt.Fprintf(h, "%v|%s", c.there, c.value)
	return h.Sum64() | 1
}

func readCell(ctx context.Context, e store.Engine, name string) (*cell, error) {
	c := &cell{name: name, object: strings.HasPrefix(name, "o")}
	r, err := e.Get(ctx, c.key())
	switch {
	case err == nil:
		c.there, c.value, c.rev = true, string(r.Value), r.Revision
	case !errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if !c.object {
		return c, nil
	}
	for entry, err := range e.Load(ctx, c.id()) {
		if err != nil {
			return nil, fmt.Errorf("loading %s: %w", name, err)
		}
		c.tail = entry.Seq
		body := string(entry.Body)
		for _, b := range entry.Blobs {
			blob, err := readAll(ctx, e, c.id(), b)
			if err != nil {
				return nil, fmt.Errorf("blob of %s: %w", name, err)
			}
			body += blob
		}
		c.bodies = append(c.bodies, body)
	}
	return c, nil
}

func readAll(ctx context.Context, e store.Engine, id store.ObjectID, b store.Blob) (string, error) {
	r, err := e.OpenBlob(ctx, id, b.ID)
	if err != nil {
		return "", err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err == nil && int64(len(body)) != b.Size {
		err = fmt.Errorf("%d bytes of %d", len(body), b.Size)
	}
	return string(body), err
}

// Work writes at random to the cells of one worker until ctx ends or the engine
// fails, which is the error it returns, or steps writes are done. Workers of
// different numbers may run at once.
func (l *Ledger) Work(ctx context.Context, e store.Engine, worker, steps int, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
	cells := make(map[string]*cell)
	for done := 0; done < steps && ctx.Err() == nil; {
		name := fmt.Sprintf("%s%d-%d", []string{"o", "r"}[rnd.IntN(2)], worker, rnd.IntN(4))
		c := cells[name]
		if c == nil {
			var err error
			if c, err = readCell(ctx, e, name); err != nil {
				return err
			}
			cells[name] = c
		}
		n, err := l.step(ctx, e, c, rnd)
		done += n
		switch {
		case errors.Is(err, store.ErrFull): // nothing was written; what was is still known
			delete(cells, name)
			time.Sleep(time.Millisecond)
			done++
		case err != nil:
			return err
		}
	}
	return nil
}

func (l *Ledger) step(ctx context.Context, e store.Engine, c *cell, rnd *rand.Rand) (int, error) {
	if !c.object {
		return 1, l.stepRecord(ctx, e, c, rnd)
	}
	n := 1
	if rnd.IntN(4) == 0 {
		n += rnd.IntN(6) // run ahead
	}
	return n, l.stepObject(ctx, e, c, rnd, n)
}

func randomText(rnd *rand.Rand, max int) string {
	n := rnd.IntN(max)
	if rnd.IntN(4) != 0 {
		n = rnd.IntN(100)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rnd.IntN(26))
	}
	return string(b)
}

func (l *Ledger) stepRecord(ctx context.Context, e store.Engine, c *cell, rnd *rand.Rand) error {
	next := *c
	remove := c.there && rnd.IntN(5) == 0
	if remove {
		next.there, next.value = false, ""
	} else {
		next.there, next.value = true, randomText(rnd, 9000)
	}
	state := next.state()
	l.issue(c.name, state)
	var err error
	if remove {
		err = e.Delete(ctx, c.key(), c.rev)
		next.rev = 0
	} else {
		opts := &store.PutOptions{TTL: time.Duration(rnd.IntN(2)) * time.Hour}
		next.rev, err = e.Put(ctx, c.key(), []byte(next.value), c.rev, opts)
	}
	if err != nil {
		return l.failed(c.name, err)
	}
	*c = next
	l.ack(c.name, state)
	return nil
}

// failed books a failed write and returns its error.
func (l *Ledger) failed(cell string, err error) error {
	if !errors.Is(err, store.ErrUnknown) {
		l.refused(cell)
	}
	return fmt.Errorf("writing %s: %w", cell, err)
}

// stepObject appends n entries, each without waiting for the one before.
func (l *Ledger) stepObject(ctx context.Context, e store.Engine, c *cell, rnd *rand.Rand, n int) error {
	next := *c
	var last store.Pending
	var all []store.Pending
	var states []uint64
	for range n {
		w, err := next.write(ctx, e, rnd)
		if err != nil {
			break // what is under way decides
		}
		w.After = last
		states = append(states, next.state())
		l.issue(c.name, next.state())
		last = e.Append(ctx, w)
		all = append(all, last)
		if w.Entry.Kind == store.EntryTombstone {
			break
		}
	}
	if len(all) == 0 {
		return nil
	}
	for i, p := range all {
		tail, err := p.Wait(ctx)
		if err != nil {
			for range all[i+1:] { // they fail too, with the same error
				l.failed(c.name, err)
			}
			return l.failed(c.name, err)
		}
		next.tail = tail
		l.ack(c.name, states[i])
	}
	*c = next
	return nil
}

// write makes up the next write and changes c to what it will leave.
func (c *cell) write(ctx context.Context, e store.Engine, rnd *rand.Rand) (store.Write, error) {
	w := store.Write{Object: c.id(), Prev: c.tail, Entry: store.Entry{Body: []byte(randomText(rnd, 6000))}}
	record := store.RecordWrite{Key: c.key(), Prev: store.AnyRevision}
	body := string(w.Entry.Body)
	if rnd.IntN(40) == 0 {
		large := strings.Repeat(randomText(rnd, 1000), 300)
		b, err := e.PutBlob(ctx, c.id(), strings.NewReader(large))
		if err != nil {
			return w, err
		}
		w.Entry.Blobs, body = []store.Blob{b}, body+large
	}
	switch kind := rnd.IntN(20); {
	case kind == 0 && len(c.bodies) > 0:
		w.Entry = store.Entry{Kind: store.EntryTombstone}
		record.Delete = true
		w.Records = []store.RecordWrite{record}
		c.bodies, c.there, c.value = nil, false, ""
		return w, nil
	case kind < 4 || len(c.bodies) > 30:
		w.Entry.Kind = store.EntrySnapshot
		c.bodies = []string{body}
	default:
		c.bodies = append(c.bodies[:len(c.bodies):len(c.bodies)], body)
	}
	if rnd.IntN(2) == 0 {
		c.there, c.value = true, randomText(rnd, 300)
		record.Value = []byte(c.value)
		w.Records = []store.RecordWrite{record}
	}
	return w, nil
}

// RunDurable checks that what an engine acknowledged is there after it was
// closed and opened again. open opens the engine kept in dir.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) store.Engine) {
	t.Run("everything is there after reopening", func(t *testing.T) {
		dir, l := t.TempDir(), NewLedger(nil)
		for round := range 6 {
			e := open(t, dir)
			must(t, l.Check(t.Context(), e))
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					if err := l.Work(t.Context(), e, w, 300, uint64(round)); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			must(t, l.Check(t.Context(), e))
			must(t, e.Close())
		}
	})
	t.Run("revisions and times to live are kept", func(t *testing.T) { revisionsAreKept(t, open) })
	t.Run("positions are not used again", func(t *testing.T) {
		dir := t.TempDir()
		e := open(t, dir)
		tail := add(t, e, obj, 0, "a")
		step(t, e, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntryTombstone}})
		must(t, e.Close())
		e = open(t, dir)
		defer e.Close()
		wantBodies(t, e, obj)
		if again := add(t, e, obj, 0, "b"); again <= tail {
			t.Errorf("position %d after %d", again, tail)
		}
	})
}

func revisionsAreKept(t *testing.T, open func(t *testing.T, dir string) store.Engine) {
	dir := t.TempDir()
	e := open(t, dir)
	first := put(t, e, "k", "v", 0)
	_, err := e.Put(t.Context(), "gone", nil, 0, &store.PutOptions{TTL: time.Millisecond})
	must(t, err)
	_, err = e.Put(t.Context(), "stays", nil, 0, &store.PutOptions{TTL: time.Hour})
	must(t, err)
	before, err := e.Get(t.Context(), "stays")
	must(t, err)
	must(t, e.Close())
	e = open(t, dir)
	defer e.Close()
	if r := wantValue(t, e, "k", "v"); r.Revision != first {
		t.Errorf("revision is %d, want %d", r.Revision, first)
	}
	if r := wantValue(t, e, "stays", ""); !r.Expires.Equal(before.Expires) {
		t.Errorf("expires at %v, want %v", r.Expires, before.Expires)
	}
	eventually(t, "expiry after reopening", func() bool {
		_, err := e.Get(t.Context(), "gone")
		return errors.Is(err, store.ErrNotFound)
	})
	last := put(t, e, "k", "w", first)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for c, err := range e.Watch(ctx, "k", first) {
		if errors.Is(err, store.ErrCompacted) {
			return // fine: the watcher lists again
		}
		must(t, err)
		if c.Record.Revision == last && string(c.Record.Value) == "w" {
			return
		}
	}
}
