package mcphttp

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A reply is where the messages of one request go: first what its handler has to
// say, then its response.
type reply interface {
	// emit sends a notification or a request to the client. errReplied after the
	// response.
	emit(msg []byte) error
	// respond sends the response; the first one wins. status is the HTTP status,
	// where it still can be chosen.
	respond(c *call, msg []byte, status int)
	// pause tells the client to come back later for the rest, where it can.
	pause(retry time.Duration)
}

var errReplied = errors.New("mcphttp: the request has been answered")

// A postReply answers the requests of one POST: as JSON if nothing but the
// responses is sent, else as an event stream. In the session eras the stream can
// be left by the client and resumed with Last-Event-ID, from its records or, while
// the handler is still at work, live.
//
// Handlers run on the goroutine of the POST, but may emit from any.
type postReply struct {
	h       *Handler
	session *session // nil in 2026-07-28
	version string
	// The JSON-RPC ids to be answered, raw: one, or those of a batch.
	ids  [1][]byte
	more [][]byte

	mu      sync.Mutex
	chunked bool // the stream is of chunks: HTTP/1.1
	w       http.ResponseWriter
	events  *eventWriter // non-nil once it is a stream and while someone reads it
	streams bool         // it has become a stream
	stream  string       // its name, if it can be resumed
	log     *eventLog
	seq     uint64
	batch   bool
	due     int      // responses still to come
	answers [][]byte // of a batch answered as JSON
	over    bool     // everything has been sent, or the POST has given up
	left    chan struct{}
	done    chan struct{}
}

// startStream turns the answer into an event stream. r.mu is held.
func (r *postReply) startStream() {
	r.streams = true
	if r.w == nil {
		return
	}
	if r.session != nil && r.session.resumable() {
		if name := callStream(r.h.nonce(), r.answering()); len(name) <= maxStreamName {
			r.stream = name
			r.log = r.h.newEventLog(r.session.id, r.stream)
			r.done = make(chan struct{})
			r.session.streams.add(r)
		}
	}
	r.events = startEvents(r.w, r.h.opts.WriteTimeout)
	if r.stream != "" && r.version >= version20251125 {
		_ = r.events.write(event{id: eventID{r.stream, 0}.String(), empty: true})
	} else {
		_ = r.events.comment() // the headers should not wait for the first event
	}
	// What a batch has of its answers was to go with the others, and now goes ahead.
	for _, msg := range r.answers {
		_ = r.send(msg, false)
	}
	r.answers = nil
}

func (r *postReply) answering() []string {
	ids := r.more
	if ids == nil {
		ids = r.ids[:]
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

const maxStreamName = 300

func (r *postReply) emit(msg []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errReplied
	}
	if !r.streams {
		r.startStream()
	}
	return r.send(msg, false)
}

// send writes one message to the stream and its log. r.mu is held. A reader that
// is gone is no error where the stream can be resumed.
func (r *postReply) send(msg []byte, final bool) error {
	ev := event{data: msg}
	if r.log != nil {
		r.seq++
		if err := r.log.append(context.Background(), r.seq, "", msg, final); err != nil {
			r.h.log.Warn("an event could not be kept for replay", "error", err)
		} else {
			ev.id = eventID{r.stream, r.seq}.String()
		}
	}
	if r.events == nil {
		return nil
	}
	err := r.events.write(ev)
	if r.log != nil {
		return nil
	}
	return err
}

func (r *postReply) respond(c *call, msg []byte, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || c.answered {
		return
	}
	c.answered = true
	r.due--
	switch {
	case !r.streams && !r.batch && r.h.opts.AlwaysStream && r.w != nil && c.challenge == nil:
		r.writeOneEvent(msg)
	case r.streams:
		_ = r.send(msg, r.due == 0)
	case r.batch:
		r.answers = append(r.answers, msg)
		if r.due == 0 && r.w != nil {
			r.writeJSON(http.StatusOK, jsonArray(r.answers))
		}
	case r.w != nil:
		maps.Copy(r.w.Header(), c.challenge)
		r.writeJSON(status, msg)
	}
	if r.due == 0 {
		r.end()
	}
}

// end marks everything as sent. r.mu is held.
func (r *postReply) end() {
	if r.over {
		return
	}
	r.over = true
	if r.stream != "" {
		r.session.streams.remove(r)
		close(r.done)
		if r.log != nil {
			r.session.logs.retire(r.log)
		}
	}
}

// abandonHandler prepares for an answer that is given while the handler is still
// at work: the connection cannot be used for anything else before that ends.
func (r *postReply) abandonHandler() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w != nil && !r.streams && !r.over {
		r.w.Header().Set("Connection", "close")
	}
}

