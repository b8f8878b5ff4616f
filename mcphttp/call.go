package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/verbatim"
	jsonv2 "github.com/go-json-experiment/json"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A call is one request from its arrival to its response. It is also the context
// that handlers are given: it carries the values of the HTTP request, and answers
// the keys under which the SDK looks for the request's id and log level.
type call struct {
	context.Context
	cancel context.CancelCauseFunc

	h       *Handler
	host    *host
	session *session           // nil in 2026-07-28
	ss      *mcp.ServerSession // what handlers see as their session
	asking  *mcp.ServerSession // in 2026-07-28: the same client seen as one that can be asked
	modern  bool
	user    string
	method  string
	target  string // the tool, prompt or resource
	id      []byte // raw
	level   mcp.LoggingLevel
	effects *effect.Call
	reply   reply
	extra   *mcp.RequestExtra

	said      mcp.Meta // see passive
	arguments []byte
	params    []byte // as they came; gone with the request
	questions questionnaire
	own       *passive    // closed with the call
	round     *roundClaim // the round this call carries out, if it carries answers
	task      *task       // the task whose handler this is the call of
	created   *task       // the task that the call became
	rerun     *taskRerun  // the task that is to run again with this call
	answered  bool        // guarded by the reply
	challenge http.Header // for the answer; guarded by the reply
	place     place       // in the watch
	started   time.Time
}

type callKey struct{}

func (c *call) Value(key any) any {
	switch key {
	case callKey{}:
		return c
	case verbatim.ParamsKey{}:
		return c.params
	case c.host.sdk.requestID:
		id, err := sdkrpc.MakeID(idValue(c.id))
		if err != nil {
			return nil
		}
		return id
	case c.host.sdk.logLevel:
		if c.modern {
			return c.level
		}
		return nil
	}
	return c.Context.Value(key)
}

