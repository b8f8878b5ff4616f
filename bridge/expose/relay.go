package expose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/verbatim"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// relay is the middleware that puts the child in the place of the SDK's server. What
// concerns sessions and subscriptions stays with the SDK; everything else the child
// answers.
func (t *tenant) relay(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		ss, ok := req.GetSession().(*mcp.ServerSession)
		if !ok {
			return next(ctx, method, req)
		}
		switch method {
		case "initialize":
			return t.introduce(ctx, ss, next, method, req)
		case "server/discover":
			return t.discover(ctx, ss, next, method, req)
		case "logging/setLevel":
			res, err := next(ctx, method, req)
			if p, ok := req.GetParams().(*mcp.SetLoggingLevelParams); ok && err == nil {
				t.wantLevel(ctx, ss, p.Level)
			}
			return res, err
		case "subscriptions/listen":
			return t.listen(ctx, ss, next, method, req)
		case "notifications/roots/list_changed":
			t.rootsChanged(ss)
			return next(ctx, method, req)
		case "tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list", "resources/read",
			"resources/templates/list", "completion/complete":
			t.s.opts.Working(int(t.s.working.Add(1)))
			defer t.s.working.Add(-1)
			return t.forward(ctx, ss, method, req)
		}
		return next(ctx, method, req)
	}
}

// greeted returns what the child for a session said of itself, starting it if need
// be.
func (t *tenant) greeted(ctx context.Context, ss *mcp.ServerSession) (*greeting, *slot, error) {
	sl, err := t.slotFor(ss)
	if err != nil {
		return nil, nil, err
	}
	p, err := sl.acquire(ctx, ss)
	if err != nil {
		return nil, nil, err
	}
	defer sl.release()
	return p.hello, sl, nil
}

func (t *tenant) introduce(ctx context.Context, ss *mcp.ServerSession, next mcp.MethodHandler, method string, req mcp.Request) (mcp.Result, error) {
	// The SDK notes what the client says of itself, which the child is then told.
	res, err := next(ctx, method, req)
	own, ok := res.(*mcp.InitializeResult)
	if err != nil || !ok {
		return res, err
	}
	hello, _, err := t.greeted(ctx, ss)
	if err != nil {
		return nil, err
	}
	out := *own
	out.Capabilities, out.Instructions = hello.capabilities, hello.instructions
	if hello.info != nil {
		out.ServerInfo = hello.info
	}
	return &out, nil
}

func (t *tenant) discover(ctx context.Context, ss *mcp.ServerSession, next mcp.MethodHandler, method string, req mcp.Request) (mcp.Result, error) {
	res, err := next(ctx, method, req)
	own, ok := res.(*mcp.DiscoverResult)
	if err != nil || !ok {
		return res, err
	}
	hello, _, err := t.greeted(ctx, ss)
	if err != nil {
		return nil, err
	}
	out := *own
	out.Capabilities, out.Instructions = hello.capabilities, hello.instructions
	out.CacheScope = "private"
	if hello.info != nil {
		out.Meta = maps.Clone(own.Meta)
		if out.Meta == nil {
			out.Meta = mcp.Meta{}
		}
		out.Meta[mcp.MetaKeyServerInfo] = hello.info
	}
	return &out, nil
}

// A call is a request that the child works on.
type call struct {
	sl      *slot
	p       *process
	x       *exchange
	method  string
	stirred chan struct{} // there are notes or asks

	mu     sync.Mutex
	asks   []*question // of a 2026-07-28 client, for the end of the round
	ended  bool        // nobody will answer what is asked from here on
	notes  []note      // what the child says to the client meanwhile
	ctx    context.Context
	ss     *mcp.ServerSession
	token  any // the client's progress token, nil if it wants no progress
	modern bool
}

// A note is a notification for the client of a call.
type note struct {
	method string
	params []byte
}

// maxNotes bounds what waits to be sent to a client during a call. More is dropped:
// progress and log messages are not promised to arrive.
const maxNotes = 256

// forward has the child carry a request out.
func (t *tenant) forward(ctx context.Context, ss *mcp.ServerSession, method string, req mcp.Request) (mcp.Result, error) {
	sl, err := t.slotFor(ss)
	if err != nil {
		return nil, err
	}
	params := req.GetParams()
	state, answers := roundOf(params)
	if id, ok := strings.CutPrefix(state, parkedState); ok {
		return sl.resume(ctx, ss, id, method, params, answers)
	}
	p, err := sl.acquire(ctx, ss)
	if err != nil {
		return nil, err
	}
	c := &call{sl: sl, p: p, method: method, ctx: ctx, ss: ss, modern: isModern(ss), token: params.GetMeta()[jsonrpc.MetaProgressToken],
		stirred: make(chan struct{}, 1)}
	if err := sl.open(c); err != nil {
		sl.release()
		return nil, err
	}
	if !c.modern {
		sl.remember(ss)
	} else if level, ok := params.GetMeta()[jsonrpc.MetaLogLevel].(string); ok {
		sl.raise(ctx, p, mcp.LoggingLevel(level))
	}
	raw, err := sl.paramsFor(ctx, c, params)
	if err == nil {
		err = p.send(c.x, method, raw)
	}
	if err != nil {
		c.end()
		sl.finish(c)
		return nil, err
	}
	return sl.await(ctx, c)
}

