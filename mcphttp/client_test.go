package mcphttp

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addIn is the input of the tests' typed tool.
type addIn struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

type addOut struct {
	Sum float64 `json:"sum"`
}

// newServer is a server as go-sdk users write them.
func newServer(opts *mcp.ServerOptions) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1.0.0"}, opts)
	mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "adds"}, func(_ context.Context, _ *mcp.CallToolRequest, in addIn) (*mcp.CallToolResult, addOut, error) {
		return nil, addOut{in.A + in.B}, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "name"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		res, err := Elicit(ctx, &mcp.ElicitParams{Message: "Your name?", RequestedSchema: map[string]any{
			"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}})
		if err != nil {
			return nil, nil, err
		}
		again, err := Elicit(ctx, &mcp.ElicitParams{Message: "Sure?"})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(res.Content["name"], " ", again.Action)}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "progress"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i)}); err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, nil
	})
	return s
}

// serve runs a handler for s on loopback.
func serve(t testing.TB, s *mcp.Server, opts *Options) (*Handler, string) {
	t.Helper()
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, opts)
	ts := httptest.NewServer(h)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = h.Shutdown(ctx)
		ts.CloseClientConnections()
		ts.Close()
	})
	return h, ts.URL
}

func connect(t testing.TB, url string, legacy bool, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, opts)
	var co *mcp.ClientSessionOptions
	if legacy {
		co = &mcp.ClientSessionOptions{ProtocolVersion: version20251125}
	}
	cs, err := c.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: url}, co)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { cs.Close() })
	return cs
}

func text(t testing.TB, res *mcp.CallToolResult) string {
	t.Helper()
	if len(res.Content) == 0 {
		return ""
	}
	tc, ok := res.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("content is %T", res.Content[0])
	}
	return tc.Text
}

func TestTheSDKsClientInBothEras(t *testing.T) {
	for _, legacy := range []bool{true, false} {
		t.Run(fmt.Sprintf("legacy %v", legacy), func(t *testing.T) {
			_, url := serve(t, newServer(nil), nil)
			progress := make(chan float64, 10)
			cs := connect(t, url, legacy, &mcp.ClientOptions{
				ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					if r.Params.Message == "Sure?" {
						return &mcp.ElicitResult{Action: "decline"}, nil
					}
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
				},
				ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
			})
			ctx := context.Background()
			res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "add", Arguments: addIn{1, 2}})
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, res); got != `{"sum":3}` {
				t.Errorf("add: %s", got)
			}
			if res, err = cs.CallTool(ctx, &mcp.CallToolParams{Name: "name"}); err != nil {
				t.Fatal(err)
			}
			if got := text(t, res); got != "Ada decline" {
				t.Errorf("name: %s", got)
			}
			p := &mcp.CallToolParams{Name: "progress"}
			p.SetProgressToken("tok")
			if _, err = cs.CallTool(ctx, p); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				select {
				case got := <-progress:
					if got != float64(i) {
						t.Errorf("progress %v, want %d", got, i)
					}
				case <-time.After(5 * time.Second):
					t.Fatal("no progress")
				}
			}
			tools, err := cs.ListTools(ctx, nil)
			if err != nil || len(tools.Tools) != 3 {
				t.Errorf("tools: %v %v", tools, err)
			}
		})
	}
}
