package mcphttp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/store"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// A listener is a session's own stream: what concerns the session and no request
// of it. A client opens it with GET and may leave and resume it; meanwhile events
// are kept for it. Each event goes to one stream, the one opened last.
type listener struct {
	mu     sync.Mutex
	opened bool // the client has had the stream at some time, so events are kept
	loaded bool // seq continues what the store has
	seq    uint64
	log    *eventLog
	out    *queue
	over   bool
	told   []string // the sources of events in the log, oldest first
}

// emit sends a message on the session's own stream.
func (s *session) emit(msg []byte) error { return s.emitOnce(msg, "") }

// emitOnce does so unless the log has an event of the same source already. Without a
// source everything is sent, and what cannot be kept is sent all the same; with one,
// whoever sends it will come again.
func (s *session) emitOnce(msg []byte, source string) error {
	if s.link != nil {
		return s.link.send(event{data: msg})
	}
	l := &s.listen
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return errSessionEnded
	}
	if !l.opened && !s.hasListened() {
		return nil // nobody listens, and nobody ever did
	}
	ctx := context.Background()
	err := s.loadListener(ctx)
	if err != nil {
		s.h.log.Warn("an event could not be kept for replay", "error", err)
		if source != "" {
			return err
		}
	}
	ev := event{data: msg}
	if l.log != nil {
		if l.has(source) {
			return nil
		}
		l.seq++
		err := l.log.append(ctx, l.seq, source, msg, false)
		if errors.Is(err, store.ErrConflict) { // another process writes here too: go on after it
			l.loaded = false
			if err = s.loadListener(ctx); err == nil && l.has(source) {
				return nil
			}
			if err == nil {
				l.seq++
				err = l.log.append(ctx, l.seq, source, msg, false)
			}
		}
		if err != nil && source != "" {
			return err
		}
		l.note(source)
		if err != nil {
			s.h.log.Warn("an event could not be kept for replay", "error", err)
		} else {
			ev.id = eventID{listenStream, l.seq}.String()
		}
	}
	if l.out != nil && !l.out.put(ev) {
		l.out = nil // too slow: its GET ends; the client resumes from the log
	}
	return nil
}

func (s *session) hasListened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.Listened
}

// loadListener finds out where the stream's numbering stands. s.listen.mu is held.
func (s *session) loadListener(ctx context.Context) error {
	l := &s.listen
	if l.loaded || !s.resumable() {
		return nil
	}
	kept, _, err := s.h.eventsAfter(ctx, s.id, listenStream, 0)
	if err != nil {
		return err
	}
	if n := len(kept); n > 0 {
		l.seq = max(l.seq, kept[n-1].seq)
	}
	l.log = s.h.newEventLog(s.id, listenStream)
	l.told = nil
	for _, ev := range kept {
		l.note(ev.source)
	}
	l.loaded, l.opened = true, true
	return nil
}

// open attaches a reader to the session's own stream. What the reader missed
// after the given event comes first; after is -1 for a new reader, who missed
// nothing. from is the id of the place where the reader is then, "" if the stream
// cannot be resumed.
func (s *session) open(ctx context.Context, after int64) (q *queue, missed []event, from string, err error) {
	if !s.hasListened() {
		if err := s.update(ctx, func(r *sessionRecord) { r.Listened = true }); err != nil {
			return nil, nil, "", err
		}
	}
	l := &s.listen
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, nil, "", errNoSession
	}
	if err := s.loadListener(ctx); err != nil {
		return nil, nil, "", err
	}
	if after >= 0 && l.log != nil {
		kept, _, err := s.h.eventsAfter(ctx, s.id, listenStream, uint64(after))
		if err != nil {
			return nil, nil, "", err
		}
		for _, ev := range kept {
			missed = append(missed, event{id: eventID{listenStream, ev.seq}.String(), data: ev.data})
		}
		// A client may know of events that a lost log does not: go on after them. It may
		// also make them up, and must not use up the ids that there are.
		l.seq = max(l.seq, min(uint64(after), maxClaimedSeq))
	}
	if l.out != nil {
		l.out.close() // the older stream ends; its client has the newer one
	}
	l.opened = true
	l.out = s.h.newQueue()
	if l.log != nil {
		from = eventID{listenStream, l.seq}.String()
	}
	return l.out, missed, from, nil
}

// has tells whether the log has an event of the source.
func (l *listener) has(source string) bool { return source != "" && slices.Contains(l.told, source) }

