package mcphttp

import (
	"context"
	"crypto/rand"
)

// A Caller is who makes the request that a context belongs to, as far as it has
// been verified: nothing a client merely claims is in it.
type Caller struct {
	// User is the signed-in user (auth.TokenInfo's UserID), "" for nobody.
	User string
	// SessionID is the session the request belongs to, "" in 2026-07-28.
	SessionID string
	// Connected tells that the session is a connection (WebSocket, HTTP+SSE), with
	// which it ends.
	Connected bool
	// Modern tells a request of 2026-07-28 or later, which has no session.
	Modern bool
	// CallID names the request. In 2026-07-28 it stays the same over the rounds of
	// one input-required request, sealed in its requestState, so that what must
	// happen once can be remembered under it.
	CallID string
}

// CallerOf returns the caller of the request that ctx belongs to. It reports false
// for a context that is not of a request served here, such as an alarm's.
func CallerOf(ctx context.Context) (Caller, bool) {
	c := callOf(ctx)
	if c == nil {
		return Caller{}, false
	}
	out := Caller{User: c.user, Modern: c.modern, CallID: c.name()}
	if c.session != nil {
		out.SessionID, out.Connected = c.session.id, c.session.transient
	}
	return out, true
}

// name is the call's id across its rounds.
func (c *call) name() string {
	c.questions.mu.Lock()
	defer c.questions.mu.Unlock()
	if c.questions.state != nil {
		return c.questions.state.Call
	}
	if c.questions.name == "" {
		c.questions.name = rand.Text()
	}
	return c.questions.name
}
