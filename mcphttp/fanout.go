package mcphttp

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A fanout spreads what concerns every session of a server. The SDK tells its
// own sessions of a changed list; ours are none of them. So one session of the
// SDK, the sentinel, listens for all of ours while there is any.
type fanout struct {
	host *host

	mu       sync.Mutex
	sentinel *mcp.ServerSession
	users    int
	idle     *time.Timer
	subs     map[*mcp.ServerSession]*subscription
}

// sentinelLinger is how long the sentinel stays after its last user, so that
// changes reach the event logs of clients that are just reconnecting.
const sentinelLinger = 5 * time.Minute

// hold keeps the sentinel up until the returned function is called.
func (f *fanout) hold() (release func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.idle != nil {
		f.idle.Stop()
		f.idle = nil
	}
	if f.sentinel == nil {
		s := f.host.server.Value()
		if s == nil {
			return nil, fmt.Errorf("mcphttp: the server is gone")
		}
		ss, err := s.Connect(context.Background(), newIdleConn(), &mcp.ServerSessionOptions{State: &mcp.ServerSessionState{
			InitializeParams:  &mcp.InitializeParams{ProtocolVersion: version20251125, Capabilities: &mcp.ClientCapabilities{}},
			InitializedParams: &mcp.InitializedParams{},
		}})
		if err != nil {
			return nil, fmt.Errorf("listening to the server: %w", err)
		}
		f.sentinel = ss
	}
	f.users++
	return sync.OnceFunc(f.drop), nil
}

func (f *fanout) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users--; f.users == 0 {
		f.idle = time.AfterFunc(sentinelLinger, f.retire)
	}
}

func (f *fanout) retire() {
	f.mu.Lock()
	ss := f.sentinel
	if f.users > 0 || ss == nil {
		f.mu.Unlock()
		return
	}
	f.sentinel, f.idle = nil, nil
	f.mu.Unlock()
	_ = ss.Close()
}

func (f *fanout) isSentinel(ss *mcp.ServerSession) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ss != nil && ss == f.sentinel
}

// broadcast sends a list change to every session that can hear it.
func (f *fanout) broadcast(method string, params mcp.Params) error {
	if !isListChanged(method) {
		return nil
	}
	if method == noteToolListChanged {
		f.host.tools.invalidate()
	}
	raw, err := marshal(params)
	if err != nil {
		return err
	}
	if string(raw) == "null" {
		raw = nil
	}
	msg := jsonrpc.AppendNotification(nil, method, raw)
	for _, s := range f.host.sessions.all() {
		_ = s.emit(msg)
	}
	return nil
}

// A subscription is one subscriptions/listen stream of 2026-07-28.
type subscription struct {
	id  []byte // the raw JSON-RPC id of its request, which names it on every message
	out *queue
	// session is what the server knows the subscriber by.
	session *mcp.ServerSession
	// acked is closed when the acknowledgement has been queued.
	acked chan struct{}

	mu    sync.Mutex
	told  bool    // acked is closed
	early []event // what came before

	tasks []string // the tasks it follows
}

func (f *fanout) subscribe(ss *mcp.ServerSession, s *subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subs == nil {
		f.subs = make(map[*mcp.ServerSession]*subscription)
	}
	f.subs[ss] = s
}

func (f *fanout) unsubscribe(ss *mcp.ServerSession) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, ss)
}

func (f *fanout) subscription(ss *mcp.ServerSession) *subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subs[ss]
}

// deliver queues a notification, marked with the subscription it belongs to.
func (s *subscription) deliver(method string, params mcp.Params) error {
	if !isNotification(method) || method == noteProgress || method == noteMessage {
		return fmt.Errorf("%s: %w", method, ErrNoCall) // the stream carries only what was subscribed to
	}
	meta := maps.Clone(params.GetMeta())
	if meta == nil {
		meta = map[string]any{}
	}
	delete(meta, mcp.MetaKeySubscriptionID)
	delete(meta, metaSource)
	raw, err := marshal(params)
	if err != nil {
		return err
	}
	if method == noteListenAcknowledged {
		if raw, err = s.withTasks(raw); err != nil {
			return err
		}
	}
	rest := jsonrpc.Without(raw, "_meta")
	m, err := marshal(meta)
	if err != nil {
		return err
	}
	msg := s.mark(rest, m)
	return s.put(event{data: jsonrpc.AppendNotification(nil, method, msg)}, method == noteListenAcknowledged)
}

// put queues a message. The acknowledgement must be the first (2026-07-28,
// subscriptions/listen), and the server may have something to tell before it has
// acknowledged: that waits.
func (s *subscription) put(ev event, ack bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ack && !s.told {
		if len(s.early) < s.out.maxLen {
			s.early = append(s.early, ev)
		}
		return nil
	}
	for _, ev := range append([]event{ev}, s.early...) {
		if !s.out.put(ev) {
			return errStreamClosed
		}
	}
	s.early = nil
	if ack && !s.told {
		s.told = true
		close(s.acked)
	}
	return nil
}

// mark adds `_meta` with the subscription's id to an object.
func (s *subscription) mark(object, meta []byte) []byte {
	out := append([]byte(`{"_meta":{"`+mcp.MetaKeySubscriptionID+`":`), s.id...)
	if len(meta) > 2 {
		out = append(append(out, ','), meta[1:]...)
	} else {
		out = append(out, '}')
	}
	if len(object) > 2 {
		out = append(append(out, ','), object[1:]...)
		return out
	}
	return append(out, '}')
}
