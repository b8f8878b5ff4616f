package mcphttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A report that takes its time. A client that knows the Tasks extension gets a
// task at once and may close its connection; any other waits for the result.
func ExampleAddTask() {
	type input struct {
		Topic string `json:"topic"`
	}
	report := func(ctx context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
		// In a task this waits until the client hands the answer in.
		ok, err := mcphttp.Elicit(ctx, &mcp.ElicitParams{Message: "Write a report on " + in.Topic + "?"})
		if err != nil {
			return nil, nil, err
		}
		if ok.Action != "accept" {
			return nil, nil, fmt.Errorf("not wanted")
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "All about " + in.Topic}}}, nil, nil
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "reports", Version: "1"}, nil)
	mcphttp.AddTask(s, &mcp.Tool{Name: "report"}, report, mcphttp.TaskOptions{TTL: 24 * time.Hour, Poll: 5 * time.Second})

	ts := httptest.NewServer(mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil))
	defer ts.Close()

	// The SDK's client does not know tasks: it gets the result itself.
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			fmt.Println(r.Params.Message)
			return &mcp.ElicitResult{Action: "accept"}, nil
		},
	})
	session, err := client.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: ts.URL}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close()
	res, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: "report", Arguments: input{"bridges"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Content[0].(*mcp.TextContent).Text)
	// Output:
	// Write a report on bridges?
	// All about bridges
}
