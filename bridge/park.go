package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A host of 2026-07-28 and an old server: the server asks while it works, on a stream that
// stays open, and the host wants its request ended by the questions and comes back with
// the answers. So the server's request is parked in between, under a handle that the host
// carries as requestState.

// parkTime is how long a parked request waits for the host to come back.
const parkTime = 10 * time.Minute

// mostParked bounds the requests that are parked at once.
const mostParked = 256

type parking struct {
	mu    sync.Mutex
	spots map[string]*parked
	// order has the requests that are being worked on, oldest first: a question that comes
	// by no request's stream is taken to be of the last.
	order []*parked
}

// A parked request of an old server.
type parked struct {
	r      *remote
	handle string
	run    *call // what the server knows; its context ends the request
	name   string
	expiry *time.Timer

	mu        sync.Mutex
	last      int
	questions map[string]*parkedQuestion
	news      chan struct{} // closed and replaced when something happened
	answer    *delivery
	err       error
	done      bool
}

type parkedQuestion struct {
	question
	answer chan []byte // one result
}

// parkable answers a request of a 2026-07-28 host from an old server.
func (r *remote) parkable(ctx context.Context, l link, c *call) ([]byte, error) {
	switch c.method {
	case "subscriptions/listen":
		return nil, r.listenFor(ctx, l, c)
	case "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return nil, refusal(jsonrpc.CodeMethodNotFound, c.method+" is no method of "+v20260728)
	}
	r.followLevel(ctx, l, c)
	var d delivery
	var err error
	switch c.method {
	case "tools/call", "prompts/get", "resources/read":
		p, perr := r.park(l, c)
		if perr != nil {
			return nil, perr
		}
		var line []byte
		if line, d, err = p.wait(ctx, c); line != nil {
			return line, nil
		}
	default:
		d, err = l.call(ctx, newOutgoing(r.b.nextID(), c.method, plainParams(c.params), c))
	}
	if err != nil {
		return nil, err
	}
	return r.modernized(l, c, d)
}

// plainParams takes out of _meta what old servers do not know.
func plainParams(params []byte) []byte {
	meta := member(params, "_meta")
	if meta == nil {
		return params
	}
	meta = with(meta, pair{jsonrpc.MetaProtocolVersion, nil}, pair{jsonrpc.MetaClientInfo, nil},
		pair{jsonrpc.MetaClientCapabilities, nil}, pair{jsonrpc.MetaLogLevel, nil})
	if string(meta) == "{}" {
		meta = nil
	}
	return with(params, pair{"_meta", meta}, pair{"inputResponses", nil}, pair{"requestState", nil})
}

// followLevel gives an old server the log level that the request carries.
func (r *remote) followLevel(ctx context.Context, l link, c *call) {
	level := c.meta.LogLevel
	r.mu.Lock()
	same := level == nil || string(level) == string(r.level)
	if !same {
		r.level = level
	}
	r.mu.Unlock()
	if !same && has(l.about().capabilities, "logging") {
		l.call(ctx, newOutgoing(r.b.nextID(), "logging/setLevel", with(nil, pair{"level", level}), nil))
	}
}

// modernized is the answer of an old server as a host of 2026-07-28 expects it.
func (r *remote) modernized(l link, c *call, d delivery) ([]byte, error) {
	if d.msg.Error != nil {
		if line := r.excuse(c, d); line != nil {
			return line, nil
		}
		e, err := jsonrpc.ParseErrorObject(d.msg.Error)
		if err == nil && (e.Code == codeOldNotFound || e.Code == codeURLElicitation) {
			return jsonrpc.AppendError(nil, c.id, jsonrpc.CodeInvalidParams, e.Message, e.Data), nil
		}
		return appendErrorRaw(nil, c.id, d.msg.Error), nil
	}
	result := d.msg.Result
	if !jsonrpc.IsObject(result) {
		return nil, r.w.failed("answered with a result that is not an object", nil)
	}
	if c.method == "tools/list" {
		var err error
		if result, err = r.listed(l, c, result); err != nil {
			return nil, err
		}
	}
	return jsonrpc.AppendResult(nil, c.id, completed(c.method, result)), nil
}

