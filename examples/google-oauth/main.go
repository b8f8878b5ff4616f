// Google-oauth is a server that people sign in to with Google; with GOOGLE_DOMAIN set, only
// those of one Workspace domain. See README.md.
package main

import (
	"cmp"
	"context"
	"os"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Person is what handlers know of who calls. It is sealed at rest.
type Person struct{ Name, Email string }

func toPerson(_ context.Context, a *oidc.Answer) (*oauth.Person, error) {
	var c struct {
		Name     string `json:"name"`
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
		Domain   string `json:"hd"` // only of Workspace accounts, and checked by Google; an address is not
	}
	if err := a.IDToken.Claims(&c); err != nil {
		return nil, err
	}
	if domain := os.Getenv("GOOGLE_DOMAIN"); !c.Verified || domain != "" && c.Domain != domain {
		return nil, oauth.ErrNotAllowed
	}
	return &oauth.Person{Name: c.Name, Props: Person{c.Name, c.Email}}, nil
}

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Google", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "whoami"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		p := oauth.Props[Person](ctx)
		return causeway.Textf("You are %s <%s>.", p.Name, p.Email), nil, nil
	})
	app := &causeway.App{SignIn: &oauth.Provider{
		Issuer: os.Getenv("ISSUER"), // empty is this machine
		Login: &oidc.Login{
			Issuer:   cmp.Or(os.Getenv("OIDC_ISSUER"), oidc.Google), // another one in tests
			ClientID: os.Getenv("GOOGLE_CLIENT_ID"), ClientSecret: os.Getenv("GOOGLE_CLIENT_SECRET"), Person: toPerson,
		},
	}}
	app.Mount("/mcp", causeway.Server(s))
	app.Main()
}
