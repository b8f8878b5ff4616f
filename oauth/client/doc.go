// Package client signs programs in to MCP servers: the client side of OAuth 2.1 as the
// MCP authorization specification has it, in every revision.
//
//	c, err := client.New(client.Options{})
//	transport, err := c.Transport("https://mcp.example.com/mcp", nil)
//	http.Client{Transport: transport} // requests carry tokens; a 401 signs in
//
// [Client.Transport] is a http.RoundTripper. It attaches the access token it has, renews
// it before it ends, and when the server answers 401 (or 403 for want of a scope) it finds
// the authorization server, registers there if it has to, sends the person to a browser
// and repeats the request. All of that happens lazily: a server that asks for no token
// sees one request.
//
// What a program keeps is in a [Store]: by default a folder of encrypted files whose key is
// in the keychain of the operating system. Any number of processes may share it: one of
// them registers, signs in and renews, the others wait for what it found, and one that is
// killed harms none.
//
// A server, or whoever answers for it, is not trusted: see [Policy] for where requests may
// go, and docs/decisions/0008-oauth-client.md for the rules and their reasons.
package client