// completed adds what 2026-07-28 demands of results: they say that they are complete, and
// those that could be cached, that they must not be.
func completed(method string, result []byte) []byte {
	var add []pair
	if !has(result, "resultType") {
		add = append(add, pair{"resultType", []byte(`"complete"`)})
	}
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover":
		if !has(result, "ttlMs") {
			add = append(add, pair{"ttlMs", []byte("0")})
		}
		if !has(result, "cacheScope") {
			add = append(add, pair{"cacheScope", []byte(`"private"`)})
		}
	}
	if add == nil {
		return result
	}
	return with(result, add...)
}

// park starts a request, or finds the one that the host comes back to.
func (r *remote) park(l link, c *call) (*parked, error) {
	name, _ := jsonrpc.String(firstOf(c.p.Name, c.p.URI))
	if c.p.RequestState != nil {
		handle, _ := jsonrpc.String(c.p.RequestState)
		r.parked.mu.Lock()
		p := r.parked.spots[handle]
		r.parked.mu.Unlock()
		if p == nil || p.run.method != c.method || p.name != name {
			return nil, refusal(jsonrpc.CodeInvalidParams, "requestState: there is no such request any more")
		}
		return p, p.resume(c)
	}
	p := &parked{r: r, handle: rand.Text(), name: name, news: make(chan struct{}), questions: map[string]*parkedQuestion{}}
	params := plainParams(c.params)
	p.run = &call{id: r.b.nextID(), method: c.method, params: params, p: c.p, meta: c.meta, modern: true, parked: p,
		serverToken: c.meta.ProgressToken, hostToken: c.meta.ProgressToken}
	p.run.ctx, p.run.cancel = context.WithCancelCause(r.b.life)
	r.parked.mu.Lock()
	defer r.parked.mu.Unlock()
	if len(r.parked.order) >= mostParked {
		return nil, refusal(jsonrpc.CodeInternalError, fmt.Sprintf("more than %d requests wait for answers", mostParked))
	}
	if r.parked.spots == nil {
		r.parked.spots = map[string]*parked{}
	}
	r.parked.spots[p.handle] = p
	r.parked.order = append(r.parked.order, p)
	r.b.work.Go(func() { p.work(l, params) })
	return p, nil
}

func firstOf(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}

// work has the server carry the request out.
func (p *parked) work(l link, params []byte) {
	var d delivery
	var err error
	for round := 0; round <= mostRounds; round++ {
		d, err = l.call(p.run.ctx, newOutgoing(p.r.b.nextID(), p.run.method, params, p.run))
		if err != nil || !p.openURLs(d) {
			break
		}
	}
	p.mu.Lock()
	p.answer, p.err, p.done = &d, err, true
	p.wake()
	p.mu.Unlock()
	p.run.cancel(nil)
	p.r.parked.leave(p)
}

func (k *parking) leave(p *parked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, q := range k.order {
		if q == p {
			k.order = append(k.order[:i:i], k.order[i+1:]...)
			break
		}
	}
	if p.expiry == nil {
		delete(k.spots, p.handle) // the host waits for it and needs no handle
	}
}

// last is the request that a question of no request's stream belongs to.
func (k *parking) latest() *parked {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.order) == 0 {
		return nil
	}
	return k.order[len(k.order)-1]
}

// wake tells who waits that something happened; p.mu is held.
func (p *parked) wake() {
	close(p.news)
	p.news = make(chan struct{})
}

