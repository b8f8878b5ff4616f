package bridge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// An ssePair is a link over the HTTP+SSE transport of 2024-11-05: one stream that carries
// all that the server sends, and an address for what it is sent. The session lasts as long
// as the stream.
type ssePair struct {
	w    *wire // its url is where messages are posted
	to   receiver
	is   about
	log  logger
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	waiting map[string]waiter
	gone    error // why the stream ended
}

type waiter struct {
	answer chan delivery
	from   *call
}

// openPair opens the stream and sends initialize, as line, and then notifications/initialized.
func openPair(ctx context.Context, w *wire, to receiver, log logger, id, line []byte) (*ssePair, error) {
	p := &ssePair{to: to, log: log, waiting: map[string]waiter{}}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, p.end) // while it is being opened
	if err := p.open(w); err != nil {
		p.end()
		return nil, err
	}
	answer, err := p.call(ctx, outgoing{id: id, method: "initialize", line: line})
	if err == nil {
		p.is, err = parseInitialized(answer)
	}
	if err == nil {
		err = p.send(ctx, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	}
	if err != nil || !stop() {
		p.end()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return p, nil
}

// open waits for the address that the stream begins with.
func (p *ssePair) open(w *wire) error {
	req, err := w.request(p.life, http.MethodGet, w.url, nil)
	if err != nil {
		return err
	}
	req.Header["Accept"] = []string{"text/event-stream"}
	resp, err := w.do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return w.refused(resp)
	}
	events := newEventReader(resp.Body, w.most)
	target, err := endpoint(w, events)
	if err != nil {
		resp.Body.Close()
		return err
	}
	posts := *w
	posts.url = target
	p.w = &posts
	go func() {
		defer resp.Body.Close()
		p.read(events)
	}()
	return nil
}

// endpoint reads the first event, which names where to post. It must be at the server's
// own origin: a stream must not send a host's messages elsewhere.
func endpoint(w *wire, events *eventReader) (*url.URL, error) {
	ev, err := events.next()
	if err != nil {
		return nil, w.failed("ended its stream before it named an endpoint", err)
	}
	if ev.name != "endpoint" || len(ev.data) > 8192 {
		return nil, w.failed("began its stream with something else than an endpoint", nil)
	}
	to, err := w.url.Parse(string(ev.data))
	if err != nil || to.Scheme != w.url.Scheme || to.Host != w.url.Host || to.User != nil {
		return nil, w.failed("named an endpoint at another origin", nil)
	}
	to.Fragment = ""
	return to, nil
}

func (p *ssePair) read(events *eventReader) {
	_, err := p.w.events(events, nil, func(d delivery) bool {
		p.take(d)
		return false
	})
	if err == nil {
		err = p.w.failed("closed its stream", nil)
	}
	p.mu.Lock()
	p.gone = err
	for key, w := range p.waiting {
		close(w.answer)
		delete(p.waiting, key)
	}
	p.mu.Unlock()
	if p.life.Err() == nil {
		p.end()
		p.to.lost(p)
	}
}

func (p *ssePair) take(d delivery) {
	if d.msg.Kind != jsonrpc.Response {
		p.to.received(p, d, nil)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := jsonrpc.IDKey(d.msg.ID)
	if w, ok := p.waiting[key]; ok {
		delete(p.waiting, key)
		w.answer <- d // it has room for the one answer there is
	}
}

func (p *ssePair) modern() bool { return false }
func (p *ssePair) about() about { return p.is }

func (p *ssePair) call(ctx context.Context, o outgoing) (delivery, error) {
	key := jsonrpc.IDKey(o.id)
	w := waiter{make(chan delivery, 1), o.from}
	p.mu.Lock()
	if p.gone != nil {
		p.mu.Unlock()
		return delivery{}, p.gone
	}
	p.waiting[key] = w
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, key)
		p.mu.Unlock()
	}()
	if err := p.send(ctx, o.line); err != nil {
		if ctx.Err() != nil {
			p.cancel(o)
		}
		return delivery{}, err
	}
	select {
	case d, ok := <-w.answer:
		if !ok {
			return delivery{}, &lostAnswer{p.gone}
		}
		return d, nil
	case <-ctx.Done():
		p.cancel(o)
		return delivery{}, context.Cause(ctx)
	}
}

func (p *ssePair) cancel(o outgoing) {
	if o.method == "initialize" {
		return
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(p.life), 5*time.Second)
	defer done()
	if err := p.send(ctx, o.from.cancellation(o.id)); err != nil {
		p.log.Debug("telling the server of a cancelled request", "error", err)
	}
}

// send posts a message; what comes back, comes on the stream.
func (p *ssePair) send(ctx context.Context, line []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	req, err := p.w.request(ctx, http.MethodPost, p.w.url, line)
	if err != nil {
		return err
	}
	req.Header["Content-Type"] = []string{"application/json"}
	resp, err := p.w.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return p.w.refused(resp)
	}
	return nil
}

func (p *ssePair) close(context.Context) { p.end() }
