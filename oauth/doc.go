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
//
// Where the authorization server is elsewhere, [ResourceServer] is the protected side
// alone: it checks tokens with a [Validator], such as an [Introspection], a [JWTVerifier]
// or a [Server] in the same process. What a Provider can do besides is off until it is
// configured: [JWT] access tokens, [TokenExchange], people that a [TrustedIssuer] vouches
// for, clients that act for themselves ([Client.Service]), tokens bound to a key
// ([DPoP]), scopes of single tools ([Resource.Tools]). The guide is
// docs/guides/split-roles.md, the reasons are in docs/decisions/0007-oauth-extensions.md.
package oauth