// idValue is a raw id as the SDK's MakeID wants it: numbers as float64. Those
// that it could not tell apart become text; the SDK only compares them.
func idValue(raw []byte) any {
	n, ok := jsonrpc.IDValue(raw).(int64)
	if !ok {
		return jsonrpc.IDValue(raw)
	}
	if f := float64(n); int64(f) == n && n < 1<<53 && n > -(1<<53) {
		return f
	}
	return jsonrpc.IDKey(raw)
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// owns tells whether ss is how the handlers of this call see their session.
func (c *call) owns(ss *mcp.ServerSession) bool { return ss == c.ss || (ss == c.asking && ss != nil) }

var (
	errCallTimeout = errors.New("the request took longer than the server allows")
	errCancelled   = errors.New("the request was cancelled by its client")
	errShutdown    = errors.New("the server is shutting down")
)

// codeCancelled is sent for a request that its client cancelled and that must be
// answered all the same because HTTP wants an answer. It lies outside the range
// that JSON-RPC and MCP reserve.
const codeCancelled = -32800

// begin makes the call ready to run: its context, and the watch that keeps its
// stream alive and bounds its time.
func (c *call) begin(parent context.Context) {
	parent, c.effects = effect.NewCall(parent)
	c.effects.Gate() // emit, run and ask keep the promise
	c.Context, c.cancel = context.WithCancelCause(parent)
	c.started = time.Now()
	c.h.watch.add(&c.place, c, c.h.opts.StreamAfter)
}

// overdue is the watch's word that it is time to look after the call.
func (c *call) overdue() { go c.tick() }

// tick runs on a goroutine of its own, since it may write, while the handler is at
// work.
func (c *call) tick() {
	if c.Err() != nil {
		return
	}
	if d := c.h.opts.CallTimeout; d > 0 && time.Since(c.started) >= d && c.method != methodListen {
		c.cancel(errCallTimeout)
		c.fail(wireError(jsonrpc.CodeInternalError, "%s: %v (%v)", c.method, errCallTimeout, d))
		return
	}
	if p, ok := c.reply.(*postReply); ok {
		p.tick(time.Since(c.started) >= c.h.opts.StreamAfter)
	}
	next := c.h.opts.KeepAlive
	if next <= 0 {
		next = time.Minute
	}
	if d := c.h.opts.CallTimeout; d > 0 {
		next = min(next, max(d-time.Since(c.started), time.Millisecond))
	}
	c.h.watch.again(&c.place, next)
}

// fail answers the call from another goroutine than its handler's, which may not
// care that it was cancelled.
func (c *call) fail(err *sdkrpc.Error) {
	if p, ok := c.reply.(*postReply); ok {
		p.abandonHandler()
	}
	c.reply.respond(c, encodeError(c.id, err), statusOf(err, c.modern))
}

// stop cancels the call at its client's wish and answers it.
func (c *call) stop(cause error) {
	if c.method == methodListen {
		c.cancel(cause) // it ends with its result
		return
	}
	// The last word comes before the cancellation: a handler that returns at once
	// must not get in between.
	if l, ok := c.reply.(*linkReply); ok {
		l.drop() // no response, where none is owed to HTTP
	} else {
		c.fail(wireError(codeCancelled, "%v", cause))
	}
	c.cancel(cause)
}

func (c *call) end() {
	c.h.watch.remove(&c.place)
	c.cancel(nil)
	if c.own == nil {
		return
	}
	if c.created == nil {
		c.own.close()
	} else {
		time.AfterFunc(longestTask, c.own.close) // the task's handler goes on with it
	}
}

// run carries the call out on this goroutine and answers it, whatever happens.
func (c *call) run(build func() (mcp.Request, error)) {
	defer c.end()
	defer c.dropTask()
	res, err := c.receive(build)
	if c.modern && c.questions.asked() {
		res, err = nil, nil // the handler will run again; what it returned now is void
	}
	var body []byte
	if err == nil {
		body, err = c.encode(res)
	}
	if lost := c.settle(); lost != nil {
		err = lost
	}
	if err == nil {
		c.settleRound(body, nil)
		c.startTask()
		c.reply.respond(c, jsonrpc.AppendResult(make([]byte, 0, len(body)+64), c.id, body), 200)
		return
	}
	c.dropTask()
	werr := c.wireErrorOf(err)
	c.settleRound(nil, werr)
	status := statusOf(werr, c.modern)
	var refusal challenger
	if errors.As(err, &refusal) {
		status = c.refuse(refusal)
	}
	c.reply.respond(c, encodeError(c.id, werr), status)
}

// A challenger is an error that says how the HTTP answer, where there is one for it
// alone, tells the client what to do about it: an oauth.ScopeError.
type challenger interface {
	error
	Challenge() (status int, header http.Header)
}

func (c *call) refuse(refusal challenger) (status int) {
	status, header := refusal.Challenge()
	if p, ok := c.reply.(*postReply); ok {
		p.mu.Lock()
		c.challenge = header
		p.mu.Unlock()
	}
	return status
}

// settle waits until all that the call wrote, or could have seen, is durable. It is
// called before anything of the call's outcome leaves. The wait does not end with
// the client: what was written must be settled all the same.
func (c *call) settle() error {
	if err := c.effects.Flush(context.WithoutCancel(c)); err != nil {
		c.h.log.Error("what a request wrote could not be made durable", slog.String("method", c.method),
			slog.String("target", c.target), slog.Any("error", err))
		return wireError(jsonrpc.CodeInternalError, "what the request wrote could not be made durable, or it is not known whether it is")
	}
	return nil
}

// receive runs the server's chain. A panic in it is an error to the caller and a
// line in the log, and nothing else.
func (c *call) receive(build func() (mcp.Request, error)) (res mcp.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(p)
			res, err = nil, c.panicError()
		}
	}()
	req, err := build()
	if err != nil {
		return nil, err
	}
	if c.session == nil {
		if res, err := c.claimRound(); res != nil || err != nil {
			return res, err
		}
		return c.host.receive(c, c.method, req)
	}
	if mayNeedInput(c.method) {
		return c.receiveLegacy(req)
	}
	if err := c.mayRemember(req); err != nil {
		return nil, err
	}
	if res, err = c.host.receive(c, c.method, req); err != nil {
		return nil, err
	}
	err = c.remember(c, req)
	if p, ok := req.GetParams().(*mcp.SubscribeParams); ok && c.method == methodSubscribe && (err != nil || c.session.hasEnded()) {
		c.session.unsubscribeSDK(p.URI) // nobody would ever do it otherwise
	}
	return res, err
}

