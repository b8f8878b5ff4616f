package mcphttp

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// servePost serves the messages of one POST, in whichever era they are.
func (h *Handler) servePost(w http.ResponseWriter, r *http.Request, host *host) {
	if r.URL.RawQuery != "" && r.URL.Query().Has(linkParam) {
		h.servePostToLink(w, r, host)
		return
	}
	body, ok := h.readBody(w, r)
	if !ok {
		return
	}
	limits := jsonrpc.Limits{Depth: h.opts.MaxDepth, Batch: h.opts.MaxBatch}
	if jsonrpc.IsBatch(body) {
		h.serveBatch(w, r, host, body, limits)
		return
	}
	msg, err := jsonrpc.Parse(body, limits)
	if err != nil {
		writeError(w, http.StatusBadRequest, nil, err)
		return
	}
	in := read(&msg)
	if in.looksModern(r) {
		h.serveModern(w, r, host, in)
		return
	}
	if msg.Kind == jsonrpc.Request && msg.Method == methodInitialize {
		h.serveInitialize(w, r, host, &msg)
		return
	}
	s, ok := h.sessionOfRequest(w, r, host)
	if !ok {
		return
	}
	defer s.release()
	s.keep(r.Context())
	if msg.Kind != jsonrpc.Request {
		s.take(r, &msg)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if !h.startCall() {
		writeError(w, http.StatusServiceUnavailable, msg.ID, wireError(sdkrpc.CodeInternalError, "the server is shutting down; try again"))
		return
	}
	defer h.calls.Done()
	reply := &postReply{h: h, session: s, version: s.version(), ids: [1][]byte{msg.ID}, w: w, chunked: isHTTP11(r), due: 1}
	defer reply.leave()
	s.serve(r, in, reply)
}

func isHTTP11(r *http.Request) bool { return r.ProtoMajor == 1 && r.ProtoMinor == 1 }

// serveBatch serves a batch of 2025-03-26, the only revision that has them.
func (h *Handler) serveBatch(w http.ResponseWriter, r *http.Request, host *host, body []byte, limits jsonrpc.Limits) {
	entries, err := jsonrpc.ParseBatch(body, limits)
	if err != nil {
		writeError(w, http.StatusBadRequest, nil, err)
		return
	}
	if slices.ContainsFunc(entries, func(e jsonrpc.Entry) bool { return read(&e.Message).looksModern(r) }) {
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "2026-07-28 has no batches: send one message per POST"))
		return
	}
	s, ok := h.sessionOfRequest(w, r, host)
	if !ok {
		return
	}
	defer s.release()
	if s.version() != version20250326 {
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "protocol version %s has no batches: send one message per POST", s.version()))
		return
	}
	var requests []*jsonrpc.Message
	var ids [][]byte
	seen := make(map[string]bool)
	for i := range entries {
		msg := &entries[i].Message
		switch {
		case entries[i].Err != nil:
			writeError(w, http.StatusBadRequest, nil, entries[i].Err)
			return
		case msg.Kind == jsonrpc.Request && msg.Method == methodInitialize:
			writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "initialize must not be part of a batch"))
			return
		case msg.Kind == jsonrpc.Request:
			key := jsonrpc.IDKey(msg.ID)
			if seen[key] {
				writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "an id occurs twice in the batch"))
				return
			}
			seen[key] = true
			requests = append(requests, msg)
			ids = append(ids, msg.ID)
		}
	}
	s.keep(r.Context())
	for i := range entries {
		if msg := &entries[i].Message; msg.Kind != jsonrpc.Request {
			s.take(r, msg)
		}
	}
	if len(requests) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if !h.startCall() {
		http.Error(w, "the server is shutting down; try again", http.StatusServiceUnavailable)
		return
	}
	defer h.calls.Done()
	reply := &postReply{h: h, session: s, version: s.version(), more: ids, w: w, chunked: isHTTP11(r), batch: true, due: len(requests)}
	defer reply.leave()
	var wg sync.WaitGroup
	for _, msg := range requests {
		wg.Go(func() { s.serve(r, read(msg), reply) })
	}
	wg.Wait()
}

// serveInitialize opens a session.
func (h *Handler) serveInitialize(w http.ResponseWriter, r *http.Request, host *host, msg *jsonrpc.Message) {
	if len(r.Header["Mcp-Session-Id"]) > 0 {
		writeError(w, http.StatusBadRequest, msg.ID, wireError(sdkrpc.CodeInvalidRequest, "initialize within a session: it is initialized already; leave out Mcp-Session-Id to open a new one"))
		return
	}
	user := userOf(r)
	if err := h.admit(r.Context(), user); err != nil {
		status, werr := sessionError(err)
		if user != "" && errors.Is(err, errTooManySessions) {
			status = http.StatusTooManyRequests
		}
		writeError(w, status, msg.ID, werr)
		return
	}
	id := h.newSessionID(user)
	if !h.startCall() {
		h.census.removed(id)
		writeError(w, http.StatusServiceUnavailable, msg.ID, wireError(sdkrpc.CodeInternalError, "the server is shutting down; try again"))
		return
	}
	defer h.calls.Done()
	reply := &initializeReply{w: w}
	s, err := h.initialize(r.Context(), host, id, user, msg, reply, extraOf(r), nil)
	if err != nil || s == nil {
		h.census.removed(id)
	} else {
		w.Header()["Mcp-Session-Id"] = []string{id}
	}
	reply.send(h)
}

