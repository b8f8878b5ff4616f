package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A Bridge lets one stdio host use one or more remote servers. Make one with [New] and run
// it once.
type Bridge struct {
	opts    Options
	filter  toolFilter
	cache   *memory
	log     logger
	out     *lineWriter
	remotes []*remote
	merged  *merged // nil if there is one server

	life      context.Context // ends when the host is gone and calls had their time
	end       context.CancelCauseFunc
	work      crew
	ids       atomic.Int64
	asks      asks
	listeners listeners
	broken    atomic.Bool // the host does not read any more

	mu          sync.Mutex
	calls       map[string]*call
	opening     map[*call]chan struct{} // subscriptions that no server has acknowledged yet
	modern      bool
	initialized chan struct{} // closed when an old host is ready to be asked
}

// New checks the options. It connects to nothing yet.
func New(o Options) (*Bridge, error) {
	if len(o.Servers) == 0 {
		return nil, errors.New("bridge: no server")
	}
	o.fill()
	b := &Bridge{opts: o, log: newLogger(o.Logger), calls: map[string]*call{}, opening: map[*call]chan struct{}{}, initialized: make(chan struct{})}
	b.filter = toolFilter{allow: o.AllowTools, ignore: o.IgnoreTools, readOnly: o.ReadOnly}
	for _, p := range append(append([]string(nil), o.AllowTools...), o.IgnoreTools...) {
		if err := CheckPattern(p); err != nil {
			return nil, err
		}
	}
	b.cache = &memory{dir: o.CacheDir, log: b.log}
	for _, s := range o.Servers {
		r, err := newRemote(b, s)
		if err != nil {
			return nil, err
		}
		b.remotes = append(b.remotes, r)
	}
	if len(b.remotes) > 1 {
		m, err := newMerged(b, b.remotes)
		if err != nil {
			return nil, err
		}
		b.merged = m
	}
	return b, nil
}

// Run relays between the host, whose messages are the lines of in and who reads those of
// out, and the servers. It returns nil when in ends or ctx does, after calls in flight had
// a moment to finish and every session was ended at its server.
func (b *Bridge) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	b.life, b.end = context.WithCancelCause(context.WithoutCancel(ctx))
	defer b.end(errStopping)
	b.out = &lineWriter{w: out}
	b.asks.write = b.write
	lines := make(chan error, 1)
	go func() { lines <- b.read(in) }()
	var err error
	select {
	case err = <-lines:
		b.linger(ctx)
	case <-ctx.Done():
	}
	b.stop()
	return err
}

// read takes the host's messages until there are no more.
func (b *Bridge) read(in io.Reader) error {
	lines := newLineReader(in, b.opts.MaxMessage)
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, errTooLong):
			b.write(jsonrpc.AppendError(nil, nil, jsonrpc.CodeInvalidRequest, fmt.Sprintf("a message of more than %d bytes", b.opts.MaxMessage), nil))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading from the host: %w", err)
		default:
			b.take(line)
		}
	}
}

// linger lets calls finish whose answers the host may still read.
func (b *Bridge) linger(ctx context.Context) {
	deadline := time.Now().Add(b.opts.Linger)
	for time.Now().Before(deadline) && ctx.Err() == nil && !b.broken.Load() && b.busy() {
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *Bridge) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		if c.method != "subscriptions/listen" {
			return true
		}
	}
	return false
}

// closeTime is how long ending the sessions may take: hosts kill a process that lingers.
const closeTime = 1500 * time.Millisecond

// stop ends what is going on, and the sessions at the servers.
func (b *Bridge) stop() {
	b.mu.Lock()
	for _, c := range b.calls {
		c.forget([]byte(`{"reason":"the host is gone"}`))
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.life), closeTime)
	defer cancel()
	var closing sync.WaitGroup
	for _, r := range b.remotes {
		closing.Go(func() { r.close(ctx) })
	}
	closing.Wait()
	b.end(errStopping)
	select {
	case <-b.work.empty():
	case <-ctx.Done():
	}
}

func (b *Bridge) write(line []byte) {
	if line == nil {
		return
	}
	if err := b.out.write(line); err != nil && !b.broken.Swap(true) {
		b.log.Debug("the host reads no more", "error", err)
	}
}

// nextID is the id of a request of the bridge's own. Hosts number theirs.
func (b *Bridge) nextID() []byte {
	return append(strconv.AppendInt([]byte(`"causeway-`), b.ids.Add(1), 10), '"')
}

// take handles one line of the host.
func (b *Bridge) take(line []byte) {
	if jsonrpc.IsBatch(line) {
		b.batch(line)
		return
	}
	msg, err := jsonrpc.Parse(line, jsonrpc.Limits{})
	if err != nil {
		b.refuse(err)
		return
	}
	b.message(msg, line, b.write)
}

func (b *Bridge) refuse(err error) {
	var e *jsonrpc.Error
	errors.As(err, &e)
	b.write(errorAnswer(e.ID, err))
}

// batch takes the messages of a batch (2025-03-26) one by one and answers its requests
// in one batch.
func (b *Bridge) batch(line []byte) {
	entries, err := jsonrpc.ParseBatch(line, jsonrpc.Limits{})
	if err != nil {
		b.refuse(err)
		return
	}
	var mu sync.Mutex
	var answers [][]byte
	missing := 0
	for _, e := range entries {
		if e.Err != nil || e.Message.Kind == jsonrpc.Request {
			missing++
		}
	}
	write := func(answer []byte) {
		mu.Lock()
		defer mu.Unlock()
		if answer != nil {
			answers = append(answers, answer)
		}
		if missing--; missing == 0 && answers != nil {
			b.write(array(answers))
		}
	}
	for _, e := range entries {
		if e.Err != nil {
			write(errorAnswer(e.Err.ID, e.Err))
			continue
		}
		b.message(e.Message, rebuilt(e.Message), write)
	}
}

