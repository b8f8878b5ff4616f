package main

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addListChangeTools adds the tools that change a list, so that who listens
// for changes hears of one. Each puts the list back before it answers: two
// listings of an unchanged server must be equal, and other scenarios compare
// them.
func addListChangeTools(server *mcp.Server) {
	const guest = "test_guest"

	mcp.AddTool(server, &mcp.Tool{Name: "test_trigger_tool_change", Description: "Adds a tool and removes it again"},
		func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			mcp.AddTool(server, &mcp.Tool{Name: guest, Description: "Exists for a moment"},
				func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					return text("You caught me."), nil, nil
				})
			server.RemoveTools(guest)
			return text("The tool list changed and changed back."), nil, nil
		})

	mcp.AddTool(server, &mcp.Tool{Name: "test_trigger_prompt_change", Description: "Adds a prompt and removes it again"},
		func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			server.AddPrompt(&mcp.Prompt{Name: guest, Description: "Exists for a moment"},
				func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
					return userSays(&mcp.TextContent{Text: "You caught me."}), nil
				})
			server.RemovePrompts(guest)
			return text("The prompt list changed and changed back."), nil, nil
		})
}