// maxInitialize bounds what a client may say of itself, in bytes: it is kept.
const maxInitialize = 8 << 10

// initializeReply holds the answer to initialize back until the session is there.
type initializeReply struct {
	w    http.ResponseWriter
	mu   sync.Mutex
	body []byte
}

func (i *initializeReply) emit([]byte) error { return errReplied }

func (i *initializeReply) respond(_ *call, msg []byte, _ int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.body == nil {
		i.body = msg
	}
}

func (i *initializeReply) pause(time.Duration) {}

// send writes it in bounded time: a server's instructions may be longer than what a
// client that reads nothing leaves room for, and Shutdown waits for this.
func (i *initializeReply) send(h *Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	writeJSONHead(i.w, http.StatusOK, i.body)
	h.writeBody(i.w, i.body)
}

// initialize runs the handshake and, if it succeeds, makes the session: one with
// a record, or one that lives as long as the given link.
func (h *Handler) initialize(ctx context.Context, host *host, id, user string, msg *jsonrpc.Message, reply reply, extra *mcp.RequestExtra, l *link) (*session, error) {
	c := &call{h: h, host: host, user: user, method: methodInitialize, id: msg.ID, extra: extra, reply: reply}
	c.begin(context.WithoutCancel(ctx))
	var (
		s       *session
		failure error
	)
	fail := func(err error) (mcp.Request, error) { failure = err; return nil, err }
	ss, err := host.connect(id, nil)
	if err != nil {
		failure = err
	}
	c.ss = ss
	res, err := c.receive(func() (mcp.Request, error) {
		if failure != nil {
			return fail(wireError(sdkrpc.CodeInternalError, "internal error"))
		}
		if len(msg.Params) > maxInitialize {
			return fail(invalidParams("initialize: params are larger than %d bytes", maxInitialize))
		}
		p, err := decodeInitialize(msg.Params)
		if err != nil {
			return fail(err)
		}
		if p.ProtocolVersion == "" {
			return fail(invalidParams("initialize: protocolVersion is missing"))
		}
		p.ProtocolVersion = host.negotiate(p.ProtocolVersion)
		return &mcp.ServerRequest[*mcp.InitializeParams]{Session: ss, Params: p, Extra: extra}, nil
	})
	var body []byte
	if err == nil {
		body, err = c.encode(res)
	}
	if init, ok := res.(*mcp.InitializeResult); err == nil && ok {
		rec := sessionRecord{Server: host.name, Version: init.ProtocolVersion, User: user, Client: clientOf(ctx), Initialize: append([]byte(nil), msg.Params...)}
		if l != nil {
			s = &session{id: id, h: h, host: host, ss: ss, rec: rec, transient: true, link: l}
			s.touch()
			host.sessions.add(s)
		} else if s, err = h.createSession(ctx, host, id, rec, ss); err != nil {
			h.log.Error("a session could not be kept", "error", err)
			err = wireError(sdkrpc.CodeInternalError, "the session store is not available")
		}
	}
	c.end()
	if err != nil {
		if ss != nil {
			_ = ss.Close()
		}
		werr := c.wireErrorOf(err)
		reply.respond(c, encodeError(msg.ID, werr), http.StatusOK)
		return nil, err
	}
	reply.respond(c, jsonrpc.AppendResult(nil, msg.ID, body), http.StatusOK)
	return s, nil
}

// negotiate picks the version of a session (2025-11-25, Lifecycle, version
// negotiation): the one asked for if the server has it, else its newest with
// sessions.
func (h *host) negotiate(asked string) string {
	if h.speaks(asked) {
		return asked
	}
	for _, v := range h.versions {
		if v < version20260728 {
			return v
		}
	}
	return version20251125
}

// serve carries out one request of the session and answers it on reply.
func (s *session) serve(r *http.Request, in *inbound, reply reply) {
	msg := in.msg
	c := &call{h: s.h, host: s.host, session: s, ss: s.ss, user: s.user(), method: msg.Method, id: msg.ID,
		extra: extraOf(r), reply: reply}
	s.carryOut(context.WithoutCancel(r.Context()), c, in)
}

