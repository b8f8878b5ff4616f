// Package effect says what the call that a context belongs to has done so far.
//
// Two packages that must not know each other share it. object marks a call when it writes (so that
// mcphttp can refuse to ask a client after a write: in 2026-07-28 the handler would run again and write
// twice) and marks the context it hands to a unit of atomicity (so that asking a client, or calling
// another object, is refused while an object is locked). mcphttp creates the call and reads the marks.
//
//	ctx, call := effect.NewCall(ctx)  // the transport, once for each request it dispatches
//	effect.MarkWrite(ctx)             // object, on every write of state, SQL, alarms, queue, Once
//	call.Wrote()                      // the transport, before it asks the client for anything
//	effect.InUnit(ctx)                // the transport (asks) and object (calls), before they do it
//
// The output gate also goes through here. A transport that promises to hold back everything the handler
// says until Flush has returned calls Gate; objects then let the handler run ahead of the disk:
//
//	call.Gate()                       // the transport, before it dispatches
//	err := call.Flush(ctx)            // the transport, before each byte that leaves; on error the answer is the error
package effect

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// Call is one request of a client from its arrival to its answer.
//
// All methods may be called by several goroutines at once: a handler may start its own.
type Call struct {
	parent *Call
	wrote  atomic.Bool
	gated  atomic.Bool

	mu      sync.Mutex
	touched []Durable
}

// Durable is something that may have accepted more than is durable yet, such as a live object.
type Durable interface {
	// Flush returns when everything accepted before the call is durable, or with the reason why it never
	// will be.
	Flush(ctx context.Context) error
}

// Gate promises that Flush will be called before anything of the call's outcome leaves: first byte, status,
// headers, events, progress, questions, errors. Without the promise every write waits for the disk itself.
func (c *Call) Gate() { c.gated.Store(true) }

// Gated tells whether writes of the call may run ahead of the disk.
func (c *Call) Gated() bool { return c != nil && c.gated.Load() }

// Touch notes that the call wrote to d, or saw what is in it: both must be durable before it may tell.
func (c *Call) Touch(d Durable) {
	for ; c != nil; c = c.parent {
		c.mu.Lock()
		if !slices.Contains(c.touched, d) {
			c.touched = append(c.touched, d)
		}
		c.mu.Unlock()
	}
}

// Flush returns when all that the call wrote or could have seen so far is durable. An error means that
// some of it will never be, or that this is not known: the call must end in an error.
func (c *Call) Flush(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	touched := slices.Clone(c.touched)
	c.mu.Unlock()
	var errs error
	for _, d := range touched {
		errs = errors.Join(errs, d.Flush(ctx))
	}
	return errs
}

// Wrote tells whether anything durable was written with the call's context, or one derived from it.
// It never goes back to false. A write that was tried and failed counts too: its outcome may be unknown.
func (c *Call) Wrote() bool { return c != nil && c.wrote.Load() }

func (c *Call) markWrite() {
	for ; c != nil; c = c.parent {
		c.wrote.Store(true)
	}
}

type callKey struct{}
type unitKey struct{}

// NewCall starts a call. A call inside another one (a tool that calls a tool) marks both when it writes.
func NewCall(ctx context.Context) (context.Context, *Call) {
	c := &Call{parent: CallOf(ctx)}
	return context.WithValue(ctx, callKey{}, c), c
}

// CallOf returns the call ctx belongs to, or nil when no transport started one (alarms, tests).
func CallOf(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// MarkWrite notes that the call of ctx is writing; without a call it does nothing.
func MarkWrite(ctx context.Context) { CallOf(ctx).markWrite() }

// Wrote tells whether the call of ctx has written; false without a call.
func Wrote(ctx context.Context) bool { return CallOf(ctx).Wrote() }

// EnterUnit marks ctx as being inside a unit of atomicity (one Update or Tx of an object).
func EnterUnit(ctx context.Context) context.Context { return context.WithValue(ctx, unitKey{}, true) }

// InUnit tells whether ctx was handed out by a unit of atomicity. Whoever would wait for something outside
// the object (a client's answer, another object) must refuse then: the object stands still meanwhile.
func InUnit(ctx context.Context) bool { in, _ := ctx.Value(unitKey{}).(bool); return in }
