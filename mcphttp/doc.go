// Package mcphttp puts an MCP server on the internet: any *mcp.Server of the
// official go-sdk, unmodified, in every protocol era, on one endpoint.
//
//	s := mcp.NewServer(&mcp.Implementation{Name: "demo", Version: "1.0.0"}, nil)
//	mcp.AddTool(s, &mcp.Tool{Name: "add"}, add)
//	http.Handle("/mcp", mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil))
//
// The handler decides per request which era it is speaking:
//
//   - 2026-07-28: stateless requests, server/discover, header validation,
//     subscriptions/listen, input-required rounds, the Tasks extension;
//   - 2025-11-25, 2025-06-18 and 2025-03-26: Streamable HTTP with sessions, the
//     GET stream, DELETE, replay after Last-Event-ID, and batches where the era
//     has them;
//   - 2024-11-05: the HTTP+SSE pair, on the same path or one of its own
//     ([Handler.SSE]);
//   - WebSocket with subprotocol "mcp", carrying either era as stdio would.
//
// Sessions are records in a [store.Records], not objects of this process: with a
// durable store they outlive it.
//
// A tool that needs to ask its user something uses [Elicit], [Sample] or
// [ListRoots] and works in every era. See their documentation for the one rule
// this needs: ask first, write afterwards.
//
// What differs from the SDK's own handler is listed in docs/compat.md.
package mcphttp
