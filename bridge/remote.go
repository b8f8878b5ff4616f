package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/paramheader"
)

// A remote is one of the servers behind the bridge. It connects when the host introduces
// itself, and again whenever that is necessary.
type remote struct {
	b       *Bridge
	server  Server
	name    string // the prefix of its tools; empty if it is the only server
	w       *wire
	log     logger
	tools   toolIndex
	asking  chan struct{} // room for requests of the server that wait for the host
	flooded atomic.Bool   // it asked too much at once
	guessed atomic.Bool   // the host was told capabilities that nobody had read
	asked   sync.Map      // IDKey of such a request to its context.CancelCauseFunc

	mu     sync.Mutex
	intro  *intro
	now    *attempt
	level  []byte         // raw; what the host set last
	subs   map[string]int // resources the host subscribed to, and how often
	watch  watch
	parked parking
}

// An intro is how the host introduced itself.
type intro struct {
	modern  bool
	version string // that an old host asked for
	id      []byte
	line    []byte // of initialize
	info    []byte
	caps    []byte
}

// An attempt to connect. Its fields may be read when done is closed.
type attempt struct {
	done  chan struct{}
	link  link
	err   error
	ended time.Time
	life  context.Context // of the link
	stop  context.CancelFunc
	// hearing is closed when the server's notifications can reach us, or never will.
	hearing chan struct{}
}

// hearTime is how long after connecting a call may wait for that.
const hearTime = 500 * time.Millisecond

// hear waits until the stream of notifications is open, so that what a call brings about
// is heard of. It costs nothing but in the first moments.
func (r *remote) hear(ctx context.Context, method string) {
	if method != "tools/call" && method != "resources/subscribe" {
		return
	}
	r.mu.Lock()
	a := r.now
	r.mu.Unlock()
	select {
	case <-a.hearing:
		return
	default:
	}
	select {
	case <-a.done:
	default:
		return // another link is on its way, and the call will not wait for it here
	}
	left := time.NewTimer(time.Until(a.ended.Add(hearTime)))
	defer left.Stop()
	select {
	case <-a.hearing:
	case <-left.C:
	case <-ctx.Done():
	}
}

func newRemote(b *Bridge, s Server) (*remote, error) {
	w, err := newWire(s, &b.opts)
	if err != nil {
		return nil, err
	}
	return &remote{b: b, server: s, w: w, log: b.log, asking: make(chan struct{}, mostAsks)}, nil
}

// start connects on behalf of a host that introduces itself, anew if it did so before.
func (r *remote) start(in *intro) *attempt {
	r.mu.Lock()
	old := r.now
	r.intro = in
	a := r.connect(0)
	r.mu.Unlock()
	r.drop(old)
	return a
}

// connect starts an attempt, after a pause; r.mu is held.
func (r *remote) connect(pause time.Duration) *attempt {
	ctx, stop := context.WithCancel(r.b.life)
	a := &attempt{done: make(chan struct{}), life: ctx, stop: stop, hearing: make(chan struct{})}
	r.now = a
	in := r.intro
	r.b.work.Go(func() {
		var l link
		err := sleep(ctx, pause)
		if err == nil {
			l, err = r.dial(ctx, in)
		}
		a.link, a.err, a.ended = l, err, time.Now()
		close(a.done)
		if err != nil {
			if ctx.Err() == nil {
				r.log.Warn("connecting failed", "server", r.w.url.Host, "error", err)
			}
			return
		}
		r.connected(a, l)
	})
	return a
}

// drop ends an attempt that another took the place of.
func (r *remote) drop(a *attempt) {
	if a == nil {
		return
	}
	a.stop()
	r.b.work.Go(func() {
		<-a.done
		if a.link != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.b.life), closeTime)
			defer cancel()
			a.link.close(ctx)
		}
	})
}

