// Package oauth is sign-in for remote MCP servers, and for any http.Handler: an OAuth
// 2.1 authorization server and the protected side of it in one wrapper.
//
//	p := &oauth.Provider{Issuer: "https://mcp.example.com", Login: github.Login(id, secret, nil), Records: engine, Keys: keys}
//	h, err := p.Protect(ctx, mux)
//
// Clients register themselves (RFC 7591), publish a metadata document, or are
// configured; people sign in where the [Login] sends them and allow each client on a
// page of this package; handlers find who it is as the SDK's auth.TokenInfo and
// [Props]. Why it is built like this is in docs/decisions/0006-oauth-core.md.
package oauth
