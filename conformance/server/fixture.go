package main

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// newServer returns the fixture with everything the scenarios name.
//
// Most of it is written with the SDK's own functions, as a server that knows
// nothing of Causeway would be; the tools that use mcphttp.AddTool,
// mcphttp.Elicit and their kin say so in their file.
func newServer() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{
		Name:    "causeway-conformance-fixture",
		Version: "1.0.0",
	}, &mcp.ServerOptions{
		Instructions:       "A fixture for the MCP conformance suite. Its tools are called by name by the suite's scenarios.",
		CompletionHandler:  complete,
		SubscribeHandler:   acceptSubscription,
		UnsubscribeHandler: acceptUnsubscription,
	})
	addContentTools(server)
	addNoticeTools(server)
	addListChangeTools(server)
	addSchemaTools(server)
	addCapabilityTools(server)
	addAskTools(server)
	addRoundTools(server)
	addTaskTools(server)
	addResources(server)
	addPrompts(server)
	return server
}

// none is the input of tools without arguments: an object with no properties,
// which also accepts a call that leaves "arguments" out.
type none struct{}

// text is a result of one text block.
func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

// The SDK keeps the subscriptions itself once a SubscribeHandler is set; the
// handlers have nothing to add and only make it declare the capability.

func acceptSubscription(context.Context, *mcp.SubscribeRequest) error     { return nil }
func acceptUnsubscription(context.Context, *mcp.UnsubscribeRequest) error { return nil }
