package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// This file and sdk.go are the only ones that lean on what go-sdk does without
// promising it. Every such behaviour has a test in sdk_test.go;
// docs/decisions/0001-direct-dispatch.md says why we lean on it at all.

// A host is an *mcp.Server as we use it: the whole of its receiving side as one
// function, and its sending side cut open so that what handlers emit for our
// sessions reaches our streams.
//
// There is at most one host per server in a process, however many handlers and
// mounts it has. The host lives as long as the server: it is held by the
// middleware it installed there.
type host struct {
	// receive is the server's handler chain as it stood when the server was first
	// captured. Middleware added later is not seen; NewHandler's doc says so.
	receive mcp.MethodHandler
	// send is the sending chain below ours: for sessions that are not ours.
	send mcp.MethodHandler
	// sendsThroughApp reports that the application has sending middleware, so that
	// send is more than the SDK's own.
	sendsThroughApp bool

	server   weak.Pointer[mcp.Server]
	sdk      *sdkFacts
	versions []string // protocol versions the server serves, newest first
	// infoMember is `"io.modelcontextprotocol/serverInfo":{…}`, spliced into the
	// _meta of every modern result.
	infoMember []byte
	info       json.RawMessage
	name       string

	sessions liveSessions
	fan      fanout
	passives passiveCache
	tools    toolIndex
	tasks    *taskKinds
	keepers  atomic.Int64 // sessions with a record that are subscribed to something
	// deliveries are the sources that are being told of: source → *delivery.
	deliveries sync.Map

	mountsMu sync.Mutex
	mounts   []weak.Pointer[Handler]
}

// mount notes that a handler serves this server.
func (h *host) mount(m *Handler) {
	h.mountsMu.Lock()
	defer h.mountsMu.Unlock()
	h.mounts = append(slices.DeleteFunc(h.mounts, func(w weak.Pointer[Handler]) bool { return w.Value() == nil }), weak.Make(m))
}

func (h *host) mountedBy() []*Handler {
	h.mountsMu.Lock()
	defer h.mountsMu.Unlock()
	var out []*Handler
	for _, w := range h.mounts {
		if m := w.Value(); m != nil {
			out = append(out, m)
		}
	}
	return out
}

// hosts finds the host of a server. It is package state because the question
// "has this server been captured already?" is about the process, not about any
// one handler. Both sides are weak: an entry keeps neither server nor host alive.
var hosts sync.Map // weak.Pointer[mcp.Server] → *hostEntry

type hostEntry struct {
	once sync.Once
	host weak.Pointer[host]
	err  error
	// The kinds of task that AddTask registered, before and after the capture.
	tasks *taskKinds
}

func entryOf(s *mcp.Server) *hostEntry {
	key := weak.Make(s)
	v, ok := hosts.Load(key)
	if !ok {
		var loaded bool
		if v, loaded = hosts.LoadOrStore(key, &hostEntry{tasks: new(taskKinds)}); !loaded {
			runtime.AddCleanup(s, func(k weak.Pointer[mcp.Server]) { hosts.Delete(k) }, key)
		}
	}
	return v.(*hostEntry)
}

// hostOf returns the server's host, capturing the server the first time.
func hostOf(s *mcp.Server) (*host, error) {
	e := entryOf(s)
	e.once.Do(func() {
		var h *host
		if h, e.err = capture(s, e.tasks); e.err == nil {
			e.host = weak.Make(h)
		}
	})
	if e.err != nil {
		return nil, e.err
	}
	h := e.host.Value() // held by the server's middleware, and s is alive
	runtime.KeepAlive(s)
	return h, nil
}

func capture(s *mcp.Server, tasks *taskKinds) (*host, error) {
	sdk, err := facts()
	if err != nil {
		return nil, err
	}
	h := &host{server: weak.Make(s), sdk: sdk, tasks: tasks}
	h.fan.host, h.passives.host, h.tools.host = h, h, h
	if err := h.introspect(s); err != nil {
		return nil, fmt.Errorf("mcphttp: looking into the server: %w", err)
	}
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		h.receive = next
		return next
	})
	s.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		h.send = next
		h.sendsThroughApp = reflect.ValueOf(next).Pointer() != sdk.sendPointer
		return h.sending
	})
	return h, nil
}

// introspect learns the server's identity and protocol versions through the
// SDK's own chain, so that no middleware of the application runs.
func (h *host) introspect(s *mcp.Server) error {
	ss, err := connectPassive(s, "", nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	res, err := h.sdk.bare(ctx, methodDiscover, &mcp.ServerRequest[*mcp.DiscoverParams]{Session: ss, Params: &mcp.DiscoverParams{}})
	if err != nil {
		return fmt.Errorf("server/discover: %w", err)
	}
	discovered, ok := res.(*mcp.DiscoverResult)
	if !ok {
		return fmt.Errorf("server/discover: unexpected result %T", res)
	}
	h.versions = discovered.SupportedVersions
	if ss, err = connectPassive(s, "", nil); err != nil {
		return err
	}
	res, err = h.sdk.bare(ctx, methodInitialize, &mcp.ServerRequest[*mcp.InitializeParams]{Session: ss,
		Params: &mcp.InitializeParams{ProtocolVersion: version20251125, Capabilities: &mcp.ClientCapabilities{}}})
	if err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	initialized, ok := res.(*mcp.InitializeResult)
	if !ok || initialized.ServerInfo == nil {
		return errors.New("initialize: no server info")
	}
	if h.info, err = json.Marshal(initialized.ServerInfo); err != nil {
		return fmt.Errorf("encoding the server info: %w", err)
	}
	h.name = initialized.ServerInfo.Name
	h.infoMember = append([]byte(`"`+mcp.MetaKeyServerInfo+`":`), h.info...)
	return nil
}

// connect makes a passive session of the server.
func (h *host) connect(id string, state *mcp.ServerSessionState) (*mcp.ServerSession, error) {
	s := h.server.Value()
	if s == nil {
		return nil, errors.New("mcphttp: the server is gone")
	}
	if !h.sendsThroughApp {
		return connectPassive(s, id, state)
	}
	w := &wireConn{host: h, id: id, in: make(chan sdkrpc.Message), closed: make(chan struct{})}
	ss, err := s.Connect(context.Background(), w, &mcp.ServerSessionOptions{State: state})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.ss = ss
	w.mu.Unlock()
	return ss, nil
}
