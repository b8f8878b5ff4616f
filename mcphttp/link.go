package mcphttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/auth"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A link is a connection that carries messages both ways, as stdio does: a
// WebSocket, or the 2024-11-05 pair of an event stream and POSTs. Its session, if
// it opens one, lives as long as the link.
type link struct {
	id     string
	h      *Handler
	host   *host
	user   string
	client string
	extra  *mcp.RequestExtra
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    *queue

	mu       sync.Mutex
	session  *session
	starting bool
	calls    map[string]*call // of 2026-07-28 requests, by id

	work sync.WaitGroup // requests at work
}

// linkParam names the link in the URL that the 2024-11-05 endpoint event gives.
const linkParam = "sessionId"

var errLinkClosed = errors.New("the connection was closed")

// links are the open links of a handler.
type links struct {
	mu   sync.Mutex
	byID map[string]*link
}

func (ls *links) find(id string) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.byID[id]
}

func (ls *links) add(l *link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.byID == nil {
		ls.byID = make(map[string]*link)
	}
	ls.byID[l.id] = l
}

func (ls *links) remove(l *link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.byID, l.id)
}

func (h *Handler) newLink(ctx context.Context, r *http.Request, host *host) *link {
	l := &link{id: h.newSessionID(userOf(r)), h: h, host: host, user: userOf(r), client: clientOf(r.Context()), extra: extraOf(r), out: h.newQueue()}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	h.links.add(l)
	return l
}

// send queues a message. A reader too slow for it loses the connection.
func (l *link) send(ev event) error {
	if !l.out.put(ev) {
		if l.out.isBroken() {
			l.cancel(errors.New("the client does not read"))
		}
		return errStreamClosed
	}
	return nil
}

func (l *link) close() {
	l.cancel(errLinkClosed)
	l.out.close()
	l.h.links.remove(l)
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s != nil {
		s.end()
		l.h.sessionEnded(l.ctx, s.id)
	}
}

// startCall counts a request in, for the handler and for settle: under the one lock, so
// that settle, which comes after draining began, misses none that was still let in.
func (l *link) startCall() bool {
	l.h.callsMu.Lock()
	defer l.h.callsMu.Unlock()
	select {
	case <-l.h.draining:
		return false
	default:
		l.h.calls.Add(1)
		l.work.Add(1)
		return true
	}
}

// settle waits for the requests at work when the server drains: there is no coming
// back for their answers. Shutdown cancels them when its time is up.
func (l *link) settle() {
	done := make(chan struct{})
	go func() { l.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-l.ctx.Done():
	}
}

// fail answers a message that cannot be carried out.
func (l *link) fail(id []byte, err error) {
	werr := asWireError(err)
	_ = l.send(event{data: encodeError(id, werr)})
}

// handle takes one frame: a message, or a batch where the session's era has them.
// It returns without waiting for requests to be carried out.
func (l *link) handle(frame []byte) {
	limits := jsonrpc.Limits{Depth: l.h.opts.MaxDepth, Batch: l.h.opts.MaxBatch}
	if !jsonrpc.IsBatch(frame) {
		msg, err := jsonrpc.Parse(frame, limits)
		if err != nil {
			var perr *jsonrpc.Error
			var id []byte
			if errors.As(err, &perr) {
				id = perr.ID
			}
			l.fail(id, err)
			return
		}
		l.dispatch(read(&msg), &linkReply{link: l})
		return
	}
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil || s.version() > version20250326 {
		l.fail(nil, wireError(sdkrpc.CodeInvalidRequest, "batches belong to protocol version 2025-03-26: send one message per frame"))
		return
	}
	entries, err := jsonrpc.ParseBatch(frame, limits)
	if err != nil {
		l.fail(nil, err)
		return
	}
	for i := range entries {
		if e := &entries[i]; e.Err != nil {
			l.fail(e.Err.ID, e.Err)
		} else {
			l.dispatch(read(&e.Message), &linkReply{link: l})
		}
	}
}

