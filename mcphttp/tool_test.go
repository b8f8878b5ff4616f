package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What AddTool does with arguments and results is tested against the SDK's in
// internal/typedtool; these show how it is tied in.

type sumArgs struct {
	A int `json:"a"`
	B int `json:"b"`
}

type sum struct {
	Sum int `json:"sum"`
}

func sumTool(_ context.Context, _ *mcp.CallToolRequest, in sumArgs) (*mcp.CallToolResult, sum, error) {
	return nil, sum{in.A + in.B}, nil
}

func TestAddToolWorksOnTheSDKsTransports(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	AddTool(s, &mcp.Tool{Name: "add"}, sumTool)
	serverSide, clientSide := mcp.NewInMemoryTransports()
	if _, err := s.Connect(t.Context(), serverSide, nil); err != nil {
		t.Fatal(err)
	}
	client, err := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil).Connect(t.Context(), clientSide, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	res, err := client.CallTool(t.Context(), &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 1, "b": 2}})
	if err != nil || res.IsError || fmt.Sprint(res.StructuredContent) != "map[sum:3]" {
		t.Errorf("got %+v, %v", res, err)
	}
	res, err = client.CallTool(t.Context(), &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 1, "b": "2"}})
	if err != nil || !res.IsError || !strings.Contains(res.Content[0].(*mcp.TextContent).Text, "/properties/b") {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestAddToolPassesErrAskedOn(t *testing.T) {
	asked := fmt.Errorf("confirming: %w", ErrAsked)
	_, handler := mustTool(&mcp.Tool{Name: "t"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, asked
	})
	res, err := handler(t.Context(), &mcp.CallToolRequest{Params: &mcp.CallToolParamsRaw{}})
	if res != nil || !errors.Is(err, ErrAsked) {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestAddToolPanicsNamingToolAndProperty(t *testing.T) {
	defer func() {
		said := fmt.Sprint(recover())
		if !strings.Contains(said, `"deploy"`) || !strings.Contains(said, `"price"`) || !strings.Contains(said, "x-mcp-header") {
			t.Errorf("panicked with %s", said)
		}
	}()
	AddTool(mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil), &mcp.Tool{Name: "deploy", InputSchema: &jsonschema.Schema{
		Type:       "object",
		Properties: map[string]*jsonschema.Schema{"price": {Type: "number", Extra: map[string]any{"x-mcp-header": "Price"}}},
	}}, func(context.Context, *mcp.CallToolRequest, any) (*mcp.CallToolResult, any, error) {
		return nil, nil, nil
	})
}

// BenchmarkTypedTool is what AddTool adds to a handler, ours and the SDK's.
func BenchmarkTypedTool(b *testing.B) {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	AddTool(s, &mcp.Tool{Name: "ours"}, sumTool)
	mcp.AddTool(s, &mcp.Tool{Name: "sdk"}, sumTool)
	var next mcp.MethodHandler
	s.AddReceivingMiddleware(func(h mcp.MethodHandler) mcp.MethodHandler { next = h; return h })
	serverSide, clientSide := mcp.NewInMemoryTransports()
	session, err := s.Connect(b.Context(), serverSide, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil).Connect(b.Context(), clientSide, nil); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"ours", "sdk"} {
		b.Run(name, func(b *testing.B) {
			req := &mcp.CallToolRequest{Session: session, Params: &mcp.CallToolParamsRaw{Name: name, Arguments: json.RawMessage(`{"a":1234,"b":-5}`)}}
			b.ReportAllocs()
			for b.Loop() {
				res, err := next(b.Context(), "tools/call", req)
				if err != nil || res.(*mcp.CallToolResult).IsError {
					b.Fatal(res, err)
				}
			}
		})
	}
}
