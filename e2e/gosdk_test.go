package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/e2e/internal/gohost"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The official Go client, in every era it speaks, over the transports it has.
func TestGoSDK(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version string
		sse     bool
	}{
		{"2026-07-28", "2026-07-28", false},
		{"2025-11-25", "2025-11-25", false},
		{"2025-06-18", "2025-06-18", false},
		{"2025-03-26", "2025-03-26", false},
		{"2024-11-05 over HTTP+SSE", "2024-11-05", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := startDemo(t)
			var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp"}
			if tc.sse {
				transport = &mcp.SSEClientTransport{Endpoint: s.url + "/sse"}
			}
			c := connectGoSDK(t, transport, tc.version)
			t.Run("tools", c.tools)
			t.Run("resources", c.resources)
			t.Run("prompts", c.prompts)
			if tc.version >= "2025-06-18" { // elicitation came with it
				t.Run("elicitation", c.elicitation)
			}
			t.Run("sampling and roots", c.sampling)
			t.Run("progress", c.progress)
			t.Run("cancel", c.cancel)
			t.Run("subscription", c.subscription)
			t.Run("list change", c.listChange)
			t.Run("counter", func(t *testing.T) { c.counter(t, tc.version) })
			if err := c.Session.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}

// mcp-remote as a stdio child, which is how hosts written with the Go SDK meet it.
func TestGoSDKThroughMCPRemote(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	cmd := exec.Command("node_modules/node/bin/node", "node_modules/mcp-remote/dist/proxy.js", s.url+"/mcp", "--allow-http")
	cmd.Env = append(cmd.Environ(), "MCP_REMOTE_CONFIG_DIR="+t.TempDir())
	cmd.Stderr = t.Output()
	c := connectGoSDK(t, &mcp.CommandTransport{Command: cmd}, "2025-11-25")
	t.Run("tools", c.tools)
	t.Run("elicitation", c.elicitation)
	t.Run("progress", c.progress)
	if err := c.Session.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

type goSDKClient struct{ *gohost.Host }

func connectGoSDK(t *testing.T, transport mcp.Transport, version string) *goSDKClient {
	t.Helper()
	return &goSDKClient{gohost.Connect(t, transport, version)}
}

func (c *goSDKClient) call(t *testing.T, tool string, args map[string]any) *mcp.CallToolResult {
	t.Helper()
	res, err := c.Session.CallTool(gohost.Soon(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return res
}

func textOf(res *mcp.CallToolResult) string {
	var text string
	for _, c := range res.Content {
		if tc, ok := c.(*mcp.TextContent); ok {
			text += tc.Text
		}
	}
	return text
}

func wantText(t *testing.T, res *mcp.CallToolResult, want string) {
	t.Helper()
	if got := textOf(res); got != want || res.IsError {
		t.Errorf("result %q (error %t), want %q", got, res.IsError, want)
	}
}

func (c *goSDKClient) tools(t *testing.T) {
	list, err := c.Session.ListTools(gohost.Soon(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list.Tools, func(t *mcp.Tool) bool { return t.Name == "picture" }) {
		t.Error("no tool picture")
	}
	wantText(t, c.call(t, "add", map[string]any{"a": 2, "b": 40}), "42")
	if got := textOf(c.call(t, "weather", map[string]any{"region": "eu", "city": "Bern"})); !strings.Contains(got, "in Bern (eu)") {
		t.Errorf("weather: %q", got)
	}
	if got := len(textOf(c.call(t, "report", nil))); got != 1<<20 {
		t.Errorf("report has %d bytes, want 1 MiB", got)
	}
	if res := c.call(t, "add", map[string]any{"a": "two"}); !res.IsError {
		t.Error("arguments that do not fit the schema: no error")
	}
	if _, err := c.Session.CallTool(gohost.Soon(t), &mcp.CallToolParams{Name: "no_such_tool"}); err == nil {
		t.Error("an unknown tool: no error")
	}
}

func (c *goSDKClient) resources(t *testing.T) {
	res, err := c.Session.ReadResource(gohost.Soon(t), &mcp.ReadResourceParams{URI: "demo://colors/teal"})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Contents[0].Text; got != "#008080" {
		t.Errorf("teal is %q", got)
	}
	var uris []string
	for r, err := range c.Session.Resources(gohost.Soon(t), nil) {
		if err != nil {
			t.Fatal(err)
		}
		uris = append(uris, r.URI)
	}
	if !slices.Contains(uris, "demo://guide") {
		t.Errorf("resources %v", uris)
	}
}

func (c *goSDKClient) prompts(t *testing.T) {
	res, err := c.Session.GetPrompt(gohost.Soon(t), &mcp.GetPromptParams{Name: "trip", Arguments: map[string]string{"city": "Lisbon"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Messages[0].Content.(*mcp.TextContent).Text; !strings.Contains(got, "Lisbon") {
		t.Errorf("prompt %q", got)
	}
	completion, err := c.Session.Complete(gohost.Soon(t), &mcp.CompleteParams{
		Ref:      &mcp.CompleteReference{Type: "ref/prompt", Name: "trip"},
		Argument: mcp.CompleteParamsArgument{Name: "city", Value: "li"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := completion.Completion.Values; !slices.Equal(got, []string{"Lima", "Lisbon"}) {
		t.Errorf("completions %v", got)
	}
}

func (c *goSDKClient) elicitation(t *testing.T) {
	wantText(t, c.call(t, "book_table", map[string]any{"restaurant": "Da Nino"}),
		"Booked at Da Nino: 2026-12-24, 9 people, outside.")
	if first, second := gohost.Next(t, c.Asked), gohost.Next(t, c.Asked); !strings.HasPrefix(first, "A table at Da Nino") || !strings.HasPrefix(second, "Really 9") {
		t.Errorf("asked %q, then %q", first, second)
	}
	if n := len(c.Asked); n > 0 {
		t.Errorf("asked %d more times", n)
	}
}

func (c *goSDKClient) sampling(t *testing.T) {
	wantText(t, c.call(t, "haiku", map[string]any{"topic": "rain"}), "rain on the causeway\n\n(by e2e-model)")
	wantText(t, c.call(t, "roots", nil), "Your client works on 1 folders.\nfile:///src (source)")
}

func (c *goSDKClient) progress(t *testing.T) {
	params := &mcp.CallToolParams{Name: "bake", Arguments: map[string]any{"steps": 5, "milliseconds": 10}}
	params.SetProgressToken("five steps")
	res, err := c.Session.CallTool(gohost.Soon(t), params)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, res, "The cake is done, after 5 steps.")
	for want := range 5 {
		if got := gohost.Next(t, c.Progressed); got != float64(want+1) {
			t.Errorf("progress %g, want %d", got, want+1)
		}
	}
}

func (c *goSDKClient) cancel(t *testing.T) {
	before := c.kitchen(t)
	ctx, cancel := context.WithCancel(gohost.Soon(t))
	defer cancel()
	params := &mcp.CallToolParams{Name: "bake", Arguments: map[string]any{"steps": 100, "milliseconds": 100}}
	params.SetProgressToken("to be cancelled")
	go func() {
		select {
		case <-c.Progressed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := c.Session.CallTool(ctx, params); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	for c.kitchen(t).Stopped == before.Stopped { // the test's timeout ends it
		time.Sleep(20 * time.Millisecond)
	}
	after := c.kitchen(t)
	if after.Done != before.Done || after.Baking != 0 {
		t.Errorf("kitchen %+v after %+v: the cake was not taken out", after, before)
	}
	for len(c.Progressed) > 0 {
		<-c.Progressed
	}
}

type kitchen struct{ Baking, Done, Stopped, Steps int }

func (c *goSDKClient) kitchen(t *testing.T) (k kitchen) {
	t.Helper()
	res, err := c.Session.ReadResource(gohost.Soon(t), &mcp.ReadResourceParams{URI: "demo://kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(res.Contents[0].Text), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func (c *goSDKClient) subscription(t *testing.T) {
	board := "demo://board"
	if err := c.Session.Subscribe(gohost.Soon(t), &mcp.SubscribeParams{URI: board}); err != nil {
		t.Fatal(err)
	}
	c.call(t, "post_note", map[string]any{"note": "from the Go SDK"})
	if got := gohost.Next(t, c.Updated); got != board {
		t.Errorf("updated %q, want %q", got, board)
	}
	if err := c.Session.Unsubscribe(gohost.Soon(t), &mcp.UnsubscribeParams{URI: board}); err != nil {
		t.Error(err)
	}
}

func (c *goSDKClient) listChange(t *testing.T) {
	c.call(t, "surprise", map[string]any{"shown": true})
	gohost.Next(t, c.Changed)
	wantText(t, c.call(t, "open_box", nil), "A smaller box.")
	c.call(t, "surprise", map[string]any{"shown": false})
	gohost.Next(t, c.Changed)
	if _, err := c.Session.CallTool(gohost.Soon(t), &mcp.CallToolParams{Name: "open_box"}); err == nil {
		t.Error("open_box can be called though it is hidden")
	}
}

func (c *goSDKClient) counter(t *testing.T, version string) {
	type counted struct {
		Value  int
		Handle string
	}
	count := func(args map[string]any) (out counted) {
		t.Helper()
		res := c.call(t, "count", args)
		data, err := json.Marshal(res.StructuredContent)
		if err == nil {
			err = json.Unmarshal(data, &out)
		}
		if err != nil {
			t.Fatal(err)
		}
		out.Handle, _ = res.Meta["causeway/handle"].(string)
		return out
	}
	first := count(nil)
	if first.Value != 1 {
		t.Errorf("a new counter is at %d", first.Value)
	}
	if version < "2026-07-28" {
		if got := count(nil); got.Value != 2 || got.Handle != "" {
			t.Errorf("the session's counter is %+v, want 2 and no handle", got)
		}
		return
	}
	if got := count(map[string]any{"handle": first.Handle}); got.Value != 2 {
		t.Errorf("the counter is %+v, want 2", got)
	}
	if got := count(nil); got.Value != 1 {
		t.Errorf("a counter without a handle is at %d, want a new one", got.Value)
	}
}
