package mcphttp

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// An eventWriter writes Server-Sent Events to one HTTP response. Every write has
// a deadline, so that a reader who stops reading costs a bounded wait and then
// its stream, never more. It is safe for concurrent use.
//
// Whoever serves the response must call close before returning from ServeHTTP;
// nothing touches the ResponseWriter after that.
type eventWriter struct {
	timeout time.Duration

	mu  sync.Mutex
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
	err error
}

var errStreamClosed = errors.New("the stream is closed")

// startEvents sends the headers of an event stream.
func startEvents(w http.ResponseWriter, timeout time.Duration) *eventWriter {
	hd := w.Header()
	hd["Content-Type"] = contentTypeEvents
	hd["Cache-Control"] = noStore
	hd["X-Accel-Buffering"] = noBuffering
	w.WriteHeader(http.StatusOK)
	return &eventWriter{timeout: timeout, w: w, rc: http.NewResponseController(w)}
}

var (
	contentTypeEvents = []string{"text/event-stream"}
	contentTypeJSON   = []string{"application/json"}
	noStore           = []string{"no-cache, no-store"}
	noBuffering       = []string{"no"}
	noSniff           = []string{"nosniff"}
)

// An event is one Server-Sent Event. The zero name is "message".
type event struct {
	name  string
	id    string
	retry time.Duration
	data  []byte
	// empty marks an event that carries its id and no data: it is not dispatched
	// by clients, but they remember the id.
	empty bool
}

func (e *eventWriter) write(evs ...event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = e.buf[:0]
	for i := range evs {
		e.buf = appendEvent(e.buf, &evs[i])
	}
	return e.flush()
}

func (e *eventWriter) comment() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = append(e.buf[:0], ": keep-alive\n\n"...)
	return e.flush()
}

func (e *eventWriter) retry(after time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = appendRetry(e.buf[:0], after)
	e.buf = append(e.buf, '\n')
	return e.flush()
}

// flush sends e.buf. e.mu is held.
func (e *eventWriter) flush() error {
	if e.err != nil {
		return e.err
	}
	if e.w == nil {
		return errStreamClosed
	}
	// Response writers without deadlines (recorders in tests) have no slow readers.
	_ = e.rc.SetWriteDeadline(time.Now().Add(e.timeout))
	if err := writePieces(e.w, e.rc, e.buf, e.timeout); err != nil {
		e.err = err
		return err
	}
	if err := e.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		e.err = err
		return err
	}
	// Over HTTP/2 a deadline that passes ends the stream, whether or not it is written to.
	_ = e.rc.SetWriteDeadline(time.Time{})
	if cap(e.buf) > 64<<10 {
		e.buf = nil // do not keep a large buffer for a stream's life
	}
	return nil
}

// close ends the use of the response. It returns whether everything was written.
func (e *eventWriter) close() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil {
		return false
	}
	_ = e.rc.SetWriteDeadline(time.Time{}) // the connection may serve another request
	e.w = nil
	return e.err == nil
}

// abandon closes the client's connection under the stream, so that a client that
// was told to come back later does. The response stays open where the connection
// cannot be taken over (HTTP/2); the client is then free to leave.
func (e *eventWriter) abandon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil || e.err != nil {
		return
	}
	conn, _, err := e.rc.Hijack()
	if err != nil {
		return
	}
	e.err, e.w = errStreamClosed, nil
	_ = conn.SetDeadline(time.Now().Add(e.timeout))
	// The response is chunked, since it was flushed without a Content-Length and the
	// caller has made sure that this is HTTP/1.1. This is its
	// proper end, so that the client sees a stream that ended and not one that broke.
	_, _ = conn.Write([]byte("0\r\n\r\n"))
	_ = conn.Close()
}

func appendEvent(b []byte, ev *event) []byte {
	if ev.retry > 0 {
		b = appendRetry(b, ev.retry)
	}
	if ev.id != "" {
		b = append(b, "id: "...)
		b = append(b, ev.id...)
		b = append(b, '\n')
	}
	if ev.empty {
		return append(b, "data: \n\n"...)
	}
	b = append(b, "event: "...)
	if ev.name == "" {
		b = append(b, "message"...)
	} else {
		b = append(b, ev.name...)
	}
	b = append(b, "\ndata: "...)
	b = appendOneLine(b, ev.data)
	return append(b, "\n\n"...)
}

func appendRetry(b []byte, after time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, after.Milliseconds(), 10)
	return append(b, '\n')
}

// appendOneLine appends JSON without line breaks. JSON has none inside strings,
// so any that are there stand between tokens and a space does as well.
func appendOneLine(b, data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return append(b, data...)
	}
	for _, c := range data {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		b = append(b, c)
	}
	return b
}