// connected brings a new link to where the host believes it is.
func (r *remote) connected(a *attempt, l link) {
	r.mu.Lock()
	current, in := r.now == a, r.intro
	level, subs := r.level, make([]string, 0, len(r.subs))
	for uri := range r.subs {
		subs = append(subs, uri)
	}
	r.mu.Unlock()
	if !current {
		return
	}
	hearing := sync.OnceFunc(func() { close(a.hearing) })
	if l.modern() {
		r.rewatch(l, hearing)
		return
	}
	if s, ok := l.(*session); ok {
		s.listen(hearing)
		r.b.work.Go(func() { r.noted(in, s) })
	} else {
		hearing() // the one stream is open
	}
	if pause := r.b.opts.PingInterval; pause > 0 {
		go r.pings(a, l, pause)
	}
	ctx := r.b.life
	if level != nil {
		l.call(ctx, newOutgoing(r.b.nextID(), "logging/setLevel", with(nil, pair{"level", level}), nil))
	}
	for _, uri := range subs {
		l.call(ctx, newOutgoing(r.b.nextID(), "resources/subscribe", with(nil, pair{"uri", quoted(uri)}), nil))
	}
}

// pings keeps a session, and what is on the way to it, from falling asleep.
func (r *remote) pings(a *attempt, l link, pause time.Duration) {
	for sleep(a.life, pause) == nil {
		ctx, cancel := context.WithTimeout(a.life, pause)
		_, err := l.call(ctx, newOutgoing(r.b.nextID(), "ping", nil, nil))
		cancel()
		if sessionOver(err) && hasSession(l) {
			l.(*session).isOver()
		}
	}
}

// youngest is the age at which a session may be replaced at once: a server that forgets
// every session must not be asked for more and more of them.
const youngest = time.Second

// lost is called by a link whose session is over: the next request opens another.
func (r *remote) lost(l link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.is(l) && r.b.life.Err() == nil {
		r.log.Info("the session is over; opening another", "server", r.w.url.Host)
		r.now.stop()
		r.tools.forget()
		r.connect(max(0, youngest-time.Since(r.now.ended)))
	}
}

// is reports whether l is the link in use; r.mu is held.
func (r *remote) is(l link) bool {
	if r.now == nil {
		return false
	}
	select {
	case <-r.now.done:
		return r.now.link == l
	default:
		return false
	}
}

// retryAfterFailure is how long a failed attempt answers for those that follow.
const retryAfterFailure = time.Second