// logPanic is called while p is being recovered, so that the stack is its own.
func (c *call) logPanic(p any) {
	c.h.log.Error("a handler panicked", slog.String("method", c.method), slog.String("target", c.target),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}

func (c *call) panicError() error {
	return wireError(jsonrpc.CodeInternalError, "internal error: the handler of %s failed", c.method)
}

func mayNeedInput(method string) bool {
	return method == methodCallTool || method == methodGetPrompt || method == methodReadResource
}

// receiveLegacy plays the client's part of input-required rounds for a client
// that does not know them: what a native handler wants to know is asked on the
// stream of the call, and the handler runs again with the answers. The SDK does
// this once; a handler may want it more often.
func (c *call) receiveLegacy(req mcp.Request) (mcp.Result, error) {
	for round := 0; ; round++ {
		res, err := c.host.receive(c, c.method, req)
		if err != nil {
			return nil, err
		}
		asks, state := needed(res)
		if asks == nil {
			return res, nil
		}
		if round >= maxRounds {
			return nil, wireError(jsonrpc.CodeInternalError, "%s wanted input in more than %d rounds", c.method, maxRounds)
		}
		answers, err := c.fulfil(asks)
		if err != nil {
			return nil, err
		}
		if req, err = again(req, answers, state); err != nil {
			return nil, err
		}
	}
}

// needed returns what a native handler's result asks of the client.
func needed(res mcp.Result) (mcp.InputRequestMap, string) {
	switch r := res.(type) {
	case *mcp.CallToolResult:
		if r != nil {
			return r.InputRequests, r.RequestState
		}
	case *mcp.GetPromptResult:
		if r != nil {
			return r.InputRequests, r.RequestState
		}
	case *mcp.ReadResourceResult:
		if r != nil {
			return r.InputRequests, r.RequestState
		}
	}
	return nil, ""
}

func (c *call) fulfil(asks mcp.InputRequestMap) (mcp.InputResponseMap, error) {
	answers := make(mcp.InputResponseMap, len(asks))
	for key, ask := range asks {
		res, err := c.fulfilOne(ask)
		if err != nil {
			return nil, fmt.Errorf("asking the client for %q: %w", key, err)
		}
		answers[key] = res
	}
	return answers, nil
}

func (c *call) fulfilOne(ask mcp.InputRequest) (mcp.InputResponse, error) {
	switch p := ask.(type) {
	case *mcp.ElicitParams:
		return c.asker().Elicit(c, p)
	case *mcp.CreateMessageParams:
		return c.asker().CreateMessage(c, p)
	case *mcp.CreateMessageWithToolsParams:
		return c.asker().CreateMessageWithTools(c, p)
	case *mcp.ListRootsParams:
		return c.asker().ListRoots(c, p)
	}
	return nil, fmt.Errorf("no such question: %T", ask)
}

// again is the request of the next round: the same, with answers. The first
// request is left as it is, since middleware may have kept it.
func again(req mcp.Request, answers mcp.InputResponseMap, state string) (mcp.Request, error) {
	switch r := req.(type) {
	case *mcp.CallToolRequest:
		p := *r.Params
		p.InputResponses, p.RequestState = answers, state
		return &mcp.CallToolRequest{Session: r.Session, Params: &p, Extra: r.Extra}, nil
	case *mcp.GetPromptRequest:
		p := *r.Params
		p.InputResponses, p.RequestState = answers, state
		return &mcp.GetPromptRequest{Session: r.Session, Params: &p, Extra: r.Extra}, nil
	case *mcp.ReadResourceRequest:
		p := *r.Params
		p.InputResponses, p.RequestState = answers, state
		return &mcp.ReadResourceRequest{Session: r.Session, Params: &p, Extra: r.Extra}, nil
	}
	return nil, fmt.Errorf("%T cannot be repeated", req)
}

// build decodes the call's params into the request that the SDK's chain takes.
func (c *call) build(m method, params []byte, p *jsonrpc.Params) (mcp.Request, error) {
	if c.method != methodListen { // which outlives the request's text
		c.params = params
	}
	if c.method != methodCallTool && m.request == nil {
		return nil, wireError(jsonrpc.CodeMethodNotFound, "method not found: %q", c.method)
	}
	if len(params) == 0 && !m.optionalParams {
		return nil, invalidParams("%s: params are missing", c.method)
	}
	if c.session != nil && mayNeedInput(c.method) && (len(p.RequestState) > 0 || len(p.InputResponses) > 0) {
		// There are no rounds in the session eras; nobody may pretend to be in one.
		params = jsonrpc.Without(params, "inputResponses", "requestState")
	}
	var native string
	if c.modern && mayNeedInput(c.method) {
		state := ""
		if len(p.RequestState) > 0 && !jsonrpc.IsNull(p.RequestState) {
			var ok bool
			if state, ok = jsonrpc.String(p.RequestState); !ok {
				return nil, invalidParams("requestState: must be a string")
			}
		}
		var err error
		if native, err = c.answersOf(state, p.InputResponses); err != nil {
			return nil, err
		}
	}
	if c.method == methodCallTool {
		return c.buildCallTool(p, native)
	}
	if c.modern && mayNeedInput(c.method) && (len(p.RequestState) > 0 || len(p.InputResponses) > 0) {
		// The SDK would decode the answers to our own questions too, which are none of
		// its business, and take our seal for the handler's state.
		params = jsonrpc.Without(params, "inputResponses", "requestState")
	}
	req, err := m.request(c.ss, params, c.extra)
	if err != nil || !c.modern {
		return req, err
	}
	if l, ok := req.(*mcp.SubscriptionsListenRequest); ok {
		return req, boundSubscriptions(l.Params.Notifications)
	}
	answers, err := c.nativeResponses()
	if err != nil {
		return nil, err
	}
	switch r := req.(type) {
	case *mcp.GetPromptRequest:
		r.Params.InputResponses, r.Params.RequestState = answers, native
	case *mcp.ReadResourceRequest:
		r.Params.InputResponses, r.Params.RequestState = answers, native
	}
	return req, nil
}

func (c *call) buildCallTool(p *jsonrpc.Params, native string) (mcp.Request, error) {
	params := &mcp.CallToolParamsRaw{Name: c.target, RequestState: native}
	switch {
	case len(p.Arguments) == 0:
	case jsonrpc.IsNull(p.Arguments):
		// As the SDK's client says that there are none. Handlers that decode what is here can do so,
		// which of nothing they could not, and those that are typed get their defaults.
		params.Arguments = json.RawMessage("{}")
	default:
		params.Arguments = json.RawMessage(p.Arguments)
	}
	var err error
	if params.Meta, err = c.meta(p.Meta); err != nil {
		return nil, err
	}
	if c.modern {
		if params.InputResponses, err = c.nativeResponses(); err != nil {
			return nil, err
		}
	}
	ss := c.ss
	if c.modern && c.h.askAsLegacy[c.target] {
		ss = c.asking
	}
	return &mcp.CallToolRequest{Session: ss, Params: params, Extra: c.extra}, nil
}

// meta reads a request's `_meta`. What every request of the client repeats has been
// read before.
func (c *call) meta(raw []byte) (mcp.Meta, error) {
	if jsonrpc.IsNull(raw) {
		return nil, nil
	}
	m := make(mcp.Meta, len(c.said)+1)
	maps.Copy(m, c.said)
	err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
		if _, ok := c.said[string(name)]; ok {
			return nil
		}
		var v any
		if err := jsonv2.Unmarshal(value, &v, lenientText); err != nil {
			return err
		}
		m[string(name)] = v
		return nil
	})
	if err != nil {
		return nil, invalidParams("_meta: %s", plainDecodeError(err))
	}
	return m, nil
}

