package mcphttp

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A passive is how 2026-07-28 requests of one client look to handlers: a session
// that is a handle and nothing more. Requests that make the same claims for the
// same user share one; nothing is kept in it.
type passive struct {
	ss *mcp.ServerSession
	// asking is the same client as a session of the era before, through which the
	// SDK lets questions pass.
	asking *mcp.ServerSession
	// said is the `_meta` of its requests as far as it is always the same: version,
	// client info and capabilities. The map is copied for each request; what is in
	// it is shared between them and must not be changed.
	said mcp.Meta
}

func (p *passive) close() { _, _ = p.ss.Close(), p.asking.Close() }

// longestTask is after how long no task can be running any more that used the
// passive of its call.
const longestTask = 24 * time.Hour

// maxPassives bounds the passives kept.
const maxPassives = 256

// passiveCache keeps the passives of a host, so that a 2026-07-28 call makes none.
type passiveCache struct {
	host *host

	mu    sync.RWMutex
	byKey map[string]*passive
	known map[*mcp.ServerSession]struct{}
}

// get returns the passive for what a client says of itself. The key holds the
// user as well: what one user's client claims is never shown to another's.
func (c *passiveCache) get(user, version string, info, caps []byte) (*passive, error) {
	if len(info)+len(caps) > maxInitialize {
		return nil, invalidParams("_meta: what the client says of itself is larger than %d bytes", maxInitialize)
	}
	key := make([]byte, 0, 512)
	for _, part := range [][]byte{[]byte(user), []byte(version), info, caps} {
		key = append(key, byte(len(part)), byte(len(part)>>8), byte(len(part)>>16))
		key = append(key, part...)
	}
	c.mu.RLock()
	p := c.byKey[string(key)]
	c.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := c.make(version, info, caps)
	if err != nil || c.host.sendsThroughApp {
		return p, err // its sessions have connections: they are the call's, which closes them
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.byKey[string(key)]; old != nil {
		p.close()
		return old, nil
	}
	if c.byKey == nil || len(c.byKey) >= maxPassives {
		// Clients come and go; starting over is cheaper than keeping an order.
		// Passives in use stay valid: a call knows its own.
		c.byKey = make(map[string]*passive)
		c.known = make(map[*mcp.ServerSession]struct{})
	}
	c.byKey[string(key)] = p
	c.known[p.ss], c.known[p.asking] = struct{}{}, struct{}{}
	return p, nil
}

func (c *passiveCache) make(version string, info, caps []byte) (*passive, error) {
	init, err := modernClient(version, info, caps)
	if err != nil {
		return nil, err
	}
	p := &passive{said: mcp.Meta{mcp.MetaKeyProtocolVersion: version}}
	for name, raw := range map[string][]byte{mcp.MetaKeyClientInfo: info, mcp.MetaKeyClientCapabilities: caps} {
		if len(raw) == 0 {
			continue
		}
		var v any
		if err := jsonv2.Unmarshal(raw, &v, lenientText); err != nil {
			return nil, invalidParams("_meta: %q: %s", name, plainDecodeError(err))
		}
		p.said[name] = v
	}
	if p.ss, err = c.host.connect("", &mcp.ServerSessionState{InitializeParams: init, InitializedParams: &mcp.InitializedParams{}}); err != nil {
		return nil, err
	}
	asking := *init
	asking.ProtocolVersion = version20251125
	p.asking, err = c.host.connect("", &mcp.ServerSessionState{InitializeParams: &asking, InitializedParams: &mcp.InitializedParams{}})
	return p, err
}

func (c *passiveCache) has(ss *mcp.ServerSession) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.known[ss]
	return ok
}

// modernClient reads what a 2026-07-28 request says of its client.
func modernClient(version string, info, caps []byte) (*mcp.InitializeParams, error) {
	p := &mcp.InitializeParams{ProtocolVersion: version}
	if len(info) > 0 {
		p.ClientInfo = new(mcp.Implementation)
		if info[0] != '{' || jsonv2.Unmarshal(info, p.ClientInfo, lenientText) != nil {
			return nil, invalidParams("_meta: %q must be an object with name and version", mcp.MetaKeyClientInfo)
		}
	}
	var err error
	if p.Capabilities, err = decodeCapabilities(caps); err != nil {
		return nil, invalidParams("_meta: %q must be an object of capabilities", mcp.MetaKeyClientCapabilities)
	}
	return p, nil
}

// A wireConn is the connection of a session whose server has sending middleware:
// what comes out of that middleware arrives here as a message and goes the way it
// would have gone without.
type wireConn struct {
	host   *host
	id     string
	in     chan sdkrpc.Message
	closed chan struct{}
	once   sync.Once

	mu sync.Mutex
	ss *mcp.ServerSession
}

func (w *wireConn) Connect(context.Context) (mcp.Connection, error) { return w, nil }
func (w *wireConn) SessionID() string                               { return w.id }

func (w *wireConn) Read(context.Context) (sdkrpc.Message, error) {
	select {
	case m := <-w.in:
		return m, nil
	case <-w.closed:
		return nil, io.EOF
	}
}

func (w *wireConn) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wireConn) Write(ctx context.Context, m sdkrpc.Message) error {
	req, ok := m.(*sdkrpc.Request)
	if !ok {
		return nil
	}
	w.mu.Lock()
	ss := w.ss
	w.mu.Unlock()
	out, ours := w.host.outlet(ctx, ss)
	if !ours || (out.call == nil && out.session == nil) {
		return ErrNoCall
	}
	params := rawParams{raw: req.Params}
	if !req.IsCall() {
		return out.notify(req.Method, &params)
	}
	go func() {
		resp := &sdkrpc.Response{ID: req.ID}
		resp.Result, resp.Error = w.ask(ctx, out, req.Method, req.Params)
		select {
		case w.in <- resp:
		case <-w.closed:
		}
	}()
	return nil
}

func (w *wireConn) ask(ctx context.Context, out outlet, method string, raw json.RawMessage) (json.RawMessage, error) {
	params, err := decodeAsk(method, raw)
	if err != nil {
		return nil, err
	}
	return out.ask(ctx, method, params)
}

// decodeAsk reads the params of a request to a client.
func decodeAsk(method string, raw json.RawMessage) (mcp.Params, error) {
	var p mcp.Params
	switch method {
	case methodElicit:
		p = new(mcp.ElicitParams)
	case methodCreateMessage:
		p = new(mcp.CreateMessageWithToolsParams)
	case methodListRoots:
		p = new(mcp.ListRootsParams)
	case methodPing:
		p = new(mcp.PingParams)
	default:
		return nil, wireError(sdkrpc.CodeMethodNotFound, "no such request to a client: %q", method)
	}
	if len(raw) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, err
	}
	return p, nil
}

// rawParams are params that are JSON already.
type rawParams struct {
	mcp.ParamsBase
	raw json.RawMessage
}

func (p *rawParams) MarshalJSON() ([]byte, error) {
	if len(p.raw) == 0 {
		return []byte("{}"), nil
	}
	return p.raw, nil
}
