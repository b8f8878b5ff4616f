package causeway

import (
	"context"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// RequireScopes lets only those call a tool of s whose token has all the scopes; they
// must be scopes of the resource that s is mounted as ([oauth.Resource]). Everyone sees
// the tool. Who calls it without is told which scopes to ask for: with HTTP status 403 and
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
					return nil, err
				}
			}
			return next(ctx, method, req)
		}
	})
}