func isModern(ss *mcp.ServerSession) bool {
	p := ss.InitializeParams()
	return p != nil && p.ProtocolVersion >= modern
}

var errBusy = errors.New("the program works on as many requests as it may: wait for some to end")

// open makes a call known, so that what the child says can be brought to its client.
func (sl *slot) open(c *call) error {
	x, err := c.p.reserve()
	if err != nil {
		return err
	}
	c.x = x
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if len(sl.calls) >= sl.t.s.opts.MaxCalls {
		c.p.forget(x)
		return errBusy
	}
	sl.calls[x.id] = c
	return nil
}

// finish forgets a call, which no longer needs the child.
func (sl *slot) finish(c *call) {
	c.p.forget(c.x)
	sl.mu.Lock()
	if sl.calls[c.x.id] == c {
		delete(sl.calls, c.x.id)
	}
	sl.mu.Unlock()
	sl.release()
}

// await waits for the child's answer, and meanwhile brings the client what the child
// says. A question to a 2026-07-28 client ends the round: the call is parked.
func (sl *slot) await(ctx context.Context, c *call) (mcp.Result, error) {
	turn := c.p.turn.free
	for {
		select {
		case <-turn:
			if !c.p.hear(c.x, c.stirred) {
				turn = nil
			}
		case <-c.stirred:
			notes, asks := c.heard()
			for _, n := range notes {
				c.tell(ctx, n)
			}
			if len(asks) > 0 {
				return sl.park(c, asks)
			}
		case a := <-c.x.answer:
			for _, n := range c.end() {
				c.tell(ctx, n)
			}
			sl.finish(c)
			if a.err != nil {
				return c.failed(a.err)
			}
			return c.result(a.result)
		case <-ctx.Done():
			c.p.cancel(c.x)
			c.end()
			sl.finish(c)
			return nil, context.Cause(ctx)
		}
	}
}

// result is the child's result as the client's era wants it.
func (c *call) result(raw []byte) (mcp.Result, error) {
	if !jsonrpc.IsObject(raw) {
		return nil, errors.New("the program answered with what is no result")
	}
	var kind []byte
	var hasTTL, hasScope bool
	err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
		switch string(name) {
		case "resultType":
			kind = value
		case "ttlMs":
			hasTTL = true
		case "cacheScope":
			hasScope = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the program answered with what is no result: %w", err)
	}
	if jsonrpc.StringEquals(kind, "input_required") {
		return c.inputRequired(raw)
	}
	if c.method == "tools/list" && c.isModern() {
		c.sl.t.mirror(raw)
	}
	if !c.isModern() {
		if kind != nil {
			raw = jsonrpc.Without(raw, "resultType")
		}
		return &verbatim.Result{JSON: raw}, nil
	}
	if cacheable[c.method] {
		// 2026-07-28 wants both on these. What is seen by one person is theirs.
		if !hasTTL {
			raw = withMember(raw, `"ttlMs":0`)
		}
		if !hasScope {
			raw = withMember(raw, `"cacheScope":"private"`)
		}
	}
	return &verbatim.Result{JSON: raw, Server: c.p.hello.about}, nil
}

var cacheable = map[string]bool{
	"tools/list": true, "prompts/list": true, "resources/list": true, "resources/templates/list": true, "resources/read": true,
}

func (c *call) isModern() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.modern
}

// failed is the child's error as the client's era wants it.
func (c *call) failed(err error) (mcp.Result, error) {
	var werr *sdkrpc.Error
	if !errors.As(err, &werr) || !c.isModern() {
		return nil, err
	}
	switch werr.Code {
	case codeResourceNotFound:
		return nil, &sdkrpc.Error{Code: sdkrpc.CodeInvalidParams, Message: werr.Message, Data: werr.Data}
	case codeURLElicitation:
		return c.openURLs(werr)
	}
	return nil, err
}

// Error codes of the session eras that 2026-07-28 has not.
const (
	codeResourceNotFound = -32002
	codeURLElicitation   = -32042
)

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// withMember copies an object, with one more member.
func withMember(object []byte, member string) []byte {
	out := append(make([]byte, 0, len(object)+len(member)+1), bytes.TrimRight(object, " \t\r\n")...)
	out = out[:len(out)-1]
	if len(bytes.TrimSpace(out)) > 1 {
		out = append(out, ',')
	}
	return append(append(out, member...), '}')
}
