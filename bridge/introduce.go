package bridge

import (
	"context"
	"slices"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// introduced connects when the host says who it is: with initialize, or with the first
// request of 2026-07-28, all of which do. It must not wait: the requests that come after
// it need the attempts it starts.
func (b *Bridge) introduced(c *call) {
	b.mu.Lock()
	old := c.method == "initialize"
	first := c.modern && !old && !b.modern
	b.modern = !old && (b.modern || c.modern)
	b.mu.Unlock()
	switch {
	case old:
		c.intro = &intro{id: c.id, line: c.line, caps: member(c.params, "capabilities"), info: member(c.params, "clientInfo")}
		c.intro.version, _ = jsonrpc.String(member(c.params, "protocolVersion"))
		c.attempts = b.startAll(c.intro)
	case first:
		c.intro = &intro{modern: true, info: clone(c.meta.ClientInfo), caps: clone(c.meta.ClientCapabilities)}
		c.attempts = b.startAll(c.intro)
	}
}

// initialize answers an old host, within Options.InitializeWait whatever the server does:
// hosts take a server that is silent for broken, and a sign-in takes longer than that.
func (b *Bridge) initialize(c *call) {
	in, attempts := c.intro, c.attempts
	b.await(c.ctx, attempts)
	if b.merged != nil {
		c.result(b.merged.initialized(in, attempts))
		b.catchUp(attempts)
		return
	}
	r := b.remotes[0]
	l, err := attempts[0].state()
	switch {
	case l != nil && !l.modern() && jsonrpc.IDKey(l.about().answer.msg.ID) == jsonrpc.IDKey(c.id):
		c.answer(l.about().answer.raw)
	case l != nil:
		c.result(initializeResult(in, l.about()))
	default:
		known, ok := b.cache.about(r.server.URL)
		if err != nil && (!ok || !unsent(err)) {
			c.fail(err)
			return
		}
		if !ok {
			known = guessed(r)
			r.guessed.Store(true)
		}
		c.result(initializeResult(in, known))
		b.catchUp(attempts)
	}
}

// startAll connects to every server.
func (b *Bridge) startAll(in *intro) []*attempt {
	attempts := make([]*attempt, len(b.remotes))
	for i, r := range b.remotes {
		attempts[i] = r.start(in)
	}
	return attempts
}

// await waits until all attempts are over, or the host cannot be kept waiting.
func (b *Bridge) await(ctx context.Context, attempts []*attempt) {
	timer := time.NewTimer(b.opts.InitializeWait)
	defer timer.Stop()
	for _, a := range attempts {
		select {
		case <-a.done:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// state returns what an attempt has come to so far.
func (a *attempt) state() (link, error) {
	select {
	case <-a.done:
		return a.link, a.err
	default:
		return nil, nil
	}
}

// catchUp tells the host that what it was told at first may be wrong, once the servers
// that were late are there.
func (b *Bridge) catchUp(attempts []*attempt) {
	for i, a := range attempts {
		if l, _ := a.state(); l != nil {
			continue
		}
		r := b.remotes[i]
		b.work.Go(func() {
			select {
			case <-b.initialized:
			case <-b.life.Done():
				return
			}
			l, err := r.settled(b.life)
			if err == nil {
				r.changed(l)
			}
		})
	}
}

// settled returns the link once there is one, however long that takes.
func (r *remote) settled(ctx context.Context) (link, error) {
	for b := (backoff{}); ; {
		l, err := r.open(ctx)
		if err == nil || ctx.Err() != nil || !unsent(err) {
			return l, err
		}
		if err := sleep(ctx, b.next()); err != nil {
			return nil, err
		}
	}
}

// guessed is what a server may turn out to be that nobody has met.
func guessed(r *remote) about {
	return about{
		version:      v20251125,
		capabilities: []byte(`{"tools":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"prompts":{"listChanged":true},"logging":{},"completions":{}}`),
		info:         with(nil, pair{"name", quoted(r.w.url.Host)}, pair{"version", quoted("unknown")}),
	}
}

var oldVersions = []string{v20241105, v20250326, v20250618, v20251125}

// initializeResult introduces a server to an old host.
func initializeResult(in *intro, a about) []byte {
	version := in.version
	if !slices.Contains(oldVersions, version) {
		version = v20251125
	}
	info := a.info
	if !jsonrpc.IsObject(info) {
		info = []byte(`{"name":"unnamed","version":"unknown"}`)
	}
	return with(nil, pair{"protocolVersion", quoted(version)}, pair{"capabilities", orEmpty(a.capabilities)},
		pair{"serverInfo", info}, pair{"instructions", a.instructions})
}

func clone(raw []byte) []byte { return append([]byte(nil), raw...) }

// discover answers a host of 2026-07-28, in the time that initialize has.
func (b *Bridge) discover(c *call) {
	attempts := make([]*attempt, len(b.remotes))
	for i, r := range b.remotes {
		r.mu.Lock()
		attempts[i] = r.now
		r.mu.Unlock()
	}
	b.await(c.ctx, attempts)
	if b.merged != nil {
		c.result(b.merged.discovered(attempts))
		b.catchUpModern(attempts)
		return
	}
	r := b.remotes[0]
	l, err := attempts[0].state()
	switch {
	case l != nil && l.modern():
		c.result(l.about().answer.msg.Result)
	case l != nil:
		c.result(discoverResult(l.about()))
	default:
		known, ok := b.cache.about(r.server.URL)
		if err != nil && (!ok || !unsent(err)) {
			c.fail(err)
			return
		}
		if !ok {
			known = guessed(r)
			r.guessed.Store(true)
		}
		c.result(discoverResult(known))
		b.catchUpModern(attempts)
	}
}

func (b *Bridge) catchUpModern(attempts []*attempt) {
	b.mu.Lock()
	select {
	case <-b.initialized:
	default:
		close(b.initialized)
	}
	b.mu.Unlock()
	b.catchUp(attempts)
}

// discoverResult introduces an old server to a host of 2026-07-28.
func discoverResult(a about) []byte {
	caps := with(orEmpty(a.capabilities), pair{"tasks", nil}) // those of 2025-11-25 are others
	var meta []byte
	if jsonrpc.IsObject(a.info) {
		meta = with(nil, pair{jsonrpc.MetaServerInfo, a.info})
	}
	return completed("server/discover", with(nil, pair{"supportedVersions", []byte(`["` + v20260728 + `"]`)},
		pair{"capabilities", caps}, pair{"instructions", a.instructions}, pair{"_meta", meta}))
}
