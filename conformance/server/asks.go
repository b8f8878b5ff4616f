package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/causeway-mcp/causeway/mcphttp"
)

// addAskTools adds the tools that ask the client something in the middle of a
// call. Two of them use the SDK's own session, which can only ask clients of
// the revisions with sessions; the others ask through mcphttp and so work for
// every client.
func addAskTools(server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "test_elicitation", Description: "Asks the user for a name and an address"}, elicitAccount)
	mcp.AddTool(server, &mcp.Tool{Name: "test_elicitation_sep1330_enums", Description: "Asks the user to choose, in each form of an enumeration"}, elicitChoices)

	mcphttp.AddTool(server, &mcp.Tool{Name: "test_sampling", Description: "Hands a prompt to the client's model"}, sample)
	mcphttp.AddTool(server, &mcp.Tool{Name: "test_elicitation_sep1034_defaults", Description: "Asks the user with a default in every field"}, elicitDefaults)
	mcphttp.AddTool(server, &mcp.Tool{Name: "test_streaming_elicitation", Description: "Asks the user's name from within a call"}, elicitName)
	mcphttp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_request_state", Description: "Asks for a confirmation, with a state that comes back"}, confirm)
	mcphttp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_tampered_state", Description: "Asks for a confirmation, with a state that must not be changed"}, confirm)
	mcphttp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_multi_round", Description: "Asks two things, one after the other"}, elicitNameThenColor)
}

type message struct {
	Message string `json:"message" jsonschema:"what the user is shown"`
}

type prompt struct {
	Prompt string `json:"prompt" jsonschema:"what the model is asked"`
}

func elicitAccount(ctx context.Context, req *mcp.CallToolRequest, in message) (*mcp.CallToolResult, any, error) {
	answer, err := req.Session.Elicit(ctx, &mcp.ElicitParams{
		Message: in.Message,
		RequestedSchema: json.RawMessage(`{
		  "type": "object",
		  "properties": {
		    "username": {"type": "string", "description": "the name to sign in with"},
		    "email": {"type": "string", "description": "an address to write to"}
		  },
		  "required": ["username", "email"]
		}`),
	})
	return told(answer, err)
}

func elicitChoices(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	answer, err := req.Session.Elicit(ctx, &mcp.ElicitParams{
		Message: "Please choose.",
		RequestedSchema: json.RawMessage(`{
		  "type": "object",
		  "properties": {
		    "untitledSingle": {"type": "string", "enum": ["red", "green", "blue"]},
		    "titledSingle": {"type": "string", "oneOf": [
		      {"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}, {"const": "b", "title": "Blue"}
		    ]},
		    "legacyEnum": {"type": "string", "enum": ["r", "g", "b"], "enumNames": ["Red", "Green", "Blue"]},
		    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["red", "green", "blue"]}},
		    "titledMulti": {"type": "array", "items": {"anyOf": [
		      {"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}, {"const": "b", "title": "Blue"}
		    ]}}
		  }
		}`),
	})
	return told(answer, err)
}

func elicitDefaults(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	answer, err := mcphttp.Elicit(ctx, &mcp.ElicitParams{
		Message: "Please check these values.",
		RequestedSchema: json.RawMessage(`{
		  "type": "object",
		  "properties": {
		    "name": {"type": "string", "default": "John Doe"},
		    "age": {"type": "integer", "default": 30},
		    "score": {"type": "number", "default": 95.5},
		    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
		    "verified": {"type": "boolean", "default": true}
		  }
		}`),
	})
	return told(answer, err)
}

func elicitName(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	answer, err := mcphttp.Elicit(ctx, askName())
	return told(answer, err)
}

func confirm(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	answer, err := mcphttp.Elicit(ctx, &mcp.ElicitParams{
		Message:         "Please confirm.",
		RequestedSchema: require("ok", "boolean"),
	})
	if err != nil {
		return nil, nil, err
	}
	// mcphttp runs the handler to here only with an answer whose state it
	// sealed itself, so there is nothing left to verify.
	return text("state-ok: the answer was " + answer.Action), nil, nil
}

func elicitNameThenColor(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	named, err := mcphttp.Elicit(ctx, askName())
	if err != nil {
		return nil, nil, err
	}
	colored, err := mcphttp.Elicit(ctx, &mcp.ElicitParams{
		Message:         "What is your favourite colour?",
		RequestedSchema: requireString("color"),
	})
	if err != nil {
		return nil, nil, err
	}
	return text(fmt.Sprintf("%v likes %v.", named.Content["name"], colored.Content["color"])), nil, nil
}

func sample(ctx context.Context, _ *mcp.CallToolRequest, in prompt) (*mcp.CallToolResult, any, error) {
	answer, err := mcphttp.Sample(ctx, askModel(in.Prompt))
	if err != nil {
		return nil, nil, err
	}
	block, ok := answer.Content.(*mcp.TextContent)
	if !ok {
		return nil, nil, fmt.Errorf("the model answered with %T, not with text", answer.Content)
	}
	return text("The model says: " + block.Text), nil, nil
}

// told reports what became of an elicitation.
func told(answer *mcp.ElicitResult, err error) (*mcp.CallToolResult, any, error) {
	if err != nil {
		return nil, nil, err
	}
	return text(fmt.Sprintf("The user's answer: %s %v", answer.Action, answer.Content)), nil, nil
}