func (l *link) dispatch(in *inbound, reply *linkReply) {
	msg := in.msg
	if msg.Kind == jsonrpc.Request && in.meta.ProtocolVersion != nil {
		if v, ok := jsonrpc.String(in.meta.ProtocolVersion); !ok || v >= version20260728 {
			l.dispatchModern(in, reply)
			return
		}
	}
	l.mu.Lock()
	s, starting := l.session, l.starting
	if msg.Method == methodInitialize && msg.Kind == jsonrpc.Request && s == nil && !starting {
		l.starting = true
		l.mu.Unlock()
		l.initialize(msg, reply)
		return
	}
	l.mu.Unlock()
	switch {
	case s == nil && msg.Kind == jsonrpc.Notification && msg.Method == noteCancelled:
		l.cancelModern(msg.Params)
	case s == nil && msg.Kind == jsonrpc.Request:
		l.fail(msg.ID, wireError(sdkrpc.CodeInvalidRequest, "%q before initialize", clip(msg.Method)))
	case s == nil:
	case msg.Kind != jsonrpc.Request:
		if msg.Method == noteCancelled && l.cancelModern(msg.Params) {
			return
		}
		s.take(l.request(), msg)
	default:
		if !l.startCall() {
			l.fail(msg.ID, wireError(sdkrpc.CodeInternalError, "the server is shutting down"))
			return
		}
		c := &call{h: l.h, host: l.host, session: s, ss: s.ss, user: l.user, method: msg.Method, id: msg.ID, extra: l.copyExtra(), reply: reply}
		go func() {
			defer l.work.Done()
			defer l.h.calls.Done()
			s.carryOut(l.ctx, c, in)
		}()
	}
}

// request is an HTTP request with the link's context and header, for what needs
// no more of one.
func (l *link) request() *http.Request {
	return (&http.Request{Header: l.extra.Header, URL: &url.URL{}}).WithContext(l.ctx)
}

func (l *link) copyExtra() *mcp.RequestExtra {
	x := *l.extra
	return &x
}

// initialize runs on the reader's goroutine: nothing else may be handled before.
func (l *link) initialize(msg *jsonrpc.Message, reply *linkReply) {
	s, err := l.h.initialize(l.ctx, l.host, l.id, l.user, msg, reply, l.copyExtra(), l)
	l.mu.Lock()
	l.starting = false
	if err == nil {
		l.session = s
	}
	l.mu.Unlock()
	// close cancels before it looks for the session, so that one of us ends it.
	if s != nil && l.ctx.Err() != nil {
		s.end()
		l.h.sessionEnded(l.ctx, s.id)
	}
}

// dispatchModern carries out a 2026-07-28 request. There are no headers to hold
// against the body here; the rest is as over HTTP.
func (l *link) dispatchModern(in *inbound, reply *linkReply) {
	msg, params, meta := in.msg, &in.params, &in.meta
	c := &call{h: l.h, host: l.host, modern: true, user: l.user, method: msg.Method, id: msg.ID, extra: l.copyExtra(), reply: reply}
	if in.err != nil {
		l.fail(msg.ID, in.err)
		return
	}
	version, werr := modernVersion(meta, nil, false)
	if werr == nil {
		werr = l.host.checkVersion(version)
	}
	if werr == nil {
		werr = c.setTarget(params)
	}
	m, known := methods[msg.Method]
	if werr == nil && (!known || m.eras&modernEra == 0 || m.notification) {
		werr = wireError(sdkrpc.CodeMethodNotFound, "method not found: %q", clip(msg.Method))
	}
	if werr == nil {
		werr = c.prepareModern(version, meta)
	}
	var sub *subscription
	if werr == nil && msg.Method == methodListen {
		sub = c.prepareListen(l.out)
	}
	if werr == nil {
		c.begin(l.ctx)
		if werr = l.enter(c); werr != nil {
			c.end()
		}
	}
	if werr != nil {
		_ = l.send(event{data: encodeError(msg.ID, werr)})
		return
	}
	if !l.startCall() {
		l.exit(c)
		c.end()
		l.fail(msg.ID, wireError(sdkrpc.CodeInternalError, "the server is shutting down"))
		return
	}
	go func() {
		defer l.work.Done()
		defer l.h.calls.Done()
		defer l.exit(c)
		switch {
		case msg.Method == methodListen:
			l.listen(c, sub, msg.Params)
		case isTaskMethod(msg.Method):
			c.runTaskMethod(params)
		default:
			c.run(func() (mcp.Request, error) { return c.build(m, msg.Params, params) })
		}
	}()
}

