package bridge

import "sync"

// A crew counts goroutines. Unlike a sync.WaitGroup it may grow while somebody waits.
type crew struct {
	mu   sync.Mutex
	n    int
	idle []chan struct{}
}

// Go runs f in a goroutine of its own.
func (c *crew) Go(f func()) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	go func() {
		defer c.left()
		f()
	}()
}

func (c *crew) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n > 0 {
		return
	}
	for _, idle := range c.idle {
		close(idle)
	}
	c.idle = nil
}

// empty returns a channel that is closed when no goroutine runs.
func (c *crew) empty() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := make(chan struct{})
	if c.n == 0 {
		close(idle)
	} else {
		c.idle = append(c.idle, idle)
	}
	return idle
}
