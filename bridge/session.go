package bridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A session is a link over Streamable HTTP in the eras 2025-03-26 to 2025-11-25.
type session struct {
	w    *wire
	to   receiver
	id   string // empty if the server keeps no session
	is   about
	log  logger
	life context.Context // ends with close
	end  context.CancelFunc

	mu        sync.Mutex
	lastEvent string // of the standalone stream
	note      string // path of what the next bridge is to know, should this one be killed
	over      atomic.Bool
}

// openSession sends initialize, as line, and then notifications/initialized.
func openSession(ctx context.Context, w *wire, to receiver, log logger, id, line []byte) (*session, error) {
	s := &session{w: w, to: to, log: log}
	var answer *delivery
	key := jsonrpc.IDKey(id)
	_, err := w.post(ctx, line, nil, s.head, func(d delivery) bool {
		if d.msg.Kind == jsonrpc.Response && jsonrpc.IDKey(d.msg.ID) == key {
			answer = &d
			return true
		}
		return false
	})
	switch {
	case err != nil:
		return nil, err
	case answer == nil:
		return nil, w.failed("did not answer initialize", nil)
	}
	if s.is, err = parseInitialized(*answer); err != nil {
		s.discard(ctx)
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.send(ctx, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		s.discard(ctx)
		return nil, err
	}
	return s, nil
}

// head takes the session's id from the answer to initialize.
func (s *session) head(h http.Header) error {
	id := h.Get("Mcp-Session-Id")
	if id != "" && !isSessionID(id) {
		return s.w.failed("gave a session id that no header can carry", nil)
	}
	s.id = id
	return nil
}

// discard ends a session that never came to be.
func (s *session) discard(ctx context.Context) {
	if s.end == nil {
		s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	}
	s.close(ctx)
}

// listen reads the standalone stream until the link is closed. It is called at most once,
// when the receiver knows the link. hearing is called when the stream is open, or will not be.
func (s *session) listen(hearing func()) { go s.follow(hearing) }

func (s *session) modern() bool { return false }
func (s *session) about() about { return s.is }

func (s *session) header() http.Header {
	h := http.Header{}
	if s.id != "" {
		h["Mcp-Session-Id"] = []string{s.id}
	}
	if s.is.version != "" {
		h["Mcp-Protocol-Version"] = []string{s.is.version}
	}
	return h
}

func (s *session) send(ctx context.Context, line []byte) error {
	_, err := s.w.post(ctx, line, s.header(), nil, func(d delivery) bool {
		s.take(d, nil)
		return false
	})
	return err
}

func (s *session) call(ctx context.Context, o outgoing) (delivery, error) {
	a := &awaited{s: s, key: jsonrpc.IDKey(o.id), from: o.from}
	end, err := s.w.post(ctx, o.line, s.header(), nil, a.on)
	if a.answer != nil {
		return *a.answer, nil
	}
	if ctx.Err() != nil {
		s.cancel(o)
		return delivery{}, context.Cause(ctx)
	}
	if err != nil && (!end.stream || !brokenOff(err)) {
		return delivery{}, err
	}
	if end.lastEvent == "" {
		if err == nil {
			err = s.w.failed("ended its answer without a response", nil)
		}
		return delivery{}, &lostAnswer{err}
	}
	err = a.resume(ctx, end)
	if err != nil && ctx.Err() != nil {
		s.cancel(o)
		return delivery{}, context.Cause(ctx)
	}
	if err != nil {
		return delivery{}, &lostAnswer{err}
	}
	return *a.answer, nil
}

// A lostAnswer is a request that the server may have carried out without our hearing of it.
type lostAnswer struct{ error }

func (l *lostAnswer) Unwrap() error { return l.error }

// brokenOff reports whether an answer ended because the connection did, and not because
// of what was in it.
func brokenOff(err error) bool {
	var bad *jsonrpc.Error
	var f *failure
	return !errors.Is(err, errTooLong) && !errors.As(err, &bad) && errors.As(err, &f) && f.status == 0
}

// cancel tells the server that nobody waits for a request any more.
func (s *session) cancel(o outgoing) {
	if o.method == "initialize" {
		return // the specification forbids to cancel it
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(s.life), 5*time.Second)
	defer done()
	line := o.from.cancellation(o.id)
	if err := s.send(ctx, line); err != nil {
		s.log.Debug("telling the server of a cancelled request", "error", err)
	}
}

// An awaited answer is looked for in the streams of one request.
type awaited struct {
	s      *session
	key    string
	from   *call
	answer *delivery
}

func (a *awaited) on(d delivery) bool {
	if d.msg.Kind == jsonrpc.Response {
		if jsonrpc.IDKey(d.msg.ID) == a.key {
			a.answer = &d
		}
		return a.answer != nil
	}
	a.s.take(d, a.from)
	return false
}

// longestGap is how long a connection may be lost before a request is given up. A laptop
// that slept for lunch still gets its answer.
const longestGap = 15 * time.Minute

// shortestPause keeps a server that closes every stream at once from having us spin.
const shortestPause = 50 * time.Millisecond

// resume takes the stream of a request up again, as often as the server (who may close it
// to be polled) and the network make it necessary.
func (a *awaited) resume(ctx context.Context, end tail) error {
	b := backoff{}
	lastEvent, since := end.lastEvent, time.Now()
	pause := end.retry
	for {
		if pause < 0 {
			pause = b.next()
		}
		if err := sleep(ctx, max(pause, shortestPause)); err != nil {
			return err
		}
		next, err := a.s.get(ctx, lastEvent, nil, nil, a.on)
		if a.answer != nil {
			return nil
		}
		switch {
		case err == nil, brokenOff(err) && next.stream:
			b, since = backoff{}, time.Now()
		case !brokenOff(err) || time.Since(since) > longestGap:
			return err
		}
		if next.lastEvent != "" {
			lastEvent = next.lastEvent
		}
		pause = -1
		if next.stream && next.retry >= 0 {
			pause = next.retry
		} else if end.retry >= 0 && err == nil {
			pause = end.retry
		}
	}
}

// get opens a stream: the standalone one, or the rest of another if lastEvent is not empty.
func (s *session) get(ctx context.Context, lastEvent string, opened func(), seen func(event), on func(delivery) bool) (tail, error) {
	req, err := s.w.request(ctx, http.MethodGet, s.w.url, nil)
	if err != nil {
		return noTail, err
	}
	for name, values := range s.header() {
		req.Header[name] = values
	}
	req.Header["Accept"] = []string{"text/event-stream"}
	if lastEvent != "" {
		req.Header["Last-Event-Id"] = []string{lastEvent}
	}
	resp, err := s.w.do(req)
	if err != nil {
		return noTail, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return noTail, s.w.refused(resp)
	}
	if opened != nil {
		opened()
	}
	return s.w.read(resp.Body, resp.Header, on, seen)
}

// follow reads the standalone stream for as long as the session lives.
func (s *session) follow(hearing func()) {
	defer hearing()
	b := backoff{}
	open := false // a stream was there once
	hear := func() { open = true; hearing() }
	for s.life.Err() == nil {
		s.mu.Lock()
		lastEvent := s.lastEvent
		s.mu.Unlock()
		opened := time.Now()
		end, err := s.get(s.life, lastEvent, hear, s.remember, func(d delivery) bool {
			s.take(d, nil)
			return false
		})
		if s.life.Err() != nil {
			return
		}
		var f *failure
		if errors.As(err, &f) && f.status >= 400 && f.status < 500 && f.status != http.StatusTooManyRequests {
			if sessionOver(err) && s.id != "" && open {
				s.isOver()
			}
			return // most often 405: the server has no such stream
		}
		if err != nil && !brokenOff(err) && f != nil && f.status == 0 {
			s.log.Warn("the server's stream of notifications was cut", "error", err)
		}
		if time.Since(opened) > 10*time.Second {
			b = backoff{}
		}
		pause := b.next()
		if end.retry >= 0 {
			pause = max(end.retry, shortestPause)
		}
		if sleep(s.life, pause) != nil {
			return
		}
	}
}

func (s *session) remember(ev event) {
	if ev.hasID {
		s.mu.Lock()
		s.lastEvent = ev.id
		s.mu.Unlock()
	}
}

// take hands a message of the server to the receiver. Answers that nobody waits for, late
// ones among them, go no further.
func (s *session) take(d delivery, from *call) {
	if d.msg.Kind != jsonrpc.Response {
		s.to.received(s, d, from)
	}
}

func (s *session) isOver() {
	if !s.over.Swap(true) {
		s.unnoted()
		s.end()
		s.to.lost(s)
	}
}

// close ends the session at the server, within the time of ctx.
func (s *session) close(ctx context.Context) {
	defer s.end()
	if s.id == "" || s.over.Swap(true) {
		return
	}
	req, err := s.w.request(ctx, http.MethodDelete, s.w.url, nil)
	if err != nil {
		return
	}
	for name, values := range s.header() {
		req.Header[name] = values
	}
	resp, err := s.w.do(req)
	if err != nil {
		s.log.Debug("ending the session", "error", plain(err))
		return // the next bridge will try again
	}
	resp.Body.Close()
	s.unnoted()
}

// A backoff makes pauses that grow from a quarter of a second to half a minute.
type backoff struct{ tries int }

func (b *backoff) next() time.Duration {
	d := min(250*time.Millisecond<<min(b.tries, 10), 30*time.Second)
	b.tries++
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// CheckURL says what is wrong with the URL of a server; nil if nothing. It does not repeat a
// URL that could be read, which may hold a secret.
func CheckURL(url string, allowHTTP bool) error {
	_, err := parseURL(url, allowHTTP)
	return err
}

func parseURL(text string, allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the server's URL cannot be read")
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%.100q is no URL of a server: it must begin with https:// or http://", text)
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !allowHTTP:
		return nil, fmt.Errorf("%s is http, which anybody on the way can read; use https, or --allow-http if you trust the network", u.Host)
	}
	u.Fragment = ""
	return u, nil
}