// listen is subscriptions/listen on a link: its messages share the link with
// everything else, told apart by the subscription id.
func (l *link) listen(c *call, sub *subscription, params []byte) {
	release, err := l.host.fan.hold()
	if err != nil {
		c.end()
		l.fail(c.id, err)
		return
	}
	defer release()
	result := c.listen(l.ctx, sub, params)
	defer c.endListen()
	select {
	case res := <-result:
		_ = l.send(event{data: res.body})
	case <-l.h.draining:
		c.cancel(nil)
		res := <-result
		_ = l.send(event{data: res.body})
	}
}

func (l *link) enter(c *call) *sdkrpc.Error {
	key := jsonrpc.IDKey(c.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[key] != nil {
		return wireError(sdkrpc.CodeInvalidRequest, "a request with this id is being worked on")
	}
	if len(l.calls) >= l.h.opts.MaxCallsPerSession {
		return wireError(sdkrpc.CodeInternalError, "more than %d requests are being worked on: wait for some to end", l.h.opts.MaxCallsPerSession)
	}
	if l.calls == nil {
		l.calls = make(map[string]*call)
	}
	l.calls[key] = c
	return nil
}

func (l *link) exit(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, jsonrpc.IDKey(c.id))
}

func (l *link) cancelModern(params []byte) bool {
	p, err := jsonrpc.ParseParams(params)
	if err != nil || !jsonrpc.ValidID(p.RequestID) {
		return false
	}
	l.mu.Lock()
	c := l.calls[jsonrpc.IDKey(p.RequestID)]
	l.mu.Unlock()
	if c == nil {
		return false
	}
	c.stop(errCancelled)
	return true
}

// A linkReply answers one request on a link.
type linkReply struct {
	link *link
	mu   sync.Mutex
	over bool
}

func (r *linkReply) emit(msg []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errReplied
	}
	return r.link.send(event{data: msg})
}

func (r *linkReply) respond(_ *call, msg []byte, _ int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.over = true
	_ = r.link.send(event{data: msg})
}

// drop makes the request one that gets no response.
func (r *linkReply) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

func (r *linkReply) pause(time.Duration) {}

// streamContext is the context of a stream: it ends with the request, and when
// the token that opened it expires.
func streamContext(r *http.Request) (context.Context, context.CancelFunc) {
	if t := auth.TokenInfoFromContext(r.Context()); t != nil && !t.Expiration.IsZero() {
		return context.WithDeadline(r.Context(), t.Expiration)
	}
	return r.Context(), func() {}
}

// SSE returns a handler for a path of its own that serves nothing but the
// 2024-11-05 HTTP+SSE pair: GET opens the stream, POST to the URL it names sends.
// The same is served on the handler's own path to clients that GET it without a
// session.
func (h *Handler) SSE() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, ok := h.accept(w, r)
		switch {
		case !ok:
		case h.opts.ConnectionPerSession:
			h.conns.sse(h).ServeHTTP(w, r)
		case r.Method == http.MethodGet:
			h.serveSSE(w, r, host)
		case r.Method == http.MethodPost:
			h.servePostToLink(w, r, host)
		default:
			notAllowed(w, "GET, POST, OPTIONS")
		}
	})
}

func (h *Handler) serveSSE(w http.ResponseWriter, r *http.Request, host *host) {
	release, ok := h.openStream(w, host, nil)
	if !ok {
		return
	}
	defer release()
	ctx, done := streamContext(r)
	defer done()
	l := h.newLink(ctx, r, host)
	defer l.close()
	events := startEvents(w, h.opts.WriteTimeout)
	defer events.close()
	if events.write(event{name: "endpoint", data: []byte(ownPath(r) + "?" + linkParam + "=" + l.id)}) != nil {
		return
	}
	h.pump(l.ctx, events, l.out, l.settle, nil)
}

// ownPath is the path under which the client reached us, whatever a mux stripped.
func ownPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && u.Path != "" {
		path = u.EscapedPath()
	}
	// Two slashes would begin the name of another host.
	return "/" + strings.TrimLeft(path, "/")
}

