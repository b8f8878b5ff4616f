package bridge

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A call is one request of the host, until it is answered or cancelled.
type call struct {
	id     []byte
	method string
	params []byte
	line   []byte
	p      jsonrpc.Params
	meta   jsonrpc.Meta
	// modern says that the request is of 2026-07-28: it says so in its _meta.
	modern bool

	ctx    context.Context
	cancel context.CancelCauseFunc
	write  func(line []byte)

	// acknowledged says that a subscription was open once.
	acknowledged atomic.Bool
	outer        *call  // that this is a part of, with several servers
	intro        *intro // of the call by which the host introduced itself
	attempts     []*attempt
	watching     *watching // of a stream that the bridge itself reads
	parked       *parked   // of a request that outlives the host's calls

	mu        sync.Mutex
	cancelled []byte // params of the host's notifications/cancelled
	answered  bool
	// tokens are set when the host comes back to a parked call with another progress token.
	serverToken, hostToken []byte
}

// errCancelled is a call that the host does not wait for any more.
var errCancelled = errors.New("cancelled by the host")

func newCall(ctx context.Context, msg jsonrpc.Message, line []byte, write func([]byte)) (*call, error) {
	c := &call{id: msg.ID, method: msg.Method, params: msg.Params, line: line, write: write}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	var err error
	if c.p, err = jsonrpc.ParseParams(msg.Params); err != nil {
		return c, err
	}
	if c.meta, err = jsonrpc.ParseMeta(c.p.Meta); err != nil {
		return c, err
	}
	c.modern = c.meta.ProtocolVersion != nil
	return c, nil
}

// answer sends a response line, unless there was one or the host has cancelled.
func (c *call) answer(line []byte) {
	c.mu.Lock()
	silent := c.answered || c.cancelled != nil
	c.answered = true
	c.mu.Unlock()
	if !silent {
		c.write(line)
	} else {
		c.write(nil) // a batch must not wait for it
	}
}

func (c *call) result(result []byte) { c.answer(jsonrpc.AppendResult(nil, c.id, result)) }

func (c *call) fail(err error) { c.answer(errorAnswer(c.id, err)) }

// forget is the host's wish not to hear of the call again.
func (c *call) forget(params []byte) {
	c.mu.Lock()
	c.cancelled = params
	c.mu.Unlock()
	c.cancel(errCancelled)
}

// withdrawal is what the host said when it cancelled, nil if it did not.
func (c *call) withdrawal() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cancelled
}

// cancellation is what tells a server of an old era that request id is not waited for.
// c may be nil.
func (c *call) cancellation(id []byte) []byte {
	for c != nil && c.outer != nil {
		c = c.outer
	}
	var params []byte
	if c != nil {
		params = c.withdrawal()
	}
	return jsonrpc.AppendNotification(nil, "notifications/cancelled",
		with(params, pair{"_meta", nil}, pair{"requestId", id}))
}

// progress rewrites the token of a progress notification for a host that came back to a
// parked call under another.
func (c *call) progress(d delivery) []byte {
	c.mu.Lock()
	from, to := c.serverToken, c.hostToken
	c.mu.Unlock()
	if from == nil || bytes.Equal(from, to) || !bytes.Equal(member(d.msg.Params, "progressToken"), from) {
		return d.raw
	}
	if to == nil {
		return nil // it did not ask for progress this time
	}
	return jsonrpc.AppendNotification(nil, d.msg.Method, with(d.msg.Params, pair{"progressToken", to}))
}

// safe reports whether a request may be sent twice.
func (c *call) safe() bool {
	switch c.method {
	case "tools/list", "prompts/list", "prompts/get", "resources/list", "resources/read", "resources/templates/list",
		"completion/complete", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "server/discover",
		"tasks/get", "tasks/list", "tasks/result":
		return true
	}
	return false
}

func refusal(code int, text string) error { return &jsonrpc.Error{Code: code, Message: text} }