// tick is called from time to time while the handler is at work: it keeps the
// stream alive, or starts it.
func (r *postReply) tick(streamNow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if !r.streams {
		if streamNow && !r.batch {
			r.startStream()
		}
		return
	}
	if r.events != nil {
		_ = r.events.comment()
	}
}

// leave ends the POST's part: its ResponseWriter is not touched again.
func (r *postReply) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detach()
	r.w = nil
	if r.due > 0 { // a handler that returned without a response: a defect, but never a hang
		r.end()
	}
}

func (r *postReply) detach() {
	if r.events != nil {
		r.events.close()
		r.events = nil
	}
	if r.left != nil {
		close(r.left)
		r.left = nil
	}
}

func (r *postReply) pause(retry time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if !r.streams {
		r.startStream()
	}
	if r.stream == "" || r.events == nil {
		return
	}
	if retry > 0 {
		_ = r.events.retry(retry)
	}
	if r.left != nil { // a resuming GET reads it: let that return
		r.detach()
		return
	}
	if !r.chunked {
		return // the client leaves by itself, if it does
	}
	r.events.abandon()
	r.events = nil
}

// resume hands the stream to a GET, which first gets what it missed. It returns
// when everything has been sent, the client is gone, or another request took the
// stream over.
func (r *postReply) resume(ctx context.Context, w http.ResponseWriter, after uint64) bool {
	r.mu.Lock()
	if r.over || r.stream == "" {
		r.mu.Unlock()
		return false
	}
	missed, _, err := r.h.eventsAfter(ctx, r.session.id, r.stream, after)
	if err != nil {
		r.mu.Unlock()
		writeError(w, http.StatusInternalServerError, nil, wireError(jsonrpc.CodeInternalError, "the events of this stream cannot be read at the moment"))
		r.h.log.Error("replay failed", "error", err)
		return true
	}
	r.detach()
	events := startEvents(w, r.h.opts.WriteTimeout)
	r.events = events
	left := make(chan struct{})
	r.left = left
	_ = events.comment()
	for _, ev := range missed {
		_ = events.write(event{id: eventID{r.stream, ev.seq}.String(), data: ev.data})
	}
	done := r.done
	r.mu.Unlock()

	select {
	case <-done:
	case <-ctx.Done():
	case <-left:
	case <-r.h.draining:
		_ = events.retry(r.h.opts.RetryAfter)
	}
	r.mu.Lock()
	if r.events == events {
		r.events, r.left = nil, nil
	}
	r.mu.Unlock()
	events.close()
	return true
}

func jsonArray(msgs [][]byte) []byte {
	b := []byte{'['}
	for i, m := range msgs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m...)
	}
	return append(b, ']')
}

// writeJSON writes the answer in bounded time, as streams are: a client that does
// not read it loses its connection, and holds up nobody.
func (r *postReply) writeJSON(status int, body []byte) {
	writeJSONHead(r.w, status, body)
	r.writeBody(body)
}

// writeOneEvent writes an answer that is a stream in form only: one event, of known
// length, that nobody could resume.
func (r *postReply) writeOneEvent(msg []byte) {
	body := appendEvent(make([]byte, 0, len(msg)+32), &event{data: msg})
	hd := r.w.Header()
	hd["Content-Type"], hd["Cache-Control"], hd["X-Accel-Buffering"] = contentTypeEvents, noStore, noBuffering
	hd["Content-Length"] = []string{strconv.Itoa(len(body))}
	r.w.WriteHeader(http.StatusOK)
	r.writeBody(body)
}

func (r *postReply) writeBody(body []byte) { r.h.writeBody(r.w, body) }

func (h *Handler) writeBody(to http.ResponseWriter, body []byte) {
	w := h.watch.start(&transfer{rc: http.NewResponseController(to), writes: true}, h.opts.WriteTimeout)
	defer h.watch.done(w)
	for len(body) > piece {
		if _, err := to.Write(body[:piece]); err != nil {
			return
		}
		body = body[piece:]
		h.watch.again(&w.place, h.opts.WriteTimeout)
	}
	_, _ = to.Write(body)
	_ = w.rc.Flush()
}

// piece is how much is written under one deadline, so that a slow but honest
// reader of something large is not cut.
const piece = 64 << 10

func writePieces(w io.Writer, rc *http.ResponseController, body []byte, timeout time.Duration) error {
	for len(body) > piece {
		if _, err := w.Write(body[:piece]); err != nil {
			return err
		}
		body = body[piece:]
		_ = rc.SetWriteDeadline(time.Now().Add(timeout))
	}
	_, err := w.Write(body)
	return err
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	writeJSONHead(w, status, body)
	_, _ = w.Write(body)
}

func writeJSONHead(w http.ResponseWriter, status int, body []byte) {
	hd := w.Header()
	hd["Content-Type"] = contentTypeJSON
	hd["X-Content-Type-Options"] = noSniff
	hd["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
}
