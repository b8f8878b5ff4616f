package causeway

import (
	"context"
	"fmt"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// VisibleIf shows a tool of s only in requests for which allowed says so: in all
// others it is not listed, and calling it is answered as if it did not exist.
// allowed gets the context of the request, with what sign-in put into it; it should
// be quick, since it is asked for every list and every call of the tool.
//
// Call it before the server is served.
func VisibleIf(s *mcp.Server, tool string, allowed func(ctx context.Context) bool) {
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			switch r := req.(type) {
			case *mcp.CallToolRequest:
				if r.Params.Name == tool && !allowed(ctx) {
					return nil, unknownTool(tool)
				}
			case *mcp.ListToolsRequest:
				res, err := next(ctx, method, req)
				list, ok := res.(*mcp.ListToolsResult)
				if err != nil || !ok || list == nil {
					return res, err
				}
				shown := *list
				shown.CacheScope = "private" // it differs from user to user
				if !allowed(ctx) {
					shown.Tools = slices.DeleteFunc(slices.Clone(list.Tools), func(t *mcp.Tool) bool { return t.Name == tool })
				}
				return &shown, nil
			}
			return next(ctx, method, req)
		}
	})
}

// unknownTool is what the SDK answers for a tool that is not there.
func unknownTool(name string) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf("unknown tool %q", name)}
}
