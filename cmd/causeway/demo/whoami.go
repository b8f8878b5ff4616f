package demo

import (
	"context"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const whoamiTool = "whoami"

// person is what the server knows of who calls.
type person struct {
	Name   string `json:"name"`
	User   string `json:"user" jsonschema:"the id, which never changes hands"`
	Client string `json:"client,omitempty" jsonschema:"the program that was allowed to act for this person"`
}

// addWhoami adds a tool that only signed-in people see.
func addWhoami(s *mcp.Server) {
	causeway.AddTool(s, &mcp.Tool{
		Name: whoamiTool, Description: "Tells who you signed in as, and with which client.", Annotations: readOnly,
	}, whoami)
	causeway.VisibleIf(s, whoamiTool, func(ctx context.Context) bool {
		caller, ok := mcphttp.CallerOf(ctx)
		return ok && caller.User != ""
	})
}

func whoami(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, person, error) {
	caller, _ := mcphttp.CallerOf(ctx)
	p := person{Name: oauth.Props[login.DevPerson](ctx).Name, User: caller.User}
	if t := auth.TokenInfoFromContext(ctx); t != nil {
		p.Client, _ = t.Extra[oauth.ExtraClient].(string)
	}
	return text("You are %s.", p.Name), p, nil
}
