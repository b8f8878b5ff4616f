// Package object runs durable objects: small things with an identity, a typed state, a SQL database of their
// own, alarms and a queue, that outlive the process.
//
// An object is addressed by kind and id. It is created by its first write, at most one copy of it is live in
// a store at a time, and it sleeps when idle: nothing of a sleeping object is in this package's memory.
//
// # Atomicity
//
// The unit is one [Object.Update], [Object.Tx] or [Once], never a whole handler. Everything done in a unit
// with the context (or Tx) it hands out is one journal entry: state, SQL, alarms, queued jobs, notes, the
// result of Once. Two updates are two entries; a statement on [Object.SQL] outside a unit is one by itself.
// A unit that fails, panics or is cancelled leaves nothing. Units of one object run one after the other;
// handlers that use the same object run concurrently.
//
// Inside a unit nothing may be waited for that is outside the object: calling another object, or asking an
// MCP client, is refused with [ErrInUnit].
//
// # Durability
//
// A write returns when it is durable (as durable as the store engine promises). Where a transport holds
// back everything that a handler says until it is durable (see internal/effect), Update, Tx and Once return
// as soon as the write is accepted, so that a busy object is not bound to one disk flush per update; the
// transport then fails the answer if the write is lost. [Object.Flush] waits at any time. Reads follow the
// same rule: what is seen is durable before it is told.
//
// When an append to the journal fails, or its outcome is unknown, the live copy is thrown away and the next
// use reads it again from the journal: an object is never ahead of its journal for longer than that.
//
// Effects outside the object (a payment, a mail) are at-least-once: enqueue them as jobs in the unit that
// decides on them, and do them under a key that the other side knows. [Once] makes the decision once.
package object