// sending is the server's outermost sending middleware: everything that handlers,
// or the server itself, send to a client passes here.
func (h *host) sending(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
	ss, ok := req.GetSession().(*mcp.ServerSession)
	if !ok || ss == nil {
		return h.send(ctx, method, req)
	}
	if h.fan.isSentinel(ss) {
		if !isNotification(method) {
			return nil, fmt.Errorf("%s: %w", method, ErrNoCall)
		}
		if h.sendsThroughApp {
			_, _ = h.send(ctx, method, req) // ends in the sentinel's connection, which drops it
		}
		return nil, h.fan.broadcast(method, req.GetParams())
	}
	if l := h.fan.subscription(ss); l != nil {
		return nil, l.deliver(method, req.GetParams())
	}
	out, ours := h.outlet(ctx, ss)
	if !ours {
		return h.send(ctx, method, req)
	}
	if isListChanged(method) {
		return nil, nil // spread by the sentinel
	}
	if h.sendsThroughApp {
		// The application's middleware runs, and the session's connection gets what
		// comes out of it: wireConn.Write.
		return h.send(ctx, method, req)
	}
	return out.send(ctx, method, req.GetParams())
}

// An outlet is the way to the client of one of our sessions.
type outlet struct {
	call    *call
	session *session
}

// outlet finds the way to the client behind ss: the stream of the call that the
// context belongs to, or else the session's own stream. ours is false for
// sessions of other transports.
func (h *host) outlet(ctx context.Context, ss *mcp.ServerSession) (outlet, bool) {
	if c := callOf(ctx); c != nil && c.host == h && c.owns(ss) {
		return outlet{call: c, session: c.session}, true
	}
	if s := h.sessionOf(ctx, ss); s != nil {
		return outlet{session: s}, true
	}
	if h.passives.has(ss) {
		return outlet{}, true
	}
	return outlet{}, false
}

