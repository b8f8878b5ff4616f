package causeway

import (
	"context"
	"slices"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// RequireScopes lets only those call a tool of s whose token has all the scopes; they
// must be scopes of the resource that s is mounted as ([oauth.Resource]). Everyone sees
// the tool whom [VisibleIf] does not hide it from. Who calls it without is told which scopes to ask for: with HTTP status 403 and
// the challenge insufficient_scope, on which clients ask the person for more and come back
// (step-up), and over a WebSocket with a JSON-RPC error. See [oauth.NeedScopes] for a
// check that depends on the arguments.
//
// Where nobody can sign in, nobody can call the tool. Call RequireScopes before the server
// is served.
func RequireScopes(s *mcp.Server, tool string, scopes ...string) {
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if r, ok := req.(*mcp.CallToolRequest); ok && r.Params.Name == tool {
				if err := oauth.NeedScopes(ctx, scopes...); err != nil {
					if !isListed(ctx, next, r.Session, tool) {
						return nil, unknownTool(tool)
					}
					return nil, err
				}
			}
			return next(ctx, method, req)
		}
	})
}

// isListed tells whether the caller may know of the tool: what it needs is a secret as it is.
func isListed(ctx context.Context, next mcp.MethodHandler, session *mcp.ServerSession, tool string) bool {
	for p := new(mcp.ListToolsParams); ; {
		res, err := next(ctx, "tools/list", &mcp.ListToolsRequest{Session: session, Params: p})
		list, ok := res.(*mcp.ListToolsResult)
		if err != nil || !ok || list == nil {
			return false
		}
		if slices.ContainsFunc(list.Tools, func(t *mcp.Tool) bool { return t.Name == tool }) {
			return true
		}
		if list.NextCursor == "" {
			return false
		}
		p = &mcp.ListToolsParams{Cursor: list.NextCursor}
	}
}
