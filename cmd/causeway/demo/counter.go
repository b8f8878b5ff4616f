package demo

import (
	"container/list"
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// counters are the counters in use. A counter is found by the session it belongs
// to or by its handle, a secret of 128 bits; never by what a client says of itself.
// The one that was unused longest goes when there are too many.
type counters struct {
	mu     sync.Mutex
	max    int
	byKey  map[counterKey]*list.Element
	recent *list.List // of *counter, the one used last in front
}

// counterKey has one field set. Two fields, so that a session id is no handle.
type counterKey struct{ session, handle string }

type counter struct {
	key   counterKey
	value int64
}

func newCounters(max int) *counters {
	return &counters{max: max, byKey: make(map[counterKey]*list.Element), recent: list.New()}
}

type countInput struct {
	By      *int64 `json:"by,omitempty" jsonschema:"how much to count on; 1 if left out; 0 just looks"`
	Counter string `json:"counter,omitempty" jsonschema:"the handle of a counter, from an earlier answer"`
}

type countOutput struct {
	Value   int64  `json:"value"`
	Counter string `json:"counter,omitempty" jsonschema:"the handle to pass next time; sessions need none"`
}

func (c *counters) count(_ context.Context, req *mcp.CallToolRequest, in countInput) (*mcp.CallToolResult, countOutput, error) {
	by := int64(1)
	if in.By != nil {
		by = *in.By
	}
	var key counterKey
	switch session := req.Session.ID(); {
	case in.Counter != "":
		key.handle = in.Counter
		if !c.has(key) {
			return nil, countOutput{}, fmt.Errorf("there is no such counter (any more); leave `counter` out to get a new one")
		}
	case session != "":
		key.session = session
	default: // no session in 2026-07-28: state needs a handle
		key.handle = rand.Text()
	}
	out := countOutput{Value: c.add(key, by), Counter: key.handle}
	if out.Counter == "" {
		return text("The counter is at %d.", out.Value), out, nil
	}
	return text("The counter is at %d. To go on counting, pass counter: %q.", out.Value, out.Counter), out, nil
}

func (c *counters) has(key counterKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byKey[key] != nil
}

func (c *counters) add(key counterKey, by int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		if c.recent.Len() >= c.max {
			oldest := c.recent.Back()
			delete(c.byKey, c.recent.Remove(oldest).(*counter).key)
		}
		e = c.recent.PushFront(&counter{key: key})
		c.byKey[key] = e
	}
	c.recent.MoveToFront(e)
	n := e.Value.(*counter)
	n.value += by
	return n.value
}