func (h *Handler) servePostToLink(w http.ResponseWriter, r *http.Request, host *host) {
	l := h.links.find(r.URL.Query().Get(linkParam))
	if l == nil || l.host != host || l.user != userOf(r) || l.client != clientOf(r.Context()) {
		writeError(w, http.StatusNotFound, nil, wireError(sdkrpc.CodeInvalidRequest, "no such stream: it has ended, or is not yours; open a new one with GET"))
		return
	}
	body, ok := h.readBody(w, r)
	if !ok {
		return
	}
	if err := jsonrpc.Valid(body, h.opts.MaxDepth); err != nil {
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeParseError, "%v", err))
		return
	}
	l.handle(body)
	w.WriteHeader(http.StatusAccepted)
}

func isWebSocket(r *http.Request) bool {
	return headerHas(r.Header["Upgrade"], "websocket") && headerHas(r.Header["Connection"], "upgrade")
}

// serveWebSocket carries messages as text frames, one each, under the rules of
// stdio: either era, told apart by the messages.
func (h *Handler) serveWebSocket(w http.ResponseWriter, r *http.Request, host *host) {
	if !headerHas(r.Header["Sec-Websocket-Protocol"], "mcp") {
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, `WebSocket: the subprotocol must be "mcp"`))
		return
	}
	release, ok := h.openStream(w, host, nil)
	if !ok {
		return
	}
	defer release()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{"mcp"},
		InsecureSkipVerify: true, // Origin was checked with everyone else's, in accept
	})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(h.opts.MaxBody)
	ctx, done := streamContext(r)
	defer done()
	l := h.newLink(context.WithoutCancel(ctx), r, host)
	stop := context.AfterFunc(ctx, func() { l.cancel(errLinkClosed) })
	defer stop()
	defer l.close()
	written := make(chan struct{})
	go func() { defer close(written); h.writeFrames(l, conn) }()
	l.readFrames(conn)
	l.close()
	<-written
}

func (l *link) readFrames(conn *websocket.Conn) {
	for {
		kind, frame, err := conn.Read(l.ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			_ = conn.Close(websocket.StatusUnsupportedData, "messages are text frames")
			return
		}
		l.handle(frame)
	}
}

func (h *Handler) writeFrames(l *link, conn *websocket.Conn) {
	keepAlive := h.opts.KeepAlive
	if keepAlive <= 0 {
		keepAlive = time.Hour
	}
	t := time.NewTicker(keepAlive)
	defer t.Stop()
	write := func(evs []event) bool {
		for _, ev := range evs {
			ctx, cancel := context.WithTimeout(context.Background(), h.opts.WriteTimeout)
			err := conn.Write(ctx, websocket.MessageText, appendOneLine(nil, ev.data))
			cancel()
			if err != nil {
				l.cancel(errLinkClosed)
				return false
			}
		}
		return true
	}
	draining := h.draining
	var drained <-chan struct{}
	for {
		select {
		case <-l.out.wake:
			evs, over := l.out.take()
			if !write(evs) || over {
				if l.out.isBroken() {
					_ = conn.Close(websocket.StatusPolicyViolation, "the client does not read")
				}
				return
			}
		case <-t.C:
			go h.ping(l, conn)
		case <-draining:
			// Requests at work still answer; then the client is told to come back.
			draining = nil
			settled := make(chan struct{})
			drained = settled
			go func() { l.settle(); close(settled) }()
		case <-drained:
			evs, _ := l.out.take()
			if write(evs) {
				_ = conn.Close(websocket.StatusServiceRestart, "the server is restarting")
			}
			l.cancel(errLinkClosed)
			return
		case <-l.ctx.Done():
			return
		}
	}
}

func (h *Handler) ping(l *link, conn *websocket.Conn) {
	ctx, cancel := context.WithTimeout(l.ctx, h.opts.WriteTimeout)
	defer cancel()
	if err := conn.Ping(ctx); err != nil && l.ctx.Err() == nil {
		h.log.Debug("a WebSocket client does not answer", slog.Any("error", err))
		l.cancel(errLinkClosed)
	}
}
