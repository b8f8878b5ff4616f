package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	took []time.Duration // of the window's calls
	_    [64]byte        // its counter is its own cache line
	done atomic.Int64    // calls since the clients were connected
}

func openSite(g group, v variant, gogc string, clients int) (*site, error) {
	c, err := startChild(callKey(g, v), 0, "GOGC="+gogc)
	if err != nil {
		return nil, err
	}
	s := &site{group: g, variant: v, child: c}
	for i := range clients {
		cl, err := openClient(c.addr, v, i+1)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", c.key, err), s.close())
		}
		s.clients = append(s.clients, cl)
	}
	return s, nil
}

func openClient(addr string, v variant, b int) (*client, error) {
	conn, err := dial(addr)
	if err != nil {
		return nil, err
	}
	session := ""
	switch {
	case v.era == sessions && v.bare():
		session = noSession
	case v.era == sessions:
		if session, err = openSession(conn, addr); err != nil {
			conn.close()
			return nil, err
		}
	}
	return &client{conn: conn, call: newCall(addr, v.era, session, b, v.events)}, nil
}

func (s *site) close() error {
	for _, c := range s.clients {
		c.conn.close()
	}
	return s.child.stop()
}

// The phases of a window.
const (
	warming int32 = iota
	measuring
	finished
)

// A window is what one variant did in one stretch of time.
type window struct {
	PerSecond float64       // requests
	CPU       time.Duration // of the server, per request
	P50, P99  time.Duration
	Bytes     float64 // allocated per request
	Objects   float64
}

// measure loads the site for warm plus length and reports about the latter. Any
// answer that is not the right one ends it.
func (s *site) measure(warm, length time.Duration) (window, error) {
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
	w, err := s.observe(&phase, warm, length)
	phase.Store(finished)
	wg.Wait()
	if p := failed.Load(); p != nil {
		return w, fmt.Errorf("%s: %w", s.child.key, *p)
	}
	if err != nil {
		return w, err
	}
	w.P50, w.P99 = s.latencies()
	return w, nil
}

// observe reads the server's meter and the clients' counters at both ends of the
// window, while the load goes on.
func (s *site) observe(phase *atomic.Int32, warm, length time.Duration) (window, error) {
	time.Sleep(warm)
	before, err := s.child.usage()
	if err != nil {
		return window{}, err
	}
	start, done := time.Now(), s.done()
	phase.CompareAndSwap(warming, measuring)
	time.Sleep(length)
	after, err := s.child.usage()
	if err != nil {
		return window{}, err
	}
	n, took := s.done()-done, time.Since(start)
	if n == 0 {
		return window{}, fmt.Errorf("%s answered nothing in %s", s.child.key, took)
	}
	return window{
		PerSecond: float64(n) / took.Seconds(),
		CPU:       (after.CPU - before.CPU) / time.Duration(n),
		Bytes:     float64(after.Bytes-before.Bytes) / float64(n),
		Objects:   float64(after.Objects-before.Objects) / float64(n),
	}, nil
}

func (s *site) done() int64 {
	var n int64
	for _, c := range s.clients {
		n += c.done.Load()
	}
	return n
}

func (s *site) latencies() (p50, p99 time.Duration) {
	var all []time.Duration
	for _, c := range s.clients {
		all = append(all, c.took...)
	}
	slices.Sort(all)
	return quantile(all, 0.5), quantile(all, 0.99)
}

// run calls until the window is over. A call that began in the window counts for
// the latencies.
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

// quantile is the q-th of sorted values, zero if there are none.
func quantile[T any](sorted []T, q float64) T {
	var none T
	if len(sorted) == 0 {
		return none
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