func (b *Bridge) message(msg jsonrpc.Message, line []byte, write func([]byte)) {
	switch msg.Kind {
	case jsonrpc.Response:
		b.asks.answered(msg)
	case jsonrpc.Notification:
		b.notified(msg, line)
	case jsonrpc.Request:
		c, err := newCall(b.life, msg, line, write)
		if err != nil {
			c.fail(err)
			return
		}
		key := jsonrpc.IDKey(c.id)
		if !b.enter(key, c) {
			c.fail(refusal(jsonrpc.CodeInvalidRequest, "a request with this id is being worked on"))
			return
		}
		b.introduced(c)
		if c.method == "subscriptions/listen" {
			b.mu.Lock()
			b.opening[c] = make(chan struct{})
			b.mu.Unlock()
		}
		b.work.Go(func() {
			defer b.leave(key, c)
			b.serve(c)
		})
	}
}

func (b *Bridge) enter(key string, c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls[key] != nil {
		return false
	}
	b.calls[key] = c
	return true
}

func (b *Bridge) leave(key string, c *call) {
	b.mu.Lock()
	delete(b.calls, key)
	b.mu.Unlock()
	b.opened(c)
	c.cancel(nil)
}

// opened is called when a subscription is acknowledged, or over.
func (b *Bridge) opened(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch := b.opening[c]; ch != nil {
		close(ch)
		delete(b.opening, c)
	}
}

// inOrder has a call of a tool wait for the subscriptions that the host sent before it, as
// they would be in order on a pipe: what the tool brings about must be heard of. A server
// that is slow to acknowledge is not waited for long.
func (b *Bridge) inOrder(ctx context.Context) {
	b.mu.Lock()
	var waiting []chan struct{}
	for _, ch := range b.opening {
		waiting = append(waiting, ch)
	}
	b.mu.Unlock()
	if waiting == nil {
		return
	}
	timer := time.NewTimer(hearTime)
	defer timer.Stop()
	for _, ch := range waiting {
		select {
		case <-ch:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// serve answers one request of the host.
func (b *Bridge) serve(c *call) {
	switch {
	case c.method == "initialize":
		b.initialize(c)
	case c.method == "server/discover" && c.modern:
		b.discover(c)
	case c.method == "ping" && !c.modern:
		c.result([]byte(`{}`))
	default:
		b.route(c)
	}
}

func (b *Bridge) route(c *call) {
	if c.method == "tools/call" {
		b.inOrder(c.ctx)
	}
	if b.merged != nil {
		b.merged.handle(c)
		return
	}
	b.remotes[0].handle(c)
}

// notified takes a notification of the host.
func (b *Bridge) notified(msg jsonrpc.Message, line []byte) {
	switch msg.Method {
	case "notifications/initialized":
		b.mu.Lock()
		select {
		case <-b.initialized:
		default:
			close(b.initialized)
		}
		b.mu.Unlock()
	case "notifications/cancelled":
		if id := member(msg.Params, "requestId"); id != nil {
			b.mu.Lock()
			c := b.calls[jsonrpc.IDKey(id)]
			b.mu.Unlock()
			if c != nil && c.method != "initialize" {
				c.forget(msg.Params)
			}
		}
	case "notifications/progress":
		if r := b.asks.ofToken(member(msg.Params, "progressToken")); r != nil {
			b.forward(r, line)
		}
	default:
		for _, r := range b.remotes {
			b.forward(r, line)
		}
	}
}

// forward passes a notification on to a server of an old era.
func (b *Bridge) forward(r *remote, line []byte) {
	b.work.Go(func() {
		l, err := r.open(b.life)
		if err == nil {
			err = l.send(b.life, line)
		}
		if err != nil && b.life.Err() == nil {
			b.log.Debug("a notification did not reach the server", "error", err)
		}
	})
}

// ask puts a server's question to an old host, once that is ready for it.
func (b *Bridge) ask(ctx context.Context, r *remote, method string, params []byte) (jsonrpc.Message, error) {
	select {
	case <-b.initialized:
	case <-ctx.Done():
		return jsonrpc.Message{}, context.Cause(ctx)
	}
	return b.asks.put(ctx, r, method, params)
}

// toHost delivers a notification of a server.
func (b *Bridge) toHost(r *remote, d delivery, from *call) {
	b.mu.Lock()
	modern := b.modern
	b.mu.Unlock()
	if !modern {
		select {
		case <-b.initialized:
			b.write(d.raw)
		default:
			if !isListed(d.msg.Method) { // it has no list yet that could change
				b.write(d.raw)
			}
		}
		return
	}
	switch {
	case from != nil && from.parked == nil && from.watching == nil && has(d.msg.Params, "_meta", jsonrpc.MetaSubscriptionID):
		if d.msg.Method == "notifications/subscriptions/acknowledged" && r.reopened(d, from) {
			return
		}
		b.write(d.raw)
		b.opened(from)
	case isListed(d.msg.Method):
		b.listeners.tell(d, b.write)
	case d.msg.Method == "notifications/message":
		if from != nil && from.meta.LogLevel != nil {
			b.write(d.raw)
		}
	case d.msg.Method == "notifications/elicitation/complete":
	default:
		b.write(d.raw)
	}
}