func (l *listener) note(source string) {
	if source == "" {
		return
	}
	if len(l.told) >= l.log.max {
		l.told = l.told[:copy(l.told, l.told[1:])]
	}
	l.told = append(l.told, source)
}

func (l *listener) leave(q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == q {
		l.out = nil
	}
}

func (l *listener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.out != nil {
		l.out.close()
		l.out = nil
	}
}

// serveGet opens or resumes a session's stream, upgrades to a WebSocket, or
// starts the 2024-11-05 pair.
func (h *Handler) serveGet(w http.ResponseWriter, r *http.Request, host *host) {
	if isWebSocket(r) {
		h.serveWebSocket(w, r, host)
		return
	}
	version := r.Header.Get("Mcp-Protocol-Version")
	if version >= version20260728 {
		notAllowed(w, "POST")
		return
	}
	if _, eventsOK := accepts(r.Header["Accept"]); !eventsOK {
		writeError(w, http.StatusNotAcceptable, nil, wireError(sdkrpc.CodeInvalidRequest, "Accept: a GET must list text/event-stream"))
		return
	}
	ids := r.Header["Mcp-Session-Id"]
	last := r.Header["Last-Event-Id"]
	if len(ids) == 0 && version == "" && len(last) == 0 {
		h.serveSSE(w, r, host)
		return
	}
	s, ok := h.sessionOfRequest(w, r, host)
	if !ok {
		return
	}
	defer s.release()
	if len(last) > 1 {
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "header Last-Event-ID occurs %d times", len(last)))
		return
	}
	release, ok := h.openStream(w, host, nil)
	if !ok {
		return
	}
	defer release()
	if len(last) == 0 || last[0] == "" {
		h.serveListener(w, r, s, -1)
		return
	}
	id, err := parseEventID(last[0])
	if err != nil {
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "%v", err))
		return
	}
	if id.stream == listenStream {
		h.serveListener(w, r, s, int64(id.seq))
		return
	}
	h.serveResumed(w, r, s, id)
}

func (h *Handler) serveListener(w http.ResponseWriter, r *http.Request, s *session, after int64) {
	ctx, done := streamContext(r)
	defer done()
	q, missed, from, err := s.open(ctx, after)
	if err != nil {
		status, werr := sessionError(err)
		writeError(w, status, nil, werr)
		return
	}
	defer s.listen.leave(q)
	events := startEvents(w, h.opts.WriteTimeout)
	defer events.close()
	switch {
	case len(missed) > 0:
		_ = events.write(missed...)
	case from != "" && s.version() >= version20251125:
		// Primed, a client that loses the stream before its first event has a place to
		// resume from (2025-11-25, Streamable HTTP, sending messages, 6). Earlier
		// clients would take the empty event for a message.
		_ = events.write(event{id: from, empty: true})
	default:
		_ = events.comment()
	}
	h.pump(ctx, events, q, nil, nil)
}

// pump writes what comes through a queue to a stream until the client leaves, the
// queue ends or breaks, or the handler drains. It is the life of a GET's goroutine.
func (h *Handler) pump(ctx context.Context, events *eventWriter, q *queue, drain func(), result chan listenResult) {
	var alive <-chan time.Time
	if h.opts.KeepAlive > 0 {
		t := time.NewTicker(h.opts.KeepAlive)
		defer t.Stop()
		alive = t.C
	}
	for {
		select {
		case <-q.wake:
			evs, over := q.take()
			if len(evs) > 0 && events.write(evs...) != nil {
				return
			}
			if over {
				return
			}
		case <-alive:
			if events.comment() != nil {
				return
			}
		case res := <-result:
			evs, _ := q.take()
			_ = events.write(append(evs, event{data: res.body})...)
			return
		case <-ctx.Done():
			return
		case <-h.draining:
			evs, _ := q.take()
			_ = events.write(evs...)
			if drain != nil {
				drain()
				evs, _ = q.take()
				_ = events.write(evs...)
			}
			if result == nil {
				_ = events.retry(h.opts.RetryAfter)
			}
			return
		}
	}
}

