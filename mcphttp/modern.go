package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An inbound is a message with what its params say to everyone: read once,
// passed along.
type inbound struct {
	msg    *jsonrpc.Message
	params jsonrpc.Params
	meta   jsonrpc.Meta
	err    error // what is wrong with params or meta
}

func read(msg *jsonrpc.Message) *inbound {
	in := &inbound{msg: msg}
	if in.params, in.err = jsonrpc.ParseParams(msg.Params); in.err == nil {
		in.meta, in.err = jsonrpc.ParseMeta(in.params.Meta)
	}
	return in
}

// looksModern tells whether a POST claims to be of 2026-07-28 or later: by its
// body, by its version header, or, without one, by a header that only that era
// has. Wrong claims count too, so that they get that era's errors. Some clients
// of the session eras send Mcp-Method as well: what has a session, or asks for
// one, is not modern for it.
func (in *inbound) looksModern(r *http.Request) bool {
	if in.meta.ProtocolVersion != nil {
		return true
	}
	if v := r.Header["Mcp-Protocol-Version"]; len(v) > 0 {
		return v[0] >= version20260728
	}
	return len(r.Header["Mcp-Method"]) > 0 && len(r.Header["Mcp-Session-Id"]) == 0 && in.msg.Method != methodInitialize
}

// serveModern serves one 2026-07-28 message. The checks come in the order that
// docs/decisions/0002-era-routing.md gives, each with its status and code.
func (h *Handler) serveModern(w http.ResponseWriter, r *http.Request, host *host, in *inbound) {
	msg, params, meta := in.msg, &in.params, &in.meta
	switch msg.Kind {
	case jsonrpc.Response:
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "in 2026-07-28 clients send no responses: answers go into inputResponses of the repeated request"))
		return
	case jsonrpc.Notification:
		// Nothing a client can notify of has an effect here: cancellation is closing the stream.
		w.WriteHeader(http.StatusAccepted)
		return
	}
	c := &call{h: h, host: host, modern: true, user: userOf(r), method: msg.Method, id: msg.ID, extra: extraOf(r)}
	if in.err != nil {
		writeError(w, http.StatusBadRequest, msg.ID, in.err)
		return
	}
	version, werr := modernVersion(meta, r.Header["Mcp-Protocol-Version"], true)
	if werr == nil {
		werr = host.checkVersion(version)
	}
	if werr == nil {
		werr = c.checkMethodHeaders(r.Header, params)
	}
	m, known := methods[msg.Method]
	if werr == nil && (!known || m.eras&modernEra == 0 || m.notification) {
		werr = wireError(sdkrpc.CodeMethodNotFound, "method not found: %q", clip(msg.Method))
	}
	if werr == nil {
		werr = c.prepareModern(version, meta)
	}
	if werr == nil && msg.Method == methodCallTool {
		werr = host.tools.check(c.target, r.Header, params.Arguments)
	}
	if werr != nil {
		status := statusOf(werr, true)
		if werr.Code == sdkrpc.CodeInvalidParams {
			status = http.StatusBadRequest
		}
		writeJSON(w, status, encodeError(msg.ID, werr))
		return
	}
	if msg.Method == methodListen {
		h.serveListen(w, r, c, msg.Params)
		return
	}
	if !h.startCall() {
		writeError(w, http.StatusServiceUnavailable, msg.ID, wireError(sdkrpc.CodeInternalError, "the server is shutting down; try again"))
		return
	}
	defer h.calls.Done()
	reply := &postReply{h: h, version: version, w: w, due: 1}
	defer reply.leave()
	c.reply = reply
	// Closing the stream is how a 2026-07-28 client cancels, so the request's own
	// context is the call's.
	c.begin(r.Context())
	if isTaskMethod(msg.Method) {
		c.runTaskMethod(params)
	} else {
		c.run(func() (mcp.Request, error) { return c.build(m, msg.Params, params) })
	}
}

