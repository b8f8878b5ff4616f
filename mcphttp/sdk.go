package mcphttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What is known of the SDK's inside, found out by behaviour and not by name: a
// scratch server is asked to do things, and what it looks at is noted. If a new
// SDK behaves otherwise, sdkFacts fails and NewHandler reports it, instead of
// something going quietly wrong later.
type sdkFacts struct {
	// bare is the SDK's own receiving chain without any application middleware. It
	// finds the server through the session of the request, so it works for every
	// server.
	bare mcp.MethodHandler
	// send is the SDK's own sending handler, to recognize it again.
	sendPointer uintptr
	// requestID and logLevel are the context keys under which the SDK keeps the
	// JSON-RPC id (wanted by subscribe and listen) and the log level of a modern
	// request (wanted by ServerSession.Log).
	requestID, logLevel any
	// empty is the SDK's unexported empty result, the only value that
	// ServerSession.Ping accepts as an answer.
	empty mcp.Result
}

var facts = sync.OnceValues(func() (*sdkFacts, error) {
	f := new(sdkFacts)
	s := mcp.NewServer(&mcp.Implementation{Name: "scratch", Version: "0"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler { f.bare = next; return next })
	s.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		f.sendPointer = reflect.ValueOf(next).Pointer()
		return next
	})
	ss, err := connectPassive(s, "", &mcp.ServerSessionState{InitializeParams: &mcp.InitializeParams{ProtocolVersion: version20260728}})
	if err != nil {
		return nil, fmt.Errorf("mcphttp: this go-sdk cannot be hosted: connecting: %w", err)
	}
	var keys keyRecorder
	// Without an id in the context subscribe refuses; what it looked for is the key.
	_, err = f.bare(keys.watch(), methodSubscribe, &mcp.SubscribeRequest{Session: ss, Params: &mcp.SubscribeParams{URI: "scratch:x"}})
	if f.requestID = keys.last(); f.requestID == nil || err == nil {
		return nil, errors.New("mcphttp: this go-sdk cannot be hosted: resources/subscribe does not look up a request id (docs/decisions/0001-direct-dispatch.md)")
	}
	if err := ss.Log(keys.watch(), &mcp.LoggingMessageParams{Level: "debug", Data: "x"}); err != nil {
		return nil, fmt.Errorf("mcphttp: this go-sdk cannot be hosted: log: %w", err)
	}
	if f.logLevel = keys.last(); f.logLevel == nil || f.logLevel == f.requestID {
		return nil, errors.New("mcphttp: this go-sdk cannot be hosted: ServerSession.Log does not look up a level (docs/decisions/0001-direct-dispatch.md)")
	}
	if f.empty, err = f.bare(context.Background(), methodPing, &mcp.ServerRequest[*mcp.PingParams]{Session: ss, Params: &mcp.PingParams{}}); err != nil || f.empty == nil {
		return nil, fmt.Errorf("mcphttp: this go-sdk cannot be hosted: ping: %v", err)
	}
	return f, nil
})

// keyRecorder notes which keys are looked up in a context.
type keyRecorder struct {
	mu   sync.Mutex
	seen any
}

func (k *keyRecorder) watch() context.Context {
	k.mu.Lock()
	k.seen = nil
	k.mu.Unlock()
	return recordingContext{context.Background(), k}
}

func (k *keyRecorder) last() any {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}

type recordingContext struct {
	context.Context
	keys *keyRecorder
}

func (c recordingContext) Value(key any) any {
	c.keys.mu.Lock()
	c.keys.seen = key
	c.keys.mu.Unlock()
	return nil
}

// connectPassive makes a ServerSession that is a handle and nothing more: its
// connection is at its end from the start, so that the SDK keeps no goroutine for
// it and does not list it. What is sent through it ends in our sending
// middleware.
func connectPassive(s *mcp.Server, id string, state *mcp.ServerSessionState) (*mcp.ServerSession, error) {
	ss, err := s.Connect(context.Background(), endedConn(id), &mcp.ServerSessionOptions{State: state})
	if err != nil {
		return nil, err
	}
	// The SDK notices the end on a goroutine of its own and then forgets all that
	// the session subscribed to. That must be over before anything is subscribed.
	_ = ss.Wait()
	return ss, nil
}

// endedConn is a connection at its end; its value is the session id.
type endedConn string

func (c endedConn) Connect(context.Context) (mcp.Connection, error) { return c, nil }
func (c endedConn) SessionID() string                               { return string(c) }
func (c endedConn) Read(context.Context) (jsonrpc.Message, error)   { return nil, io.EOF }
func (c endedConn) Write(context.Context, jsonrpc.Message) error    { return io.ErrClosedPipe }
func (c endedConn) Close() error                                    { return nil }

// idleConn is a connection on which nothing ever arrives until it is closed; what
// is written to it is dropped.
type idleConn struct {
	closed chan struct{}
	once   sync.Once
}

func newIdleConn() *idleConn { return &idleConn{closed: make(chan struct{})} }

func (c *idleConn) Connect(context.Context) (mcp.Connection, error) { return c, nil }
func (c *idleConn) SessionID() string                               { return "" }
func (c *idleConn) Write(context.Context, jsonrpc.Message) error    { return nil }

func (c *idleConn) Read(context.Context) (jsonrpc.Message, error) {
	<-c.closed
	return nil, io.EOF
}

func (c *idleConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