// wait returns the server's answer or, as line, its questions.
func (p *parked) wait(ctx context.Context, c *call) (line []byte, d delivery, err error) {
	for {
		p.mu.Lock()
		news := p.news
		switch {
		case p.done:
			p.mu.Unlock()
			p.r.parked.remove(p)
			return nil, *p.answer, p.err
		case len(p.questions) > 0:
			line := jsonrpc.AppendResult(nil, c.id, p.inputRequired())
			p.mu.Unlock()
			p.expire()
			return line, d, nil
		}
		p.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			p.run.forget(member(c.cancellation(c.id), "params"))
			return nil, d, context.Cause(ctx)
		}
	}
}

func (k *parking) remove(p *parked) {
	k.mu.Lock()
	delete(k.spots, p.handle)
	if p.expiry != nil {
		p.expiry.Stop()
	}
	k.mu.Unlock()
}

// expire gives a request up that the host does not come back to.
func (p *parked) expire() {
	p.r.parked.mu.Lock()
	defer p.r.parked.mu.Unlock()
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.expiry = time.AfterFunc(parkTime, func() {
		p.run.forget([]byte(`{"reason":"no answer came"}`))
		p.r.parked.remove(p)
	})
}

// inputRequired is the result that asks; p.mu is held.
func (p *parked) inputRequired() []byte {
	requests := make([]pair, 0, len(p.questions))
	for key, q := range p.questions {
		requests = append(requests, pair{key, with(nil, pair{"method", quoted(q.method)}, pair{"params", orEmpty(q.params)})})
	}
	return with(nil, pair{"resultType", []byte(`"input_required"`)},
		pair{"inputRequests", with(nil, requests...)}, pair{"requestState", quoted(p.handle)})
}

// resume delivers the answers that the host came back with.
func (p *parked) resume(c *call) error {
	p.r.parked.mu.Lock()
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.r.parked.mu.Unlock()
	p.run.mu.Lock()
	p.run.hostToken = c.meta.ProgressToken
	p.run.mu.Unlock()
	if !jsonrpc.IsObject(c.p.InputResponses) {
		return nil // it is asked again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return jsonrpc.ScanObject(c.p.InputResponses, func(name, value []byte) error {
		q := p.questions[string(name)]
		if q == nil || !jsonrpc.IsObject(value) {
			return nil
		}
		delete(p.questions, string(name))
		q.answer <- value
		return nil
	})
}

// ask puts a question to the host that waits, or that will come back.
func (p *parked) ask(ctx context.Context, q question) ([]byte, error) {
	w := &parkedQuestion{q, make(chan []byte, 1)}
	p.mu.Lock()
	if len(p.questions) >= mostQuestions {
		p.mu.Unlock()
		return nil, errors.New("too many questions at once")
	}
	p.last++
	key := fmt.Sprintf("q%d", p.last)
	p.questions[key] = w
	p.wake()
	p.mu.Unlock()
	select {
	case answer := <-w.answer:
		return answer, nil
	case <-ctx.Done():
	case <-p.run.ctx.Done():
	}
	p.mu.Lock()
	delete(p.questions, key)
	p.wake()
	p.mu.Unlock()
	return nil, errors.New("the question was withdrawn")
}

// openURLs has the host open the addresses that a server of 2025-11-25 wants visited
// first (error -32042). It reports whether the request is to be sent again.
func (p *parked) openURLs(d delivery) bool {
	if d.msg.Error == nil {
		return false
	}
	e, err := jsonrpc.ParseErrorObject(d.msg.Error)
	if err != nil || e.Code != codeURLElicitation {
		return false
	}
	list, err := elements(member(e.Data, "elicitations"))
	if err != nil || len(list) == 0 || len(list) > mostQuestions {
		return false
	}
	accepted := make(chan bool, len(list))
	for _, params := range list {
		p.r.b.work.Go(func() {
			answer, err := p.ask(p.run.ctx, question{"elicitation/create", with(params, pair{"elicitationId", nil})})
			accepted <- err == nil && jsonrpc.StringEquals(member(answer, "action"), "accept")
		})
	}
	all := true
	for range list {
		all = <-accepted && all
	}
	return all
}
