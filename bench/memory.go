package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/serve"
)

// A census is how memory is measured.
type census struct {
	servers servers
	count   int           // sessions, and streams
	sleep   time.Duration // after which idle sessions leave memory
	gogc    string
	// profiles is a directory for heap profiles of Causeway, "" for none.
	profiles string
	log      io.Writer
}

// A holding is what one server holds for one thing: a session whose connections are
// closed, or a session with an open GET stream. Bytes are those of the heap and of
// stacks after collection.
type holding struct {
	Server     string
	Thing      string
	Count      int
	Bytes      float64 // the sum of the next two
	Heap       float64
	Stacks     float64
	Goroutines float64
}

const (
	liveSession  = "session, connections closed"
	idleSession  = "session, idle"
	openedStream = "session with open GET stream"
)

// settled is how many things are there before the first reading, so that what a
// server makes once is not counted.
const settled = 100

func (c census) run() ([]holding, error) {
	var out []holding
	for _, t := range tenants(c.sleep) {
		if !t.bare {
			h, err := c.withChild(t, c.sessions)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
		}
		if !t.sleeps {
			h, err := c.withChild(t, c.streams)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
		}
	}
	return out, nil
}

func (c census) withChild(t tenant, measure func(tenant, *child) (holding, error)) (h holding, err error) {
	env := []string{"GOGC=" + c.gogc}
	if c.profiles != "" {
		env = append(env, "GODEBUG=memprofilerate=512") // or a profile would see a few dozen of them
	}
	srv, err := c.servers.start("memory of "+t.name, t.program, env...)
	if err != nil {
		return holding{}, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	if h, err = measure(t, srv); err != nil {
		return h, fmt.Errorf("%s: %w", srv.name, err)
	}
	return h, nil
}

// profile writes what the server holds, by where it was allocated.
func (c census) profile(h holding, srv *child) error {
	if c.profiles == "" {
		return nil
	}
	file, err := profileFile(c.profiles, h.Server+" "+h.Thing, "heap")
	if err != nil {
		return err
	}
	_, err = srv.order("heap", file)
	return err
}

// sessions measures sessions that were used once and whose connections are closed.
func (c census) sessions(t tenant, srv *child) (holding, error) {
	h := holding{Server: t.name, Thing: liveSession, Count: c.count}
	if t.sleeps {
		h.Thing = idleSession
	}
	fmt.Fprintf(c.log, "%s: %d × %s\n", t.name, c.count, h.Thing)
	read := func(n int) (serve.Footprint, error) {
		if err := openSessions(srv.addr, t, n, nil); err != nil {
			return serve.Footprint{}, err
		}
		if t.sleeps {
			// Their last use has whole seconds, and they are looked for four times in
			// the sleep time.
			time.Sleep(c.sleep + c.sleep/2 + 2*time.Second)
		}
		return steady(srv)
	}
	before, err := read(settled)
	if err != nil {
		return h, err
	}
	after, err := read(c.count)
	if err != nil {
		return h, err
	}
	h.fill(before, after)
	return h, c.profile(h, srv)
}

// streams measures open GET streams, each with the session it belongs to. The bare
// handler has no sessions: it is the floor.
func (c census) streams(t tenant, srv *child) (holding, error) {
	h := holding{Server: t.name, Thing: openedStream, Count: c.count}
	fmt.Fprintf(c.log, "%s: %d × %s\n", t.name, c.count, h.Thing)
	var mu sync.Mutex
	var held []*httpConn
	defer func() {
		for _, conn := range held {
			conn.close()
		}
	}()
	hold := func(session string) error {
		conn, err := openStream(srv.addr, session)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		held = append(held, conn)
		return nil
	}
	read := func(n int) (serve.Footprint, error) {
		if err := openSessions(srv.addr, t, n, hold); err != nil {
			return serve.Footprint{}, err
		}
		return steady(srv)
	}
	before, err := read(settled)
	if err != nil {
		return h, err
	}
	after, err := read(c.count)
	if err != nil {
		return h, err
	}
	h.fill(before, after)
	return h, c.profile(h, srv)
}

func (h *holding) fill(before, after serve.Footprint) {
	each := func(after, before float64) float64 { return (after - before) / float64(h.Count) }
	h.Heap = each(float64(after.Heap), float64(before.Heap))
	h.Stacks = each(float64(after.Stacks), float64(before.Stacks))
	h.Bytes = h.Heap + h.Stacks
	h.Goroutines = each(float64(after.Goroutines), float64(before.Goroutines))
}

// openers is how many sessions are opened at a time.
const openers = 16

// openSessions opens n sessions with one call each, does with, if there is one, to
// each, and closes the connections it used for that. The bare handler gets the calls
// only.
func openSessions(addr string, t tenant, n int, with func(session string) error) error {
	return each(n, func(i int) error {
		conn, err := dial(addr)
		if err != nil {
			return err
		}
		defer conn.close()
		session := noSession
		if !t.bare {
			if session, err = openSession(conn, addr, ""); err != nil {
				return err
			}
		}
		call := newCall(addr, "", sessions, session, i+1, false)
		call.advance()
		a, err := conn.exchange(call.request)
		if err != nil {
			return err
		}
		if err := call.check(a); err != nil || with == nil {
			return err
		}
		return with(session)
	})
}

// each does do for 0 to n-1, several at a time, until one fails.
func each(n int, do func(int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range openers {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		return *p
	}
	return nil
}

// openStream opens a GET stream, makes sure that it is one, and leaves it open.
func openStream(addr, session string) (*httpConn, error) {
	conn, err := dial(addr)
	if err != nil {
		return nil, err
	}
	if err := conn.c.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return nil, errors.Join(err, conn.c.Close())
	}
	if _, err := conn.c.Write(get(addr, sessionHeaders(session, "")...)); err != nil {
		return nil, errors.Join(err, conn.c.Close())
	}
	a, _, err := conn.head()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a stream: %w", err), conn.c.Close())
	}
	if a.status != 200 || !a.events {
		return nil, errors.Join(fmt.Errorf("opening a stream: status %d, an event stream: %t", a.status, a.events), conn.c.Close())
	}
	// Nobody reads on: a buffer of the reader's would only weigh on this process.
	conn.r = nil
	return conn, nil
}

// steady reads the footprint until it stands still: connections that were closed
// take a moment to be let go of.
func steady(srv *child) (serve.Footprint, error) {
	last, err := srv.footprint()
	for range 20 {
		if err != nil {
			return last, err
		}
		time.Sleep(100 * time.Millisecond)
		var now serve.Footprint
		if now, err = srv.footprint(); err != nil {
			return now, err
		}
		if now.Goroutines == last.Goroutines && alike(now.Heap+now.Stacks, last.Heap+last.Stacks) {
			return now, nil
		}
		last = now
	}
	return last, fmt.Errorf("memory does not come to rest: %+v", last)
}

// alike tells whether two sizes differ by at most one percent.
func alike(a, b uint64) bool { return max(a, b)-min(a, b) <= max(a, b)/100 }
