package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// run plays the scenario. Auth scenarios differ in what the mock servers
// demand and not in what the client does.
func (j job) run(ctx context.Context) error {
	switch {
	case j.scenario == "initialize", j.scenario == "json-schema-ref-no-deref":
		return j.play(ctx, nil, listTools)
	case j.scenario == "request-metadata":
		return j.play(ctx, allCapabilities(), nothingMore)
	case j.scenario == "tools_call":
		return j.play(ctx, nil, call("add_numbers", map[string]any{"a": 5, "b": 3}))
	case j.scenario == "elicitation-sep1034-client-defaults":
		return j.play(ctx, accept(map[string]any{}), call("test_client_elicitation_defaults", map[string]any{}))
	case j.scenario == "sse-retry":
		return j.play(ctx, nil, call("test_reconnection", map[string]any{}))
	case j.scenario == "http-standard-headers":
		return j.play(ctx, nil, useOneOfEach)
	case j.scenario == "http-custom-headers":
		return j.play(ctx, nil, j.callWhatIsGiven)
	case j.scenario == "http-invalid-tool-headers":
		return j.play(ctx, nil, callEveryTool)
	case j.scenario == "sep-2322-client-request-state":
		return j.play(ctx, accept(map[string]any{"confirmed": true}), answerRounds)
	case j.scenario == "json-schema-2020-12-preservation":
		return j.play(ctx, nil, echoSchema)
	case strings.HasPrefix(j.scenario, "auth/"):
		return j.playAuthorized(ctx)
	default:
		return fmt.Errorf("there is no scenario %q here", j.scenario)
	}
}

// accept answers every elicitation with content; the SDK's client fills in the
// defaults of the requested schema.
func accept(content map[string]any) *mcp.ClientOptions {
	return &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: content}, nil
		},
	}
}

// allCapabilities declares everything a client can: roots by default, the rest
// by having a handler.
func allCapabilities() *mcp.ClientOptions {
	options := accept(map[string]any{})
	//lint:ignore SA1019 the suite looks at how every capability is declared
	options.CreateMessageHandler = func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
		return nil, errors.New("this client has no model")
	}
	return options
}

// play connects and does act.
func (j job) play(ctx context.Context, options *mcp.ClientOptions, act func(context.Context, *mcp.ClientSession) error) error {
	return j.playOver(ctx, &mcp.StreamableClientTransport{Endpoint: j.url}, options, act)
}

func (j job) playOver(ctx context.Context, transport mcp.Transport, options *mcp.ClientOptions, act func(context.Context, *mcp.ClientSession) error) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "causeway-conformance-client", Version: "1.0.0"}, options)
	session, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: j.version})
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	// A server that is already gone is no failure of the scenario.
	defer session.Close()
	return act(ctx, session)
}

func nothingMore(context.Context, *mcp.ClientSession) error { return nil }

func listTools(ctx context.Context, session *mcp.ClientSession) error {
	_, err := tools(ctx, session)
	return err
}

func tools(ctx context.Context, session *mcp.ClientSession) ([]*mcp.Tool, error) {
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing tools: %w", err)
	}
	return list.Tools, nil
}

// call lists the tools and calls one of them.
func call(name string, arguments map[string]any) func(context.Context, *mcp.ClientSession) error {
	return func(ctx context.Context, session *mcp.ClientSession) error {
		if err := listTools(ctx, session); err != nil {
			return err
		}
		return callTool(ctx, session, name, arguments)
	}
}

func callTool(ctx context.Context, session *mcp.ClientSession, name string, arguments map[string]any) error {
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments}); err != nil {
		return fmt.Errorf("calling %s: %w", name, err)
	}
	return nil
}

// useOneOfEach sends every kind of request that carries a name.
func useOneOfEach(ctx context.Context, session *mcp.ClientSession) error {
	found, err := tools(ctx, session)
	if err != nil {
		return err
	}
	for _, tool := range found {
		if err := callTool(ctx, session, tool.Name, map[string]any{}); err != nil {
			return err
		}
	}
	resources, err := session.ListResources(ctx, nil)
	if err != nil {
		return fmt.Errorf("listing resources: %w", err)
	}
	for _, resource := range resources.Resources {
		if _, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: resource.URI}); err != nil {
			return fmt.Errorf("reading %s: %w", resource.URI, err)
		}
	}
	prompts, err := session.ListPrompts(ctx, nil)
	if err != nil {
		return fmt.Errorf("listing prompts: %w", err)
	}
	for _, prompt := range prompts.Prompts {
		if _, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: prompt.Name}); err != nil {
			return fmt.Errorf("getting prompt %s: %w", prompt.Name, err)
		}
	}
	return nil
}

// callWhatIsGiven makes the calls of the scenario's context, after it learnt
// from the list which arguments go into headers.
func (j job) callWhatIsGiven(ctx context.Context, session *mcp.ClientSession) error {
	if err := listTools(ctx, session); err != nil {
		return err
	}
	var errs []error
	for _, given := range j.given.ToolCalls {
		errs = append(errs, callTool(ctx, session, given.Name, given.Arguments))
	}
	return errors.Join(errs...)
}

// callEveryTool calls what is left of a list most of whose tools are invalid.
func callEveryTool(ctx context.Context, session *mcp.ClientSession) error {
	found, err := tools(ctx, session)
	if err != nil {
		return err
	}
	for _, tool := range found {
		if err := callTool(ctx, session, tool.Name, map[string]any{"region": "north"}); err != nil {
			return err
		}
	}
	return nil
}

// answerRounds calls tools that ask before they answer. The SDK's client
// answers the asks and repeats the call; some of these servers break the rules
// so that a call must fail.
func answerRounds(ctx context.Context, session *mcp.ClientSession) error {
	for _, name := range []string{
		"test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_unrelated", "test_mrtr_no_result_type",
	} {
		if err := callTool(ctx, session, name, map[string]any{}); err != nil {
			slog.Info("call refused", "tool", name, "err", err)
		}
	}
	return nil
}

// echoSchema sends the schema of one tool back as it was received.
func echoSchema(ctx context.Context, session *mcp.ClientSession) error {
	const subject = "json_schema_2020_12_tool"
	found, err := tools(ctx, session)
	if err != nil {
		return err
	}
	for _, tool := range found {
		if tool.Name == subject {
			return callTool(ctx, session, "json_schema_echo", map[string]any{"schema": tool.InputSchema})
		}
	}
	return fmt.Errorf("the server does not list %s", subject)
}
