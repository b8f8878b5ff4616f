package demo

import (
	"context"
	"hash/fnv"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func (d *demo) addTools(s *mcp.Server) {
	causeway.AddTool(s, &mcp.Tool{
		Name: "add", Description: "Adds two numbers.", Annotations: readOnly,
	}, add)
	causeway.AddTool(s, &mcp.Tool{
		Name: countTool, Description: "Counts up and remembers, also when the demo is stopped and started again. Each session has a counter of its own; in 2026-07-28, where there are none, each signed-in client, or the handle that the answer gives.",
	}, addUp)
	causeway.AddTool(s, &mcp.Tool{
		Name: "picture", Description: "Draws a picture, different for every seed.", Annotations: readOnly,
	}, picture)
	causeway.AddTool(s, &mcp.Tool{
		Name: "bake", Description: "Bakes a cake step by step, reporting progress. It can be cancelled.",
	}, d.kitchen.bake)
	causeway.AddTask(s, &mcp.Tool{
		Name: "roast", Description: "Roasts a duck. For clients that declare the Tasks extension this is a task: they get an id at once and come back for the duck.",
	}, d.kitchen.roast, mcphttp.TaskOptions{TTL: 10 * time.Minute, Poll: 500 * time.Millisecond})
	causeway.AddTool(s, &mcp.Tool{
		Name: "report", Description: "Writes a long report, after a while if you like: up to 1 MiB and 30 seconds.", Annotations: readOnly,
	}, report)
	causeway.AddTool(s, &mcp.Tool{
		Name: "weather", Description: "Tells the (invented) weather of a city. Clients of 2026-07-28 repeat the region in the header Mcp-Param-Region, where a proxy can route by it.",
		InputSchema: weatherSchema(), Annotations: readOnly,
	}, weather)
	causeway.AddTool(s, &mcp.Tool{
		Name: "say", Description: "Sends you a log message of the level you name.", Annotations: readOnly,
	}, say)
	causeway.AddTool(s, &mcp.Tool{
		Name: "post_note", Description: "Pins a note to the board, the resource " + boardURI + ". Whoever subscribed to it is told.",
	}, d.board.post(s))
	causeway.AddTool(s, &mcp.Tool{
		Name: "surprise", Description: "Shows or hides one more tool, for everybody. Clients are told that the list of tools has changed.",
		Annotations: &mcp.ToolAnnotations{IdempotentHint: true, DestructiveHint: new(bool)},
	}, surprise(s))
}

type addInput struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

type addOutput struct {
	Sum float64 `json:"sum"`
}

func add(_ context.Context, _ *mcp.CallToolRequest, in addInput) (*mcp.CallToolResult, addOutput, error) {
	sum := in.A + in.B
	return causeway.Text(sum), addOutput{sum}, nil
}

type reportInput struct {
	KiB     *int `json:"kib,omitempty" jsonschema:"length in KiB, 1 to 1024; 1024 if left out"`
	Seconds int  `json:"seconds,omitempty" jsonschema:"how long it takes, 0 to 30 seconds"`
}

func report(ctx context.Context, _ *mcp.CallToolRequest, in reportInput) (*mcp.CallToolResult, any, error) {
	kib := 1024
	if in.KiB != nil {
		kib = *in.KiB
	}
	if kib < 1 || kib > 1024 {
		return nil, nil, invalidParams("kib is %d, want 1 to 1024", kib)
	}
	if in.Seconds < 0 || in.Seconds > 30 {
		return nil, nil, invalidParams("seconds is %d, want 0 to 30", in.Seconds)
	}
	if err := pause(ctx, time.Duration(in.Seconds)*time.Second); err != nil {
		return nil, nil, err
	}
	const line = "All is well on the causeway; the tide is low and the lamps are lit\n"
	long := strings.Repeat(line, kib<<10/len(line)+1)
	return causeway.Text(long[:kib<<10]), nil, nil
}

// pause waits, unless the caller goes away first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

type weatherInput struct {
	Region string `json:"region" jsonschema:"eu, us or asia"`
	City   string `json:"city"`
}

// weatherSchema is inferred, plus the annotation that mirrors region in a header
// (spec 2026-07-28, x-mcp-header).
func weatherSchema() *jsonschema.Schema {
	schema, err := jsonschema.For[weatherInput](nil)
	if err != nil {
		panic(err) // the type is above: this cannot depend on input
	}
	region := schema.Properties["region"]
	region.Enum = []any{"eu", "us", "asia"}
	region.Extra = map[string]any{"x-mcp-header": "Region"}
	return schema
}

func weather(_ context.Context, _ *mcp.CallToolRequest, in weatherInput) (*mcp.CallToolResult, any, error) {
	sky := []string{"sunny", "cloudy", "rainy", "windy", "foggy"}
	h := fnv.New32a()
	h.Write([]byte(in.Region + "/" + in.City))
	n := h.Sum32()
	return text("It is %s in %s (%s), %d °C. This weather is invented.", sky[n%uint32(len(sky))], in.City, in.Region, n%30), nil, nil
}

type sayInput struct {
	Text  string `json:"text"`
	Level string `json:"level,omitempty" jsonschema:"debug, info, notice, warning, error, critical, alert or emergency; info if left out"`
}

func say(ctx context.Context, req *mcp.CallToolRequest, in sayInput) (*mcp.CallToolResult, any, error) {
	if in.Level == "" {
		in.Level = "info"
	}
	err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Logger: "demo", Level: mcp.LoggingLevel(in.Level), Data: in.Text})
	if err != nil {
		return nil, nil, err
	}
	return text("logged at level %s, if you asked for messages of that level", in.Level), nil, nil
}

type surpriseInput struct {
	Shown bool `json:"shown" jsonschema:"true shows the tool, false hides it"`
}

const surpriseTool = "open_box"

func surprise(s *mcp.Server) mcp.ToolHandlerFor[surpriseInput, any] {
	return func(_ context.Context, _ *mcp.CallToolRequest, in surpriseInput) (*mcp.CallToolResult, any, error) {
		if !in.Shown {
			s.RemoveTools(surpriseTool)
			return text("%s is hidden", surpriseTool), nil, nil
		}
		causeway.AddTool(s, &mcp.Tool{Name: surpriseTool, Description: "Opens the box.", Annotations: readOnly}, openBox)
		return text("there is a new tool: %s", surpriseTool), nil, nil
	}
}

func openBox(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
	return text("A smaller box."), nil, nil
}