// serveResumed goes on with the stream of a request: live, if its handler is at
// work here, or from what was kept. A stream without an answer and without a
// handler gets an error for its request, never silence.
func (h *Handler) serveResumed(w http.ResponseWriter, r *http.Request, s *session, id eventID) {
	if live := s.streams.find(id.stream); live != nil {
		ctx, done := streamContext(r)
		defer done()
		if live.resume(ctx, w, id.seq) {
			return
		}
	}
	kept, _, err := h.eventsAfter(r.Context(), s.id, id.stream, 0)
	if err != nil {
		writeError(w, http.StatusInternalServerError, nil, wireError(sdkrpc.CodeInternalError, "the events of this stream cannot be read at the moment"))
		h.log.Error("replay failed", "error", err)
		return
	}
	waiting := make(map[string]bool)
	ids := id.requestIDs()
	for _, raw := range ids {
		waiting[raw] = jsonrpc.ValidID([]byte(raw))
	}
	var out []event
	final := false
	seq := id.seq
	for _, ev := range kept {
		final = final || ev.final
		if msg, err := jsonrpc.Parse(ev.data, jsonrpc.Limits{}); err == nil && msg.Kind == jsonrpc.Response {
			delete(waiting, string(msg.ID))
		}
		if ev.seq > id.seq {
			out = append(out, event{id: eventID{id.stream, ev.seq}.String(), data: ev.data})
		}
		seq = max(seq, ev.seq)
	}
	if !final {
		lost := slices.DeleteFunc(ids, func(raw string) bool { return !waiting[raw] })
		log := h.newEventLog(s.id, id.stream)
		for i, raw := range lost {
			seq++
			msg := encodeError([]byte(raw), errOutcomeUnknown)
			out = append(out, event{id: eventID{id.stream, seq}.String(), data: msg})
			// Kept, so that a client that comes again after it is told once.
			if err := log.append(r.Context(), seq, "", msg, i == len(lost)-1); err != nil && !errors.Is(err, store.ErrConflict) {
				h.log.Warn("an event could not be kept for replay", "error", err)
			}
		}
		// Only the client says that there was such a stream: what is kept of it is
		// bounded with that of all others.
		if len(log.kept) > 0 {
			s.logs.retire(log)
		}
	}
	if len(out) == 0 {
		// Everything has been told. There are clients (the TypeScript SDK 1.x, after an
		// error) that come again for ever unless they are told so (HTML, server-sent events).
		w.WriteHeader(http.StatusNoContent)
		return
	}
	events := startEvents(w, h.opts.WriteTimeout)
	defer events.close()
	_ = events.write(out...)
}

var errOutcomeUnknown = wireError(sdkrpc.CodeInternalError, "outcome unknown: the server that was working on this request is gone, or its answer is no longer kept; ask for the state of things before repeating the request")

// sessionOfRequest finds the session that the request's headers name, which the
// caller must release, or answers why there is none.
func (h *Handler) sessionOfRequest(w http.ResponseWriter, r *http.Request, host *host) (*session, bool) {
	ids := r.Header["Mcp-Session-Id"]
	if len(ids) != 1 {
		why := "header Mcp-Session-Id is missing: initialize a session first"
		if len(ids) > 1 {
			why = "header Mcp-Session-Id occurs more than once"
		}
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "%s", why))
		return nil, false
	}
	s, err := h.openSession(r.Context(), host, ids[0], userOf(r))
	if err != nil {
		status, werr := sessionError(err)
		if !errors.Is(err, errNoSession) && r.Context().Err() == nil {
			h.log.Error("a session could not be opened", "error", err)
		}
		writeError(w, status, nil, werr)
		return nil, false
	}
	if v := r.Header["Mcp-Protocol-Version"]; len(v) > 0 && (len(v) > 1 || !host.speaks(v[0])) {
		s.release()
		writeError(w, http.StatusBadRequest, nil, wireError(sdkrpc.CodeInvalidRequest, "header MCP-Protocol-Version: %q is not supported here", clip(v[0])))
		return nil, false
	}
	return s, true
}

// speaks tells whether a version of the session eras is one the server has.
func (h *host) speaks(version string) bool {
	for _, v := range h.versions {
		if v == version && v < version20260728 {
			return true
		}
	}
	return false
}

func (h *Handler) serveDelete(w http.ResponseWriter, r *http.Request, host *host) {
	if r.Header.Get("Mcp-Protocol-Version") >= version20260728 {
		notAllowed(w, "POST")
		return
	}
	s, ok := h.sessionOfRequest(w, r, host)
	if !ok {
		return
	}
	defer s.release()
	if err := s.delete(r.Context()); err != nil {
		h.log.Error("a session could not be deleted", "error", err)
		status, werr := sessionError(err)
		writeError(w, status, nil, werr)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