// carryOut runs a request of the session. The context is detached from the HTTP
// request's end: in these eras a lost connection is no cancellation.
func (s *session) carryOut(ctx context.Context, c *call, in *inbound) {
	msg, params := in.msg, &in.params
	c.begin(ctx)
	c.extra.CloseSSEStream = func(args mcp.CloseSSEStreamArgs) { c.reply.pause(args.RetryAfter) }
	if err := s.enter(c); err != nil {
		c.end()
		c.reply.respond(c, encodeError(c.id, err), http.StatusOK)
		return
	}
	defer s.exit(c)
	m, known := methods[msg.Method]
	var werr *sdkrpc.Error
	switch {
	case !known || m.eras&legacyEra == 0 || m.notification || msg.Method == methodInitialize:
		werr = wireError(sdkrpc.CodeMethodNotFound, "method not found: %q", clip(msg.Method))
	case in.err != nil:
		werr = asWireError(in.err)
	default:
		werr = c.setTarget(params)
	}
	c.run(func() (mcp.Request, error) {
		if werr != nil {
			return nil, werr
		}
		return c.build(m, msg.Params, params)
	})
}

func asWireError(err error) *sdkrpc.Error {
	var werr *sdkrpc.Error
	if errors.As(err, &werr) {
		return werr
	}
	var perr *jsonrpc.Error
	if errors.As(err, &perr) {
		return wireError(int64(perr.Code), "%s", perr.Message)
	}
	return wireError(sdkrpc.CodeInternalError, "internal error")
}

// enter makes a call known to its session, so that it can be cancelled.
func (s *session) enter(c *call) *sdkrpc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return wireError(sdkrpc.CodeInvalidRequest, "%v", errSessionEnded)
	case s.call(c.id) != nil:
		return wireError(sdkrpc.CodeInvalidRequest, "a request with this id is being worked on in this session")
	case len(s.calls) >= s.h.opts.MaxCallsPerSession:
		return wireError(sdkrpc.CodeInternalError, "more than %d requests of this session are being worked on: wait for some to end", s.h.opts.MaxCallsPerSession)
	}
	s.calls = append(s.calls, c)
	return nil
}

// call finds a call at work by its id. s.mu is held.
func (s *session) call(id []byte) *call {
	for _, c := range s.calls {
		if bytes.Equal(c.id, id) || jsonrpc.IDKey(c.id) == jsonrpc.IDKey(id) {
			return c
		}
	}
	return nil
}

func (s *session) exit(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.calls, c); i >= 0 {
		s.calls = slices.Delete(s.calls, i, i+1)
	}
}

// take handles what the client sends without expecting an answer: responses and
// notifications. Nothing can be said about it, so what is wrong with it is passed
// over.
func (s *session) take(r *http.Request, msg *jsonrpc.Message) {
	if msg.Kind == jsonrpc.Response {
		s.takeResponse(msg)
		return
	}
	m, known := methods[msg.Method]
	if !known || !m.notification || m.eras&legacyEra == 0 {
		return
	}
	if msg.Method == noteCancelled {
		s.takeCancelled(msg.Params)
		return
	}
	c := &call{h: s.h, host: s.host, session: s, ss: s.ss, user: s.user(), method: msg.Method, extra: extraOf(r), reply: noReply{}}
	c.begin(context.WithoutCancel(r.Context()))
	defer c.end()
	_, err := c.receive(func() (mcp.Request, error) {
		if len(msg.Params) == 0 && !m.optionalParams {
			return nil, invalidParams("params are missing")
		}
		return m.request(s.ss, msg.Params, c.extra)
	})
	if err != nil {
		s.h.log.Debug("a notification was refused", "method", msg.Method, "error", err)
	}
	if msg.Method == noteInitialized {
		s.mu.Lock()
		first := !s.rec.Initialized
		s.mu.Unlock()
		if first {
			if err := s.update(r.Context(), func(rec *sessionRecord) { rec.Initialized = true }); err != nil {
				s.h.log.Warn("a session could not be written", "error", err)
			}
		}
	}
}

// noReply is where notifications answer: nowhere. What their handlers send goes
// to the session's own stream.
type noReply struct{}

func (noReply) emit([]byte) error          { return errReplied }
func (noReply) respond(*call, []byte, int) {}
func (noReply) pause(time.Duration)        {}

func (s *session) takeResponse(msg *jsonrpc.Message) {
	id, ok := jsonrpc.String(msg.ID)
	if !ok {
		return
	}
	var o askOutcome
	if msg.Error != nil {
		e, err := jsonrpc.ParseErrorObject(msg.Error)
		if err != nil {
			return
		}
		o.err = &sdkrpc.Error{Code: e.Code, Message: e.Message, Data: append([]byte(nil), e.Data...)}
	} else {
		o.result = append([]byte(nil), msg.Result...)
	}
	s.asks.deliver(id, o)
}

func (s *session) takeCancelled(params []byte) {
	p, err := jsonrpc.ParseParams(params)
	if err != nil || !jsonrpc.ValidID(p.RequestID) {
		return
	}
	s.mu.Lock()
	c := s.call(p.RequestID)
	s.mu.Unlock()
	if c != nil {
		c.stop(errCancelled)
	}
}
