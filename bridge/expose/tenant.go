package expose

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A tenant is a person as the server sees them: the server that the wire serves to
// them, and nobody else, and their children.
type tenant struct {
	s      *Server
	user   string
	digest string
	server *mcp.Server

	used    atomic.Int64 // Unix seconds
	streams atomic.Int64 // open streams that changes are told on

	mu       sync.Mutex
	slots    map[string]*slot
	mirrored map[string][]byte // tools with arguments in headers: their schemas
}

func newTenant(s *Server, user string) *tenant {
	t := &tenant{s: s, user: user, digest: "nobody", slots: make(map[string]*slot), mirrored: make(map[string][]byte)}
	if user != "" {
		t.digest = digest(user)
	}
	// The server has all capabilities: those of the child are put in their place when
	// a client asks, see relay.
	t.server = mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, &mcp.ServerOptions{
		Logger:             slog.New(slog.DiscardHandler), // it notes every session of the wire
		SubscribeHandler:   t.subscribe,
		UnsubscribeHandler: t.unsubscribe,
		Capabilities: &mcp.ServerCapabilities{
			Tools:       &mcp.ToolCapabilities{ListChanged: true},
			Prompts:     &mcp.PromptCapabilities{ListChanged: true},
			Resources:   &mcp.ResourceCapabilities{ListChanged: true, Subscribe: true},
			Logging:     &mcp.LoggingCapabilities{},
			Completions: &mcp.CompletionCapabilities{},
		},
		CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{}, nil // never reached: the child is asked
		},
	})
	t.server.AddReceivingMiddleware(t.relay)
	t.touch()
	return t
}

func (t *tenant) touch() { t.used.Store(time.Now().Unix()) }

// hold notes a stream that is open for as long as ctx lasts.
func (t *tenant) hold(ctx context.Context) {
	t.streams.Add(1)
	context.AfterFunc(ctx, func() { t.streams.Add(-1); t.touch() })
}

// isForgettable reports whether nothing would be lost with this server: all that
// concerns a session is in the store.
func (t *tenant) isForgettable(after time.Duration) bool {
	if t.streams.Load() > 0 || time.Since(time.Unix(t.used.Load(), 0)) < after {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.slots) == 0
}

// isShared reports that what a child says may be meant for one of several people.
func (t *tenant) isShared() bool { return t.user == "" }

// slotFor is the place of the child for a session.
func (t *tenant) slotFor(ss *mcp.ServerSession) (*slot, error) {
	key := ""
	if t.s.opts.Scope == PerSession {
		key = ss.ID()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	sl := t.slots[key]
	if sl == nil {
		if len(t.slots) >= t.s.opts.MaxChildrenPerUser {
			return nil, errTooMany
		}
		sl = newSlot(t, key)
		t.slots[key] = sl
	}
	return sl, nil
}

func (t *tenant) all() []*slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*slot, 0, len(t.slots))
	for _, sl := range t.slots {
		out = append(out, sl)
	}
	return out
}

// idlest is the slot whose child has been idle for longest, nil if none is.
func (t *tenant) idlest() *slot {
	var found *slot
	var since time.Time
	for _, sl := range t.all() {
		sl.mu.Lock()
		idle, used := sl.isIdle(), sl.used
		sl.mu.Unlock()
		if idle && (found == nil || used.Before(since)) {
			found, since = sl, used
		}
	}
	return found
}

// dropEmpty forgets slots that hold nothing worth remembering. What clients
// subscribed to and the log level they want is.
func (t *tenant) dropEmpty() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, sl := range t.slots {
		sl.mu.Lock()
		empty := sl.proc == nil && sl.starting == nil && sl.busy == 0 && len(sl.parked) == 0 &&
			len(sl.subs) == 0 && time.Since(sl.used) > t.s.opts.MaxBackoff && t.streams.Load() == 0
		sl.mu.Unlock()
		if empty {
			delete(t.slots, key)
		}
	}
}

// endSession ends what belongs to a session that is being deleted.
func (t *tenant) endSession(id string) {
	if id == "" {
		return
	}
	t.mu.Lock()
	own := t.slots[id]
	delete(t.slots, id)
	t.mu.Unlock()
	for _, sl := range t.all() {
		sl.forgetSession(id)
	}
	if own != nil {
		go own.end()
	}
}

// Features that stand in for those of the child, so that the SDK has something to
// announce a change of. Nobody gets to see them: lists are the child's.
const standIn = "causeway-changed"

var emptySchema = json.RawMessage(`{"type":"object"}`)

// announce tells clients that a list has changed.
func (t *tenant) announce(method string) {
	switch method {
	case "notifications/tools/list_changed":
		t.server.AddTool(&mcp.Tool{Name: standIn, InputSchema: emptySchema}, nil)
	case "notifications/prompts/list_changed":
		t.server.AddPrompt(&mcp.Prompt{Name: standIn}, nil)
	case "notifications/resources/list_changed":
		t.server.AddResource(&mcp.Resource{Name: standIn, URI: "causeway:changed"}, nil)
	}
}

// mirror lets the wire know of tools whose arguments are repeated in headers
// (2026-07-28, x-mcp-header), which it holds against each other. A program on stdio
// has no headers to look at, and a proxy in front of us may decide by them.
func (t *tenant) mirror(listed []byte) {
	if !bytes.Contains(listed, []byte("x-mcp-header")) {
		return
	}
	var list struct {
		Tools []struct {
			Name        string          `json:"name"`
			InputSchema json.RawMessage `json:"inputSchema"`
		} `json:"tools"`
	}
	if json.Unmarshal(listed, &list) != nil {
		return
	}
	for _, tool := range list.Tools {
		if !bytes.Contains(tool.InputSchema, []byte("x-mcp-header")) || tool.Name == standIn {
			continue
		}
		t.mu.Lock()
		known := bytes.Equal(t.mirrored[tool.Name], tool.InputSchema)
		if !known && len(t.mirrored) < maxMirrored {
			t.mirrored[tool.Name] = bytes.Clone(tool.InputSchema)
		}
		t.mu.Unlock()
		if !known {
			t.addMirror(tool.Name, tool.InputSchema)
		}
	}
}

const maxMirrored = 1000

func (t *tenant) addMirror(name string, schema json.RawMessage) {
	defer func() {
		if recover() != nil { // the SDK panics at a schema that is none
			t.s.log.Warn("a tool has a schema whose headers cannot be checked", "tool", name)
		}
	}()
	t.server.AddTool(&mcp.Tool{Name: name, InputSchema: bytes.Clone(schema)}, nil)
}
