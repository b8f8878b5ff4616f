package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/causeway-mcp/causeway/e2e/internal/gohost"
)

// mcp-go's client, in both eras, over the transports it has.
func TestMCPGo(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version string
		connect func(base string) (transport.Interface, error)
	}{
		{"2026-07-28", "2026-07-28", func(base string) (transport.Interface, error) {
			return transport.NewStreamableHTTP(base + "/mcp")
		}},
		{"2025-11-25", "2025-11-25", func(base string) (transport.Interface, error) {
			return transport.NewStreamableHTTP(base+"/mcp", transport.WithContinuousListening())
		}},
		{"2024-11-05 over HTTP+SSE", "2024-11-05", func(base string) (transport.Interface, error) {
			return transport.NewSSE(base + "/sse")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := startDemo(t)
			tr, err := tc.connect(s.url)
			if err != nil {
				t.Fatal(err)
			}
			c := connectMCPGo(t, tr, tc.version)
			t.Run("tools", c.tools)
			t.Run("resources", c.resources)
			t.Run("prompts", c.prompts)
			if tc.version >= "2025-06-18" { // mcp-go's HTTP+SSE transport answers no requests
				t.Run("elicitation", c.elicitation)
				t.Run("sampling", c.sampling)
			}
			t.Run("progress", c.progress)
			if tc.version >= "2026-07-28" { // earlier, mcp-go tells an HTTP server nothing
				t.Run("cancel", c.cancel)
			}
			if err := c.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}

type mcpGoClient struct {
	*client.Client
	progressed chan float64
	asked      chan string
}

func connectMCPGo(t *testing.T, tr transport.Interface, version string) *mcpGoClient {
	t.Helper()
	c := &mcpGoClient{progressed: make(chan float64, 1000), asked: make(chan string, 1000)}
	c.Client = client.NewClient(tr,
		client.WithProtocolVersion(version),
		client.WithElicitationHandler(c),
		client.WithSamplingHandler(c),
	)
	c.OnNotification(func(n mcp.JSONRPCNotification) {
		if p, ok := n.Params.AdditionalFields["progress"].(float64); ok && n.Method == "notifications/progress" {
			c.progressed <- p
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var req mcp.InitializeRequest
	req.Params.ProtocolVersion = version
	req.Params.ClientInfo = mcp.Implementation{Name: "e2e-mcp-go", Version: "1.0.0"}
	res, err := c.Initialize(gohost.Soon(t), req)
	if err != nil {
		t.Fatal(err)
	}
	if res.ProtocolVersion != version {
		t.Fatalf("negotiated %s, want %s", res.ProtocolVersion, version)
	}
	return c
}

// Elicit answers as a person would who comes with eight friends.
func (c *mcpGoClient) Elicit(_ context.Context, req mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	c.asked <- req.Params.Message
	res := &mcp.ElicitationResult{}
	res.Action = mcp.ElicitationResponseActionAccept
	res.Content = map[string]any{}
	if !strings.HasPrefix(req.Params.Message, "Really") {
		res.Content = map[string]any{"day": "2026-12-24", "people": 9, "outside": true}
	}
	return res, nil
}

func (c *mcpGoClient) CreateMessage(context.Context, mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	res := &mcp.CreateMessageResult{Model: "e2e-model"}
	res.Role = mcp.RoleAssistant
	res.Content = mcp.NewTextContent("rain on the causeway")
	return res, nil
}

func (c *mcpGoClient) callTool(ctx context.Context, tool string, args map[string]any, token string) (string, error) {
	var req mcp.CallToolRequest
	req.Params.Name = tool
	req.Params.Arguments = args
	if token != "" {
		req.Params.Meta = &mcp.Meta{ProgressToken: token}
	}
	res, err := c.CallTool(ctx, req)
	if err != nil {
		return "", err
	}
	var text string
	for _, block := range res.Content {
		if tc, ok := block.(mcp.TextContent); ok {
			text += tc.Text
		}
	}
	return text, nil
}

func (c *mcpGoClient) want(t *testing.T, tool string, args map[string]any, want string) {
	t.Helper()
	got, err := c.callTool(gohost.Soon(t), tool, args, "")
	if err != nil || got != want {
		t.Errorf("%s: %q, %v; want %q", tool, got, err, want)
	}
}

func (c *mcpGoClient) tools(t *testing.T) {
	list, err := c.ListTools(gohost.Soon(t), mcp.ListToolsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list.Tools, func(t mcp.Tool) bool { return t.Name == "picture" }) {
		t.Error("no tool picture")
	}
	c.want(t, "add", map[string]any{"a": 2, "b": 40}, "42")
	if got, err := c.callTool(gohost.Soon(t), "weather", map[string]any{"region": "eu", "city": "Bern"}, ""); err != nil || !strings.Contains(got, "in Bern (eu)") {
		t.Errorf("weather: %q, %v", got, err)
	}
	if got, err := c.callTool(gohost.Soon(t), "report", map[string]any{}, ""); err != nil || len(got) != 1<<20 {
		t.Errorf("report has %d bytes (%v), want 1 MiB", len(got), err)
	}
}

func (c *mcpGoClient) resources(t *testing.T) {
	if got := c.read(t, "demo://colors/teal"); got != "#008080" {
		t.Errorf("teal is %q", got)
	}
}

func (c *mcpGoClient) read(t *testing.T, uri string) string {
	t.Helper()
	var req mcp.ReadResourceRequest
	req.Params.URI = uri
	res, err := c.ReadResource(gohost.Soon(t), req)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := res.Contents[0].(mcp.TextResourceContents)
	if !ok {
		t.Fatalf("%s is a %T", uri, res.Contents[0])
	}
	return text.Text
}

func (c *mcpGoClient) prompts(t *testing.T) {
	var req mcp.GetPromptRequest
	req.Params.Name = "trip"
	req.Params.Arguments = map[string]string{"city": "Lisbon"}
	res, err := c.GetPrompt(gohost.Soon(t), req)
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := res.Messages[0].Content.(mcp.TextContent); !ok || !strings.Contains(text.Text, "Lisbon") {
		t.Errorf("prompt %v", res.Messages[0].Content)
	}
}

func (c *mcpGoClient) elicitation(t *testing.T) {
	c.want(t, "book_table", map[string]any{"restaurant": "Da Nino"}, "Booked at Da Nino: 2026-12-24, 9 people, outside.")
	if first, second := gohost.Next(t, c.asked), gohost.Next(t, c.asked); !strings.HasPrefix(first, "A table at Da Nino") || !strings.HasPrefix(second, "Really 9") {
		t.Errorf("asked %q, then %q", first, second)
	}
}

func (c *mcpGoClient) sampling(t *testing.T) {
	c.want(t, "haiku", map[string]any{"topic": "rain"}, "rain on the causeway\n\n(by e2e-model)")
}

func (c *mcpGoClient) progress(t *testing.T) {
	got, err := c.callTool(gohost.Soon(t), "bake", map[string]any{"steps": 5, "milliseconds": 10}, "five steps")
	if err != nil || got != "The cake is done, after 5 steps." {
		t.Fatalf("bake: %q, %v", got, err)
	}
	for want := range 5 {
		if got := gohost.Next(t, c.progressed); got != float64(want+1) {
			t.Errorf("progress %g, want %d", got, want+1)
		}
	}
}

func (c *mcpGoClient) cancel(t *testing.T) {
	before := c.kitchen(t)
	ctx, cancel := context.WithCancel(gohost.Soon(t))
	defer cancel()
	go func() {
		select {
		case <-c.progressed:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := c.callTool(ctx, "bake", map[string]any{"steps": 100, "milliseconds": 100}, "to be cancelled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	for c.kitchen(t).Stopped == before.Stopped { // the test's timeout ends it
		time.Sleep(20 * time.Millisecond)
	}
	if after := c.kitchen(t); after.Done != before.Done || after.Baking != 0 {
		t.Errorf("kitchen %+v after %+v: the cake was not taken out", after, before)
	}
}

func (c *mcpGoClient) kitchen(t *testing.T) (k kitchen) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.read(t, "demo://kitchen")), &k); err != nil {
		t.Fatal(err)
	}
	return k
}
