package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A wire sends messages to one server and reads what comes back, whatever the era.
type wire struct {
	client *http.Client
	url    *url.URL
	header http.Header
	most   int           // bytes of one message
	idle   time.Duration // of an answer: the longest wait for its next byte
}

func newWire(s Server, o *Options) (*wire, error) {
	u, err := parseURL(s.URL, o.AllowHTTP)
	if err != nil {
		return nil, err
	}
	transport := s.Transport
	if transport == nil {
		transport = o.Transport
	}
	client := &http.Client{Transport: transport, Jar: o.Jar, CheckRedirect: sameOrigin}
	return &wire{client: client, url: u, header: s.Header, most: o.MaxMessage, idle: o.IdleTimeout}, nil
}

// sameOrigin lets a request be redirected only as it is and where it was sent: a server
// must not have a host's messages, and the token with them, carried elsewhere.
func sameOrigin(next *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > 5:
		return errors.New("more than 5 redirects")
	case next.Method != first.Method:
		return errors.New("a redirect that would drop the message")
	case next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host:
		return errors.New("a redirect to another origin")
	}
	return nil
}

func (w *wire) request(ctx context.Context, method string, at *url.URL, body []byte) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), r)
	if err != nil {
		return nil, w.failed("was given a request that cannot be sent", err)
	}
	for name, values := range w.header {
		req.Header[name] = values
	}
	return req, nil
}

func (w *wire) do(req *http.Request) (*http.Response, error) {
	resp, err := w.client.Do(req)
	if err != nil {
		if ctxErr := req.Context().Err(); ctxErr != nil {
			return nil, context.Cause(req.Context())
		}
		return nil, w.unreachable(err)
	}
	return resp, nil
}

const acceptBoth = "application/json, text/event-stream"

// A delivery is one message that a server sent.
type delivery struct {
	msg jsonrpc.Message
	raw []byte
}

// A tail is where an answer ended.
type tail struct {
	lastEvent string        // id of the last event that had one
	retry     time.Duration // the pause that the server asked for; -1 if none
	stream    bool          // it was an event stream
}

var noTail = tail{retry: -1}

// post sends a message and gives every message of the answer to on, which returns true
// when no more is wanted. The headers of the answer go to head first, unless that is nil.
func (w *wire) post(ctx context.Context, body []byte, header http.Header, head func(http.Header) error, on func(delivery) bool) (tail, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := w.request(ctx, http.MethodPost, w.url, body)
	if err != nil {
		return noTail, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["Accept"] = []string{acceptBoth}
	resp, err := w.do(req)
	if err != nil {
		return noTail, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return noTail, w.refused(resp)
	}
	if head != nil {
		if err := head(resp.Header); err != nil {
			return noTail, err
		}
	}
	if resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusNoContent {
		return noTail, nil
	}
	guarded := newIdleReader(resp.Body, w.idle, cancel)
	defer guarded.stop()
	end, err := w.read(guarded, resp.Header, on, nil)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = w.failed("stopped answering", cause)
	}
	return end, err
}

func (w *wire) read(body io.Reader, header http.Header, on func(delivery) bool, seen func(event)) (tail, error) {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	switch kind {
	case "text/event-stream":
		return w.events(newEventReader(body, w.most), seen, on)
	case "application/json":
		raw, err := w.whole(body, header)
		if err != nil {
			return noTail, err
		}
		if len(bytes.TrimSpace(raw)) == 0 {
			return noTail, nil
		}
		_, err = w.deliver(raw, on)
		return noTail, err
	default:
		return noTail, w.failed(fmt.Sprintf("answered with the content type %.60q, which is neither JSON nor an event stream", kind), nil)
	}
}

// whole reads a body that is one JSON text.
func (w *wire) whole(body io.Reader, header http.Header) ([]byte, error) {
	var buf bytes.Buffer
	if n := contentLength(header); n > 0 && n <= int64(w.most) {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(body, int64(w.most)+1))
	switch {
	case buf.Len() > w.most:
		return nil, w.failed("was cut", fmt.Errorf("%w (%d bytes)", errTooLong, w.most))
	case err != nil:
		return nil, w.failed("broke off its answer", err)
	}
	return buf.Bytes(), nil
}

func contentLength(header http.Header) int64 {
	var n int64
	for _, c := range []byte(header.Get("Content-Length")) {
		if c < '0' || c > '9' || n > 1<<40 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// events reads a stream to its end. seen is told of every event before its message is
// delivered; nil for nobody.
func (w *wire) events(r *eventReader, seen func(event), on func(delivery) bool) (tail, error) {
	end := tail{retry: -1, stream: true}
	for {
		ev, err := r.next()
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return end, w.failed("broke off its answer", err)
		}
		if ev.hasID {
			end.lastEvent = ev.id
		}
		if ev.retry >= 0 {
			end.retry = ev.retry
		}
		if seen != nil {
			seen(ev)
		}
		if len(bytes.TrimSpace(ev.data)) == 0 || ev.name != "" && ev.name != "message" {
			continue
		}
		if done, err := w.deliver(ev.data, on); done || err != nil {
			return end, err
		}
	}
}

// deliver hands on the messages in raw: one, or those of a batch (2025-03-26).
func (w *wire) deliver(raw []byte, on func(delivery) bool) (done bool, err error) {
	if !jsonrpc.IsBatch(raw) {
		msg, err := jsonrpc.Parse(raw, jsonrpc.Limits{})
		if err != nil {
			return false, w.failed("sent what is not a message", err)
		}
		return on(delivery{msg, raw}), nil
	}
	entries, err := jsonrpc.ParseBatch(raw, jsonrpc.Limits{Batch: 1000})
	if err != nil {
		return false, w.failed("sent what is not a batch", err)
	}
	for _, e := range entries {
		if e.Err != nil {
			return false, w.failed("sent what is not a message", e.Err)
		}
		if on(delivery{e.Message, rebuilt(e.Message)}) {
			done = true
		}
	}
	return done, nil
}

// rebuilt writes a message of a batch as one of its own.
func rebuilt(m jsonrpc.Message) []byte {
	switch {
	case m.Kind == jsonrpc.Request:
		return jsonrpc.AppendRequest(nil, m.ID, m.Method, m.Params)
	case m.Kind == jsonrpc.Notification:
		return jsonrpc.AppendNotification(nil, m.Method, m.Params)
	case m.Error != nil:
		return appendErrorRaw(nil, m.ID, m.Error)
	default:
		return jsonrpc.AppendResult(nil, m.ID, m.Result)
	}
}

func appendErrorRaw(dst, id, object []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"error":`...)
	dst = append(dst, object...)
	return append(dst, '}')
}

// An idleReader ends a request whose answer stands still.
type idleReader struct {
	r     io.Reader
	idle  time.Duration
	timer *time.Timer
}

func newIdleReader(r io.Reader, idle time.Duration, cancel context.CancelCauseFunc) *idleReader {
	i := &idleReader{r: r, idle: idle}
	i.timer = time.AfterFunc(idle, func() {
		cancel(fmt.Errorf("no byte of the answer came for %s", idle))
	})
	return i
}

func (i *idleReader) Read(p []byte) (int, error) {
	i.timer.Reset(i.idle)
	return i.r.Read(p)
}

func (i *idleReader) stop() { i.timer.Stop() }