// modernVersion finds the version of a modern request and holds `_meta` and
// header against each other.
func modernVersion(meta *jsonrpc.Meta, header []string, http bool) (string, *sdkrpc.Error) {
	if http && len(header) == 0 {
		if meta.ProtocolVersion == nil {
			return "", invalidParams("_meta: %q is missing", jsonrpc.MetaProtocolVersion)
		}
		return "", wireError(mcp.CodeHeaderMismatch, "header MCP-Protocol-Version is missing")
	}
	if meta.ProtocolVersion == nil {
		return "", invalidParams("_meta: %q is missing", jsonrpc.MetaProtocolVersion)
	}
	version, ok := jsonrpc.String(meta.ProtocolVersion)
	if !ok {
		return "", invalidParams("_meta: %q must be a string", jsonrpc.MetaProtocolVersion)
	}
	if !jsonrpc.IsObject(meta.ClientCapabilities) {
		return "", invalidParams("_meta: %q is missing or not an object", jsonrpc.MetaClientCapabilities)
	}
	if http && (len(header) != 1 || header[0] != version) {
		return "", wireError(mcp.CodeHeaderMismatch, "header MCP-Protocol-Version does not match _meta: %q", clip(version))
	}
	return version, nil
}

// checkVersion refuses versions that the server does not serve in this era.
func (h *host) checkVersion(version string) *sdkrpc.Error {
	if version >= version20260728 {
		for _, v := range h.versions {
			if v == version {
				return nil
			}
		}
	}
	werr := wireError(mcp.CodeUnsupportedProtocolVersion, "protocol version %q is not supported here", clip(version))
	werr.Data, _ = json.Marshal(mcp.UnsupportedProtocolVersionData{Supported: h.versions, Requested: clip(version)})
	return werr
}

// checkMethodHeaders holds Mcp-Method and Mcp-Name against the body, and takes
// note of the request's target.
func (c *call) checkMethodHeaders(hd http.Header, p *jsonrpc.Params) *sdkrpc.Error {
	if werr := checkHeader(hd, "Mcp-Method", c.method, false); werr != nil {
		return werr
	}
	werr := c.setTarget(p)
	if werr != nil || c.target == "" && methods[c.method].named == "" {
		return werr
	}
	return checkHeader(hd, "Mcp-Name", c.target, true)
}

// setTarget reads which tool, prompt, resource or task the request is about.
func (c *call) setTarget(p *jsonrpc.Params) *sdkrpc.Error {
	var raw []byte
	switch methods[c.method].named {
	case "name":
		raw = p.Name
	case "uri":
		raw = p.URI
	case "taskId":
		raw = p.TaskID
	default:
		return nil
	}
	var ok bool
	if c.target, ok = jsonrpc.String(raw); !ok {
		return invalidParams("%s: params.%s is missing or not a string", c.method, methods[c.method].named)
	}
	c.arguments = p.Arguments
	return nil
}

func checkHeader(hd http.Header, name, want string, encoded bool) *sdkrpc.Error {
	v := hd[http.CanonicalHeaderKey(name)]
	switch {
	case len(v) == 0:
		return wireError(mcp.CodeHeaderMismatch, "header %s is missing", name)
	case len(v) > 1:
		return wireError(mcp.CodeHeaderMismatch, "header %s occurs %d times", name, len(v))
	}
	got := v[0]
	if encoded {
		var err error
		if got, err = decodeHeaderValue(got); err != nil {
			return wireError(mcp.CodeHeaderMismatch, "header %s: %v", name, err)
		}
	}
	if got != want {
		return wireError(mcp.CodeHeaderMismatch, "header %s does not match the body", name)
	}
	return nil
}

// prepareModern finds how the client looks to handlers, and the request's log
// level.
func (c *call) prepareModern(version string, meta *jsonrpc.Meta) *sdkrpc.Error {
	p, err := c.host.passives.get(c.user, version, meta.ClientInfo, meta.ClientCapabilities)
	if err != nil {
		if werr, ok := err.(*sdkrpc.Error); ok {
			return werr
		}
		return wireError(sdkrpc.CodeInternalError, "internal error")
	}
	c.ss, c.asking, c.said = p.ss, p.asking, p.said
	if c.host.sendsThroughApp {
		c.own = p
	}
	if meta.LogLevel != nil && !jsonrpc.IsNull(meta.LogLevel) {
		level, ok := jsonrpc.String(meta.LogLevel)
		if !ok || !isLogLevel(level) {
			return invalidParams("_meta: %q is not a log level", jsonrpc.MetaLogLevel)
		}
		c.level = mcp.LoggingLevel(level)
	}
	if meta.ProgressToken != nil && !jsonrpc.ValidID(meta.ProgressToken) {
		return invalidParams("_meta: progressToken must be a string or an integer")
	}
	return nil
}

