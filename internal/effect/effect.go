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
package effect

import (
	"context"
	"sync/atomic"
)

// Call is one request of a client from its arrival to its answer.
//
// All methods may be called by several goroutines at once: a handler may start its own.
type Call struct {
	parent *Call
	wrote  atomic.Bool
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
