package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/causeway-mcp/causeway/mcphttp"
)

// addTaskTools adds the tools of the Tasks extension (SEP-2663). The SDK has
// none of it, so all of them are added by mcphttp.AddTask, except greet: the
// scenarios compare the others with a tool that never becomes a task.
func addTaskTools(server *mcp.Server) {
	mcphttp.AddTool(server, &mcp.Tool{Name: "greet", Description: "Greets at once, never as a task"}, greet)

	optional := mcphttp.TaskOptions{TTL: 10 * time.Minute, Poll: 100 * time.Millisecond}
	required := optional
	required.Required = true
	afterName := required
	afterName.Before = askNameFirst

	mcphttp.AddTask(server, &mcp.Tool{Name: "slow_compute", Description: "Works for as long as it is told to"}, compute, optional)
	mcphttp.AddTask(server, &mcp.Tool{Name: "failing_job", Description: "Fails as a tool fails; always a task"}, failAsTool, required)
	mcphttp.AddTask(server, &mcp.Tool{Name: "protocol_error_job", Description: "Fails with a protocol error"}, failAsProtocol, optional)
	mcphttp.AddTask(server, &mcp.Tool{Name: "confirm_delete", Description: "Asks for a confirmation while it is a task"}, confirmDelete, optional)
	// Two questions at once can only be asked where the handler waits for the
	// answers: in a task, or in a session.
	mcphttp.AddTask(server, &mcp.Tool{Name: "multi_input", Description: "Asks two things at once while it is a task; always a task"}, askTwoThings, required)
	mcphttp.AddTask(server, &mcp.Tool{Name: "test_tool_with_task", Description: "Asks the user's name before it becomes a task; always a task"}, greetAsTask, afterName)
}

type person struct {
	Name string `json:"name" jsonschema:"who is greeted"`
}

type work struct {
	Seconds float64 `json:"seconds" jsonschema:"how long to work"`
	Label   string  `json:"label,omitempty" jsonschema:"what the result is called"`
}

type file struct {
	Filename string `json:"filename" jsonschema:"what is deleted"`
}

func greet(_ context.Context, _ *mcp.CallToolRequest, in person) (*mcp.CallToolResult, any, error) {
	return text("Hello, " + in.Name + "!"), nil, nil
}

func compute(ctx context.Context, _ *mcp.CallToolRequest, in work) (*mcp.CallToolResult, any, error) {
	if err := pause(ctx, time.Duration(in.Seconds*float64(time.Second))); err != nil {
		return nil, nil, err
	}
	return text(fmt.Sprintf("%s took %g seconds.", in.Label, in.Seconds)), nil, nil
}

func failAsTool(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if err := pause(ctx, pace); err != nil {
		return nil, nil, err
	}
	return nil, nil, errors.New("this job fails on purpose")
}

func failAsProtocol(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if err := pause(ctx, pace); err != nil {
		return nil, nil, err
	}
	return nil, nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "this job ends with a protocol error on purpose"}
}

func confirmDelete(ctx context.Context, _ *mcp.CallToolRequest, in file) (*mcp.CallToolResult, any, error) {
	answer, err := mcphttp.Elicit(ctx, &mcp.ElicitParams{
		Message:         "Delete " + in.Filename + "?",
		RequestedSchema: require("confirm", "boolean"),
	})
	if err != nil {
		return nil, nil, err
	}
	if answer.Action != "accept" || answer.Content["confirm"] != true {
		return text(in.Filename + " was kept."), nil, nil
	}
	return text(in.Filename + " was deleted."), nil, nil
}

// askTwoThings has both questions open at the same time; a client may answer
// them in any order, and one without the other.
func askTwoThings(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	questions := []*mcp.ElicitParams{
		askName(),
		{Message: "Are you sure?", RequestedSchema: require("confirm", "boolean")},
	}
	answers := make([]*mcp.ElicitResult, len(questions))
	errs := make([]error, len(questions))
	var asking sync.WaitGroup
	for i, question := range questions {
		asking.Go(func() { answers[i], errs[i] = mcphttp.Elicit(ctx, question) })
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return text(fmt.Sprintf("The answers: %v and %v.", answers[0].Content["name"], answers[1].Content["confirm"])), nil, nil
}

// nameKey is under what the context of a task keeps the name that was asked
// before there was a task.
type nameKey struct{}

func askNameFirst(ctx context.Context, _ *mcp.CallToolRequest) (context.Context, error) {
	answer, err := mcphttp.Elicit(ctx, askName())
	if err != nil {
		return nil, err
	}
	name, ok := acceptedString(answer, "name")
	if !ok {
		return nil, errors.New("the user gave no name")
	}
	return context.WithValue(ctx, nameKey{}, name), nil
}

func greetAsTask(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	name, _ := ctx.Value(nameKey{}).(string)
	if err := pause(ctx, pace); err != nil {
		return nil, nil, err
	}
	return text("Hello, " + name + ", from a task."), nil, nil
}
