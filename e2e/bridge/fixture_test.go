package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An old server, written with the Go SDK, with the tools that every host of the matrix
// calls: the same as modern-server.mjs and causeway demo.
type oldServer struct {
	*mcp.Server
	mu                    sync.Mutex
	baking, done, stopped int
	board                 string
}

func newOldServer() *oldServer {
	s := &oldServer{}
	s.Server = mcp.NewServer(&mcp.Implementation{Name: "go-sdk-old", Version: "1.0.0"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	mcp.AddTool(s.Server, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		A float64 `json:"a"`
		B float64 `json:"b"`
	}) (*mcp.CallToolResult, any, error) {
		return text("%g", in.A+in.B), nil, nil
	})
	mcp.AddTool(s.Server, &mcp.Tool{Name: "report"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return text("%s", strings.Repeat("x", 1<<20)), nil, nil
	})
	type weather struct {
		Region string `json:"region"`
		City   string `json:"city"`
	}
	schema, err := jsonschema.For[weather](nil)
	if err != nil {
		panic(err)
	}
	schema.Properties["region"].Extra = map[string]any{"x-mcp-header": "Region"}
	mcp.AddTool(s.Server, &mcp.Tool{Name: "weather", InputSchema: schema}, func(_ context.Context, _ *mcp.CallToolRequest, in weather) (*mcp.CallToolResult, any, error) {
		return text("It is dry in %s (%s).", in.City, in.Region), nil, nil
	})
	mcp.AddTool(s.Server, &mcp.Tool{Name: "book_table"}, s.bookTable)
	mcp.AddTool(s.Server, &mcp.Tool{Name: "haiku"}, haiku)
	mcp.AddTool(s.Server, &mcp.Tool{Name: "roots"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		res, err := req.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		var uris []string
		for _, r := range res.Roots {
			uris = append(uris, r.URI)
		}
		return text("%s", strings.Join(uris, ",")), nil, nil
	})
	mcp.AddTool(s.Server, &mcp.Tool{Name: "bake"}, s.bake)
	mcp.AddTool(s.Server, &mcp.Tool{Name: "post_note"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		Note string `json:"note"`
	}) (*mcp.CallToolResult, any, error) {
		s.mu.Lock()
		s.board = in.Note
		s.mu.Unlock()
		return text("pinned"), nil, s.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: "demo://board"})
	})
	mcp.AddTool(s.Server, &mcp.Tool{Name: "surprise"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		Shown bool `json:"shown"`
	}) (*mcp.CallToolResult, any, error) {
		if !in.Shown {
			s.RemoveTools("open_box")
			return text("false"), nil, nil
		}
		mcp.AddTool(s.Server, &mcp.Tool{Name: "open_box"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return text("A smaller box."), nil, nil
		})
		return text("true"), nil, nil
	})
	for _, uri := range []string{"demo://board", "demo://kitchen"} {
		s.AddResource(&mcp.Resource{URI: uri, Name: uri}, s.read)
	}
	return s
}

func text(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

func (s *oldServer) bookTable(ctx context.Context, req *mcp.CallToolRequest, in struct {
	Restaurant string `json:"restaurant"`
}) (*mcp.CallToolResult, any, error) {
	details, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "A table at " + in.Restaurant + ": when?", RequestedSchema: &jsonschema.Schema{
		Type: "object", Properties: map[string]*jsonschema.Schema{"day": {Type: "string"}, "people": {Type: "integer"}, "outside": {Type: "boolean"}},
	}})
	if err != nil {
		return nil, nil, err
	}
	sure, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: fmt.Sprintf("Really %v people?", details.Content["people"]), RequestedSchema: &jsonschema.Schema{
		Type: "object", Properties: map[string]*jsonschema.Schema{"because": {Type: "string"}},
	}})
	if err != nil {
		return nil, nil, err
	}
	if sure.Action != "accept" {
		return text("Not booked."), nil, nil
	}
	where := "inside"
	if details.Content["outside"] == true {
		where = "outside"
	}
	return text("Booked at %s: %v, %v people, %s.", in.Restaurant, details.Content["day"], details.Content["people"], where), nil, nil
}

func haiku(ctx context.Context, req *mcp.CallToolRequest, in struct {
	Topic string `json:"topic"`
}) (*mcp.CallToolResult, any, error) {
	res, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 100, Messages: []*mcp.SamplingMessage{
		{Role: "user", Content: &mcp.TextContent{Text: "Write a haiku about " + in.Topic + "."}},
	}})
	if err != nil {
		return nil, nil, err
	}
	return text("%s\n\n(by %s)", res.Content.(*mcp.TextContent).Text, res.Model), nil, nil
}

func (s *oldServer) count(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *oldServer) bake(ctx context.Context, req *mcp.CallToolRequest, in struct {
	Steps        int `json:"steps"`
	Milliseconds int `json:"milliseconds"`
}) (*mcp.CallToolResult, any, error) {
	s.count(func() { s.baking++ })
	for step := range in.Steps {
		select {
		case <-time.After(time.Duration(in.Milliseconds) * time.Millisecond):
		case <-ctx.Done():
			s.count(func() { s.baking--; s.stopped++ })
			return nil, nil, ctx.Err()
		}
		if token := req.Params.GetProgressToken(); token != nil {
			req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: float64(step + 1), Total: float64(in.Steps)})
		}
	}
	s.count(func() { s.baking--; s.done++ })
	return text("The cake is done, after %d steps.", in.Steps), nil, nil
}

func (s *oldServer) read(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := s.board
	if req.Params.URI == "demo://kitchen" {
		data, err := json.Marshal(map[string]int{"baking": s.baking, "done": s.done, "stopped": s.stopped})
		if err != nil {
			return nil, err
		}
		value = string(data)
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: value}}}, nil
}

// serveOld serves with sessions: revisions up to 2025-11-25.
func serveOld(t *testing.T) string {
	s := newOldServer()
	return serve(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.Server }, nil)) + "/mcp"
}

// serveSSE serves the transport of 2024-11-05.
func serveSSE(t *testing.T) string {
	s := newOldServer()
	return serve(t, mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s.Server }, nil)) + "/sse"
}

func serve(t *testing.T, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() }) // it does not wait for handlers, which the SDK's may make it do for ever
	return "http://" + l.Addr().String()
}