// open returns the link, waiting for it as long as ctx allows. A failed attempt is
// repeated by whoever comes next.
func (r *remote) open(ctx context.Context) (link, error) {
	r.mu.Lock()
	a := r.now
	if a == nil {
		r.mu.Unlock()
		return nil, refusal(jsonrpc.CodeInvalidRequest, "the first request must be initialize or server/discover")
	}
	select {
	case <-a.done:
		if a.err != nil && time.Since(a.ended) > retryAfterFailure {
			a = r.connect(0)
		}
	default:
	}
	r.mu.Unlock()
	select {
	case <-a.done:
		return a.link, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// close ends the link within the time of ctx.
func (r *remote) close(ctx context.Context) {
	r.mu.Lock()
	a := r.now
	r.mu.Unlock()
	if a == nil {
		return
	}
	a.stop()
	select {
	case <-a.done:
		if a.link != nil {
			a.link.close(ctx)
		}
	case <-ctx.Done():
	}
}

// handle answers a request of the host.
func (r *remote) handle(c *call) {
	line, err := r.answer(c.ctx, c)
	switch {
	case err != nil:
		c.fail(err)
	case line != nil:
		c.answer(line)
	}
}

// answer returns the response to c, or nil if it was given already. What the server has
// certainly not seen is tried for as long as Options.ReconnectTime says, all else once more
// at most.
func (r *remote) answer(ctx context.Context, c *call) ([]byte, error) {
	deadline := time.Now().Add(r.b.opts.ReconnectTime)
	again := false
	for b := (backoff{}); ; {
		l, line, err := r.try(ctx, c)
		var f *failure
		switch {
		case err == nil || ctx.Err() != nil:
			return line, err
		case unsent(err) && errors.As(err, &f) && f.status == 0:
			if time.Now().After(deadline) {
				return nil, err
			}
			err = sleep(ctx, b.next())
		case again || l == nil:
			return nil, err
		default:
			again = true
			err = r.remedy(ctx, l, c, err)
		}
		if err != nil {
			return nil, err
		}
	}
}

// try has the server answer once, if there is a way to it.
func (r *remote) try(ctx context.Context, c *call) (link, []byte, error) {
	l, err := r.open(ctx)
	if err == nil {
		err = r.permit(ctx, l, c)
	}
	if err != nil {
		return nil, nil, err
	}
	r.hear(ctx, c.method)
	line, err := r.exchange(ctx, l, c)
	return l, line, err
}

// exchange is one try to have a server answer a request, in the eras of both.
func (r *remote) exchange(ctx context.Context, l link, c *call) ([]byte, error) {
	var d delivery
	var err error
	switch {
	case l.modern() && c.modern:
		d, err = r.callModern(ctx, l, c)
	case l.modern():
		if line, done, err := r.standIn(ctx, l, c); done {
			return line, err
		}
		d, err = r.rounds(ctx, l, c)
	case c.modern:
		return r.parkable(ctx, l, c)
	default:
		d, err = l.call(ctx, outgoing{c.id, c.method, c.params, c.line, c})
		if err == nil && d.msg.Error == nil {
			r.remember(c)
		}
	}
	if err != nil {
		return nil, err
	}
	return r.finish(l, c, d)
}

// remember keeps what an old host set at its session, for the next one.
func (r *remote) remember(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uri, _ := jsonrpc.String(c.p.URI)
	switch c.method {
	case "logging/setLevel":
		r.level = c.p.Level
	case "resources/subscribe":
		if r.subs == nil {
			r.subs = map[string]int{}
		}
		if len(r.subs) < mostSubscriptions {
			r.subs[uri] = 1
		}
	case "resources/unsubscribe":
		delete(r.subs, uri)
	}
}

// callModern passes a request of 2026-07-28 on as it is. A subscription that breaks off is
// opened again, for that is no end that the host should have to know of.
func (r *remote) callModern(ctx context.Context, l link, c *call) (delivery, error) {
	o := outgoing{c.id, c.method, c.params, c.line, c}
	if c.method != "subscriptions/listen" {
		return l.call(ctx, o)
	}
	for b := (backoff{}); ; {
		opened := time.Now()
		d, err := l.call(ctx, o)
		var lost *lostAnswer
		if err == nil || ctx.Err() != nil || !c.acknowledged.Load() || !errors.As(err, &lost) && !unsent(err) {
			return d, err
		}
		if time.Since(opened) > 10*time.Second {
			b = backoff{}
		}
		if err := sleep(ctx, b.next()); err != nil {
			return d, err
		}
	}
}

// reopened reports whether an acknowledgement is of a subscription that had broken off.
// The host knows it as open; what it missed is not known, so it is told that all of it may
// have changed.
func (r *remote) reopened(d delivery, from *call) bool {
	if !from.acknowledged.Swap(true) {
		return false
	}
	want, err := parseListen(from)
	if err != nil {
		return true
	}
	for _, kind := range []string{"tools", "prompts", "resources"} {
		if method := "notifications/" + kind + "/list_changed"; want.wants(method, "") {
			r.b.write(want.tagged(method, nil))
		}
	}
	for uri := range want.uris {
		r.b.write(want.tagged("notifications/resources/updated", with(nil, pair{"uri", quoted(uri)})))
	}
	return true
}

// finish is the answer as the host gets it: the server's own bytes wherever nothing has
// to be added or taken away.
func (r *remote) finish(l link, c *call, d delivery) ([]byte, error) {
	if d.msg.Error != nil {
		if line := r.excuse(c, d); line != nil {
			return line, nil
		}
		if jsonrpc.IDKey(d.msg.ID) == jsonrpc.IDKey(c.id) {
			return d.raw, nil
		}
		return appendErrorRaw(nil, c.id, d.msg.Error), nil
	}
	result := d.msg.Result
	if c.method == "tools/list" {
		var err error
		if result, err = r.listed(l, c, result); err != nil {
			return nil, err
		}
	}
	if jsonrpc.IDKey(d.msg.ID) == jsonrpc.IDKey(c.id) && len(result) == len(d.msg.Result) {
		return d.raw, nil
	}
	return jsonrpc.AppendResult(nil, c.id, result), nil
}

// excuse turns the refusal of a list into an empty one where the host asked only because
// the bridge had guessed that there would be one.
func (r *remote) excuse(c *call, d delivery) []byte {
	e, err := jsonrpc.ParseErrorObject(d.msg.Error)
	if err != nil || e.Code != jsonrpc.CodeMethodNotFound || !r.guessed.Load() {
		return nil
	}
	name := map[string]string{"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources",
		"resources/templates/list": "resourceTemplates"}[c.method]
	if name == "" {
		return nil
	}
	result := with(nil, pair{name, []byte("[]")})
	if c.modern {
		result = completed(c.method, result)
	}
	return jsonrpc.AppendResult(nil, c.id, result)
}

// listed takes from a page of tools those that the host must not see.
func (r *remote) listed(l link, c *call, result []byte) ([]byte, error) {
	if c.p.Cursor == nil {
		r.tools.forget()
	}
	filter := &r.b.filter
	out, err := r.tools.listed(result, func(name string, t tool) bool {
		if t.invalid != nil && l.modern() {
			r.log.Warn("a tool is left out: its x-mcp-header is against the specification", "tool", clip(name, 100), "error", t.invalid)
			return false
		}
		return filter.named(r.name, name) && (!filter.readOnly || t.readOnly)
	})
	if err != nil && !filter.any() {
		return result, nil // it passes as it is, for the host to judge
	}
	return out, err
}

// permit refuses calls of tools that the host must not see.
func (r *remote) permit(ctx context.Context, l link, c *call) error {
	filter := &r.b.filter
	if c.method != "tools/call" || !filter.any() {
		return nil
	}
	name, _ := jsonrpc.String(c.p.Name)
	hidden := refusal(jsonrpc.CodeInvalidParams, fmt.Sprintf("unknown tool %q: it is hidden by a flag of causeway connect", clip(name, 100)))
	if !filter.named(r.name, name) {
		return hidden
	}
	if filter.readOnly {
		t, err := r.tool(ctx, l, name)
		if err != nil {
			return err
		}
		if !t.readOnly {
			return hidden
		}
	}
	return nil
}

// remedy prepares for sending a failed request once more, or says why it must not be.
func (r *remote) remedy(ctx context.Context, l link, c *call, failed error) error {
	var f *failure
	var lost *lostAnswer
	switch {
	case errors.Is(failed, ErrSignIn):
		return failed // it was not done, and would not be now
	case l.modern() && c.method == "tools/call" && isHeaderMismatch(failed):
		r.tools.forget() // the schema that names the headers may have changed
		return nil
	case !l.modern() && sessionOver(failed) && hasSession(l):
		l.(*session).isOver()
		return nil
	case errors.As(failed, &f) && f.unsent && f.retryAfter >= 0 && f.retryAfter <= longestWait:
		return sleep(ctx, f.retryAfter)
	case errors.As(failed, &lost) || errors.As(failed, &f) && f.status == 0 && f.answer == nil:
		if !c.safe() && !r.mayResend(c) {
			return fmt.Errorf("%w; whether the server did what it was asked is not known", failed)
		}
		return sleep(ctx, time.Second/4)
	}
	return failed
}

// longestWait is the longest Retry-After that is waited for on behalf of a request.
const longestWait = 30 * time.Second

func hasSession(l link) bool {
	s, ok := l.(*session)
	return ok && s.id != ""
}

func isHeaderMismatch(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.answer != nil && f.answer.Code == codeHeaderMismatch
}

// The codes of 2026-07-28 that the bridge has to know.
const (
	codeHeaderMismatch     = -32020
	codeUnsupportedVersion = -32022
	codeOldNotFound        = -32002
	codeURLElicitation     = -32042
)

// mayResend reports whether a tool says of itself that a second call does no harm.
func (r *remote) mayResend(c *call) bool {
	name, _ := jsonrpc.String(c.p.Name)
	t, _, _ := r.tools.get(name)
	return c.method == "tools/call" && t.resending
}

// mirrored is what the link asks for the headers of a call.
func (r *remote) mirrored(l link) func(context.Context, string) []paramheader.Binding {
	return func(ctx context.Context, name string) []paramheader.Binding {
		t, err := r.tool(ctx, l, name)
		if err != nil {
			r.log.Debug("the tools could not be listed", "error", err)
		}
		return t.mirrored
	}
}
