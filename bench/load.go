package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/causeway-mcp/causeway/bench/internal/spread"
)

// A site is a running variant with its clients, connected and, where the era has
// them, in a session each.
type site struct {
	group   group
	variant variant
	child   *child
	clients []*client
}

// A client has one request in flight at a time.
type client struct {
	conn *httpConn
	call *callTemplate
	took []time.Duration // of the measured calls
	_    [64]byte        // its counter is its own cache line
	done atomic.Int64    // calls since the clients were connected
}

func openSite(srv servers, g group, v variant, gogc string, clients int) (*site, error) {
	c, err := srv.start(g.name+"/"+v.name, v.program, "GOGC="+gogc)
	if err != nil {
		return nil, err
	}
	s := &site{group: g, variant: v, child: c}
	for i := range clients {
		cl, err := openClient(c.addr, c.token, v, i+1)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), s.close())
		}
		s.clients = append(s.clients, cl)
	}
	return s, nil
}

func openClient(addr, token string, v variant, b int) (*client, error) {
	conn, err := dial(addr)
	if err != nil {
		return nil, err
	}
	session := ""
	switch {
	case v.era == sessions && v.bare():
		session = noSession
	case v.era == sessions:
		if session, err = openSession(conn, addr, token); err != nil {
			conn.close()
			return nil, err
		}
	}
	return &client{conn: conn, call: newCall(addr, token, v.era, session, b, v.events)}, nil
}

func (s *site) close() error {
	for _, c := range s.clients {
		c.conn.close()
	}
	return s.child.stop()
}

// The phases of a measurement.
const (
	warming int32 = iota
	measuring
	finished
)

// A tally is what one variant did while it was measured. Tallies of one round add up.
type tally struct {
	requests int64
	took     time.Duration
	used     serve.Usage
	answers  []time.Duration // how long each took
}

func (t *tally) add(u tally) {
	t.requests += u.requests
	t.took += u.took
	t.used.CPU += u.used.CPU
	t.used.Bytes += u.used.Bytes
	t.used.Objects += u.used.Objects
	t.answers = append(t.answers, u.answers...)
}

// A window is a round's tally in figures.
type window struct {
	PerSecond float64       // requests
	CPU       time.Duration // of the server, per request
	P50, P99  time.Duration
	Bytes     float64 // allocated per request
	Objects   float64
}

func (t *tally) window() window {
	slices.Sort(t.answers)
	n := float64(t.requests)
	return window{
		PerSecond: n / t.took.Seconds(),
		CPU:       time.Duration(float64(t.used.CPU) / n),
		P50:       spread.Quantile(t.answers, 0.5),
		P99:       spread.Quantile(t.answers, 0.99),
		Bytes:     float64(t.used.Bytes) / n,
		Objects:   float64(t.used.Objects) / n,
	}
}

// measure loads the site for warm plus length and reports about the latter. Any
// answer that is not the right one ends it.
func (s *site) measure(warm, length time.Duration) (tally, error) {
	var phase atomic.Int32
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	deadline := time.Now().Add(warm + length + exchangeTimeout)
	for _, c := range s.clients {
		wg.Go(func() {
			if err := c.run(&phase, deadline); err != nil {
				failed.CompareAndSwap(nil, &err)
				phase.Store(finished)
			}
		})
	}
	t, err := s.observe(&phase, warm, length)
	phase.Store(finished)
	wg.Wait()
	if p := failed.Load(); p != nil {
		return t, fmt.Errorf("%s: %w", s.child.name, *p)
	}
	if err != nil {
		return t, err
	}
	for _, c := range s.clients {
		t.answers = append(t.answers, c.took...)
	}
	return t, nil
}

// observe reads the server's meter and the clients' counters at both ends, while the
// load goes on.
func (s *site) observe(phase *atomic.Int32, warm, length time.Duration) (tally, error) {
	time.Sleep(warm)
	before, err := s.child.usage()
	if err != nil {
		return tally{}, err
	}
	start, done := time.Now(), s.done()
	phase.CompareAndSwap(warming, measuring)
	time.Sleep(length)
	after, err := s.child.usage()
	if err != nil {
		return tally{}, err
	}
	t := tally{requests: s.done() - done, took: time.Since(start)}
	if t.requests == 0 {
		return t, fmt.Errorf("%s answered nothing in %s", s.child.name, t.took)
	}
	t.used = serve.Usage{CPU: after.CPU - before.CPU, Bytes: after.Bytes - before.Bytes, Objects: after.Objects - before.Objects}
	return t, nil
}

func (s *site) done() int64 {
	var n int64
	for _, c := range s.clients {
		n += c.done.Load()
	}
	return n
}

// run calls until the measurement is over. A call that began in it counts for the
// latencies.
func (c *client) run(phase *atomic.Int32, deadline time.Time) error {
	c.took = c.took[:0]
	if err := c.conn.c.SetDeadline(deadline); err != nil {
		return err
	}
	for {
		now := phase.Load()
		if now == finished {
			return nil
		}
		start := time.Now()
		if err := c.once(); err != nil {
			return err
		}
		c.done.Add(1)
		if now == measuring {
			c.took = append(c.took, time.Since(start))
		}
	}
}

func (c *client) once() error {
	c.call.advance()
	a, err := c.conn.hurriedExchange(c.call.request)
	if err != nil {
		return err
	}
	return c.call.check(a)
}
