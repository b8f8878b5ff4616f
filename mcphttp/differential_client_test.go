package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// newTalkingServer adds to the server of every kind the tools that speak to their client during a call.
func newTalkingServer() *mcp.Server {
	s := newEveryKindServer()
	s.AddTool(&mcp.Tool{Name: "talks", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 3 {
			_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i), Total: 3, Message: "☃"})
		}
		_ = r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "warning", Logger: "l", Data: map[string]any{"n": nil}})
		_ = r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "debug", Data: "unheard"})
		return &mcp.CallToolResult{}, nil
	})
	asks := func(name string, ask func(context.Context, *mcp.ServerSession) (any, error)) {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, err := ask(ctx, r.Session)
			if err != nil {
				return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: "refused"}}}, nil
			}
			return &mcp.CallToolResult{StructuredContent: map[string]any{"got": res}}, nil
		})
	}
	asks("elicits", func(ctx context.Context, ss *mcp.ServerSession) (any, error) {
		return ss.Elicit(ctx, &mcp.ElicitParams{Message: "who?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"who":{"type":"string"}}}`)})
	})
	asks("samples", func(ctx context.Context, ss *mcp.ServerSession) (any, error) {
		return ss.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 5, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "hi"}}}})
	})
	asks("roots", func(ctx context.Context, ss *mcp.ServerSession) (any, error) {
		return ss.ListRoots(ctx, &mcp.ListRootsParams{})
	})
	return s
}

// clientSees drives the SDK's own client through every feature and returns what it saw, in order.
func clientSees(t *testing.T, url, version string) []string {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var mu sync.Mutex
	var seen, notes []string
	note := func(kind string, p any) {
		b, _ := json.Marshal(p)
		mu.Lock()
		notes = append(notes, kind+" "+string(b))
		mu.Unlock()
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"who": "me"}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "ho"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { note("progress", r.Params) },
		LoggingMessageHandler:       func(_ context.Context, r *mcp.LoggingMessageRequest) { note("log", r.Params) },
	})
	c.AddRoots(&mcp.Root{URI: "file:///r", Name: "r"})
	cs, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close()
	saw := func(what string, v any, err error) {
		if err != nil {
			var wire *jsonrpc.Error
			if errors.As(err, &wire) {
				code := wire.Code
				if code == 0 {
					code = -32603 // listed: an error without a code is an internal error
				}
				seen = append(seen, fmt.Sprint(what, " error ", code))
				return
			}
			seen = append(seen, what+" error")
			return
		}
		b, _ := json.Marshal(v)
		seen = append(seen, what+" "+string(b))
	}
	saw("initialize", cs.InitializeResult(), nil)
	for v, err := range cs.Tools(ctx, nil) {
		saw("tool", v, err)
	}
	for v, err := range cs.Prompts(ctx, nil) {
		saw("prompt", v, err)
	}
	for v, err := range cs.Resources(ctx, nil) {
		saw("resource", v, err)
	}
	for v, err := range cs.ResourceTemplates(ctx, nil) {
		saw("template", v, err)
	}
	if version != "2026-07-28" {
		saw("level", nil, cs.SetLoggingLevel(ctx, &mcp.SetLoggingLevelParams{Level: "info"}))
	}
	for _, name := range []string{"typed", "any", "untyped", "renamed", "short", "nobody", "elicits", "samples", "roots", "talks"} {
		for _, args := range []map[string]any{nil, {}, {"text": "a", "list": []string{}, "map": map[string]any{"x": 1e21}}, {"do": "many"}, {"text": "rpc"}} {
			p := &mcp.CallToolParams{Name: name, Arguments: args}
			p.SetProgressToken("p")
			v, err := cs.CallTool(ctx, p)
			saw("call "+name, v, err)
		}
	}
	for _, who := range []string{"me", "error", "empty"} {
		v, err := cs.GetPrompt(ctx, &mcp.GetPromptParams{Name: "plain", Arguments: map[string]string{"who": who}})
		saw("prompt "+who, v, err)
	}
	for _, uri := range []string{"file:///a", "db://t/1", "db://t/error", "db://t/missing", "db://t/empty", "::"} {
		v, err := cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
		saw("read "+uri, v, err)
	}
	v, err := cs.Complete(ctx, &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "plain"}, Argument: mcp.CompleteParamsArgument{Name: "who", Value: "a"}})
	saw("complete", v, err)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(notes) // which handler of the client runs first is not the server's doing
	return append(seen, notes...)
}

// ofNull is what a tool that tells its arguments says of null where it says this of an empty object.
var ofNull = strings.NewReplacer(`"text":"{}"`, `"text":"null"`, `,"structuredContent":{}`, "")

func TestTheSDKsClientSeesTheSameServer(t *testing.T) {
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			theirs, ours := newTalkingServer(), newTalkingServer()
			want := clientSees(t, serveHTTP(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return theirs },
				&mcp.StreamableHTTPOptions{Stateless: version == "2026-07-28"})), version)
			got := clientSees(t, serveHTTP(t, NewHandler(func(*http.Request) *mcp.Server { return ours }, &Options{AllowAnonymous: true})), version)
			if len(want) != len(got) {
				t.Errorf("the SDK's handler showed %d things, ours %d", len(want), len(got))
			}
			for i := range min(len(want), len(got)) {
				// listed: a result made by middleware has its resultType
				listed := strings.HasPrefix(want[i], "call short ") && strings.TrimSuffix(want[i], "}")+`,"resultType":"complete"}` == got[i]
				// listed: null arguments are an empty object (the first call of each tool has them)
				listed = listed || strings.HasPrefix(want[i], "call ") && want[i] == ofNull.Replace(got[i])
				if want[i] != got[i] && !listed {
					t.Errorf("\n  SDK  %s\n  here %s", want[i], got[i])
				}
			}
		})
	}
}
