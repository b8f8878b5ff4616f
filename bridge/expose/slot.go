package expose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A slot is the place of one child: of a person, or of one of their sessions. The
// child in it comes and goes.
type slot struct {
	t   *tenant
	key string // the session, or ""
	log *slog.Logger

	mu       sync.Mutex
	proc     *process
	starting *start
	failures int       // ends in a row that nobody wished
	pause    time.Time // no start before
	lastEnd  error
	used     time.Time
	busy     int // calls that need the child

	calls    map[int64]*call    // at work, by the number of their request
	parked   map[string]*parked // that wait for the next round
	asks     map[string]func()  // questions of the child: what cancels them
	subs     map[string]map[*mcp.ServerSession]struct{}
	levels   map[string]mcp.LoggingLevel
	sessions []*mcp.ServerSession // of the session eras, the latest last
}

// A start is a child being started, which several requests may wait for.
type start struct {
	done chan struct{}
	err  error
}

func newSlot(t *tenant, key string) *slot {
	return &slot{
		t: t, key: key, log: t.s.log.With("user", t.digest), used: time.Now(),
		calls: make(map[int64]*call), parked: make(map[string]*parked), asks: make(map[string]func()),
		subs: make(map[string]map[*mcp.ServerSession]struct{}), levels: make(map[string]mcp.LoggingLevel),
	}
}

// acquire returns the child, started if need be. It stays until release.
func (sl *slot) acquire(ctx context.Context, ss *mcp.ServerSession) (*process, error) {
	for {
		sl.mu.Lock()
		sl.used = time.Now()
		if sl.proc != nil && sl.proc.failure() == nil {
			p := sl.proc
			sl.busy++
			sl.mu.Unlock()
			return p, nil
		}
		st := sl.starting
		if st == nil {
			if wait := time.Until(sl.pause); wait > 0 {
				err := sl.lastEnd
				sl.mu.Unlock()
				return nil, fmt.Errorf("%w; it is started again in %v at the earliest", err, wait.Round(time.Second)+time.Second)
			}
			st = &start{done: make(chan struct{})}
			sl.starting = st
			// The start outlasts the request that began it: others may wait for it too.
			go sl.start(context.WithoutCancel(ctx), st, ss.InitializeParams())
		}
		sl.mu.Unlock()
		select {
		case <-st.done:
			if st.err != nil {
				return nil, st.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (sl *slot) release() {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.busy--
	sl.used = time.Now()
}

func (sl *slot) start(ctx context.Context, st *start, client *mcp.InitializeParams) {
	p, err := sl.launch(ctx, client)
	sl.mu.Lock()
	sl.starting = nil
	if err != nil {
		sl.ended(err, 0)
	} else {
		sl.proc = p
	}
	st.err = err
	sl.mu.Unlock()
	close(st.done)
	if err != nil {
		sl.log.Warn("an exposed program could not be started", "error", err)
		return
	}
	sl.log.Debug("an exposed program was started", "pid", p.group.pid, "version", p.hello.version)
	began := time.Now()
	<-p.dead
	why := p.failure()
	if !errors.Is(why, errStopped) {
		p.kill() // one that only does not read would live on, and keep its place
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.proc == p {
		sl.proc = nil
	}
	if !errors.Is(why, errStopped) {
		sl.ended(why, time.Since(began))
		sl.log.Warn("an exposed program ended by itself", "reason", why, "after", time.Since(began).Round(time.Millisecond))
	}
}

// goodLife is how long a child must have lived for its end to be the first again.
const goodLife = time.Minute

// ended works out when the next child may start. sl.mu is held.
func (sl *slot) ended(why error, life time.Duration) {
	if life >= goodLife {
		sl.failures = 0
	}
	sl.failures++
	sl.lastEnd = why
	if sl.failures == 1 {
		return
	}
	sl.pause = time.Now().Add(min(time.Second<<min(sl.failures-2, 20), sl.t.s.opts.MaxBackoff))
}

// launch starts a child and greets it.
func (sl *slot) launch(ctx context.Context, client *mcp.InitializeParams) (*process, error) {
	s := sl.t.s
	if err := s.place(); err != nil {
		return nil, err
	}
	p, err := sl.spawn(ctx)
	if err != nil {
		s.leave()
		return nil, sl.hidden(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.StartTimeout, fmt.Errorf("the program did not answer within %v", s.opts.StartTimeout))
	defer cancel()
	if p.hello, err = greet(ctx, p.conn, s.opts.Era, saysOf(client, s.opts.Roots)); err != nil {
		p.fail(err)
		p.kill()
		<-p.done
		return nil, fmt.Errorf("the program does not speak MCP with us: %w", err)
	}
	sl.restore(ctx, p)
	return p, nil
}

// spawn starts the program for the person of the request that ctx belongs to.
func (sl *slot) spawn(ctx context.Context) (*process, error) {
	s := sl.t.s
	home, err := homeOf(s.opts.Dir, sl.t.user)
	if err != nil {
		return nil, err
	}
	l, err := s.recipe.prepare(Data{User: sl.t.user, Dir: home, Session: sl.key, Props: s.opts.Props(ctx)})
	if err != nil {
		return nil, err
	}
	return s.startProcess(l, sl, sl.log)
}

// hidden tells the log what went wrong and returns what a client may know of it.
func (sl *slot) hidden(err error) error {
	sl.log.Error("an exposed program cannot be started", "error", err)
	return errors.New("the program cannot be started; the server's log says why")
}

// restore tells a new child what the one before knew.
func (sl *slot) restore(ctx context.Context, p *process) {
	sl.mu.Lock()
	uris := make([]string, 0, len(sl.subs))
	for uri := range sl.subs {
		uris = append(uris, uri)
	}
	sl.mu.Unlock()
	if p.hello.modern {
		sl.relisten(p)
	} else {
		for _, uri := range uris {
			if _, err := p.call(ctx, "resources/subscribe", uriParams(uri)); err != nil {
				sl.log.Warn("a subscription could not be restored", "error", err)
			}
		}
	}
	sl.setLevel(ctx, p)
}

func (sl *slot) lastUse() time.Time {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.used
}

// isIdle reports whether a child is there that nobody needs. sl.mu is held.
func (sl *slot) isIdle() bool {
	return sl.proc != nil && sl.starting == nil && sl.busy == 0 && len(sl.parked) == 0 && len(sl.subs) == 0
}

// sleep ends the child if it has been idle for that long, and waits for its end.
func (sl *slot) sleep(after time.Duration) bool {
	sl.mu.Lock()
	if !sl.isIdle() || time.Since(sl.used) < after {
		sl.mu.Unlock()
		return false
	}
	p := sl.proc
	sl.proc = nil
	sl.mu.Unlock()
	sl.log.Debug("an exposed program goes to sleep")
	p.stop(sl.t.s.opts.StopGrace)
	return true
}

// end ends the child whatever it does.
func (sl *slot) end() {
	sl.mu.Lock()
	p := sl.proc
	sl.proc = nil
	sl.mu.Unlock()
	if p != nil {
		p.stop(sl.t.s.opts.StopGrace)
	}
}