func isLogLevel(s string) bool {
	switch s {
	case "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency":
		return true
	}
	return false
}

// clip keeps what a client sent from filling an error message.
func clip(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// serveListen serves subscriptions/listen. The SDK's own handler runs for it, so
// that the application's SubscribeHandler and middleware see what they expect; it
// blocks until the stream ends, so it has a goroutine of its own. What is sent to
// the subscription waits in a queue for this one.
func (h *Handler) serveListen(w http.ResponseWriter, r *http.Request, c *call, params []byte) {
	release, ok := h.openStream(w, c.host, c.id)
	if !ok {
		return
	}
	defer release()
	sub := c.prepareListen(h.newQueue())
	ctx, done := streamContext(r)
	defer done()
	result := c.listen(ctx, sub, params)

	// Until the acknowledgement is there, a refusal can still be a plain answer.
	select {
	case <-sub.acked:
	case res := <-result:
		select {
		case <-sub.acked: // nothing could be subscribed to: acknowledged and over
			result <- res
		default:
			c.endListen()
			writeJSON(w, res.status, res.body)
			return
		}
	case <-ctx.Done():
		c.endListen()
		return
	case <-h.draining:
		// What the application has not accepted yet it need not: nobody waits for it.
		c.endListen()
		writeError(w, http.StatusServiceUnavailable, c.id, wireError(sdkrpc.CodeInternalError, "the server is shutting down; try again"))
		return
	}
	events := startEvents(w, h.opts.WriteTimeout)
	defer events.close()
	h.pump(ctx, events, sub.out, func() {
		// The end is graceful: the subscription's result, then the stream closes.
		c.cancel(nil)
		res := <-result
		_ = events.write(event{data: res.body})
	}, result)
	c.endListen()
}

// A listenResult is how a subscription ended.
type listenResult struct {
	status int
	body   []byte
}

// prepareListen gives the call what a subscription needs, before anyone else can
// know of the call. Nothing of it may hold on to the request's body, which the
// subscription outlives.
func (c *call) prepareListen(out *queue) *subscription {
	c.id = bytes.Clone(c.id)
	sub := &subscription{id: c.id, out: out, acked: make(chan struct{})}
	c.reply = &listenReply{sub: sub, result: make(chan listenResult, 1)}
	return sub
}

// listen starts the SDK's handler for the subscription. Its result arrives on the
// returned channel, which has room for it. endListen must follow.
func (c *call) listen(ctx context.Context, sub *subscription, params []byte) chan listenResult {
	result := c.reply.(*listenReply).result
	if c.Context == nil {
		c.begin(ctx)
	}
	refuse := func(werr *sdkrpc.Error) chan listenResult {
		c.end()
		result <- listenResult{statusOf(werr, true), encodeError(c.id, werr)}
		return result
	}
	var err error
	if sub.tasks, err = c.followable(params); err != nil {
		return refuse(asWireError(err))
	}
	// A subscription is its own session to the server: it can be told from others
	// of the same client.
	ss, err := c.host.connect("", &mcp.ServerSessionState{InitializeParams: c.ss.InitializeParams(), InitializedParams: &mcp.InitializedParams{}})
	if err != nil {
		return refuse(wireError(sdkrpc.CodeInternalError, "internal error"))
	}
	c.ss, c.asking = ss, nil
	sub.session = ss
	c.host.fan.subscribe(ss, sub)
	var none jsonrpc.Params
	req, err := c.build(methods[methodListen], params, &none)
	go c.followTasks(sub)
	go c.run(func() (mcp.Request, error) { return req, err })
	return result
}

// listenReply takes the result of the SDK's subscription handler.
type listenReply struct {
	sub    *subscription
	result chan listenResult
	once   sync.Once
}

func (l *listenReply) emit([]byte) error   { return ErrNoCall }
func (l *listenReply) pause(time.Duration) {}

func (l *listenReply) respond(c *call, msg []byte, status int) {
	l.sub.outlast(c)
	l.once.Do(func() { l.result <- listenResult{status, msg} })
}

func (c *call) endListen() {
	c.cancel(nil)
	if sub := c.reply.(*listenReply).sub; sub.session != nil {
		c.host.fan.unsubscribe(sub.session)
		_ = sub.session.Close()
	}
}