// send puts a notification or a request to the client on its way.
func (o outlet) send(ctx context.Context, method string, params mcp.Params) (mcp.Result, error) {
	if o.call == nil && o.session == nil {
		// A 2026-07-28 client outside a call: there is no stream that is surely its.
		return nil, fmt.Errorf("%s: %w", method, ErrNoCall)
	}
	if isNotification(method) {
		return nil, o.notify(method, params)
	}
	raw, err := o.ask(ctx, method, params)
	if err != nil {
		return nil, err
	}
	if method == methodPing {
		return o.host().sdk.empty, nil
	}
	return decodeAnswer(method, raw)
}

func (o outlet) host() *host {
	if o.call != nil {
		return o.call.host
	}
	return o.session.host
}

func (o outlet) notify(method string, params mcp.Params) error {
	params, source := takeSource(params)
	raw, err := marshal(params)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", method, err)
	}
	msg := jsonrpc.AppendNotification(make([]byte, 0, len(raw)+64), method, raw)
	if source != "" && o.call == nil && o.session != nil {
		return o.session.tellOnce(msg, source)
	}
	return o.emit(msg)
}

// emit sends a message on the call's stream while there is one, else on the
// session's.
func (o outlet) emit(msg []byte) error {
	if o.call != nil {
		if err := o.call.settle(); err != nil {
			return err
		}
		err := o.call.reply.emit(msg)
		if !errors.Is(err, errReplied) {
			return err
		}
		if o.session == nil {
			return ErrNoCall
		}
	}
	return o.session.emit(msg)
}

func (o outlet) ask(ctx context.Context, method string, params mcp.Params) (json.RawMessage, error) {
	if o.call != nil && method != methodPing {
		if err := o.call.mayAsk(ctx); err != nil {
			return nil, err
		}
	}
	if o.call != nil && o.call.task != nil {
		return o.call.task.ask(ctx, method, params)
	}
	if o.session == nil {
		return o.call.askModern(method, params)
	}
	if o.call == nil && method == methodPing {
		// The SDK's own keep-alive. Ours is of another kind; this answer ends it.
		return nil, wireError(jsonrpc.CodeMethodNotFound, "ping outside a call")
	}
	return o.session.askClient(ctx, o.emit, method, params)
}

func isNotification(method string) bool {
	return len(method) > 14 && method[:14] == "notifications/"
}

func isListChanged(method string) bool {
	return method == noteToolListChanged || method == notePromptListChanged || method == noteResourceListChanged
}
