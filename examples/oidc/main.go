// Oidc is a server that people sign in to at any OpenID Connect issuer: Auth0, Keycloak,
// Okta, Entra and others. What each of them wants is in docs/guides/sign-in.md.
package main

import (
	"context"
	"os"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "OIDC", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "whoami"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		p := oauth.Props[oidc.Claims](ctx) // what is kept where Login.Person says nothing else
		return causeway.Textf("You are %s <%s>, who is %s there.", p.Name, p.Email, p.Subject), nil, nil
	})
	app := &causeway.App{SignIn: &oauth.Provider{
		Issuer: os.Getenv("ISSUER"), // empty is this machine
		Login: &oidc.Login{
			Issuer: os.Getenv("OIDC_ISSUER"), ClientID: os.Getenv("OIDC_CLIENT_ID"), ClientSecret: os.Getenv("OIDC_CLIENT_SECRET"),
		},
	}}
	app.Mount("/mcp", causeway.Server(s))
	app.Main()
}
