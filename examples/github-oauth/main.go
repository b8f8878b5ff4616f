// Github-oauth is a server that people sign in to with GitHub. Its tool generateImage is
// for some of them only: the others neither see nor can call it. See README.md.
package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login/github"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "GitHub", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "whoami"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return causeway.Textf("You are %s on GitHub.", oauth.Props[github.User](ctx).Login), nil, nil
	})
	causeway.AddTool(s, &mcp.Tool{Name: "generateImage"}, generateImage) // image.go
	causeway.VisibleIf(s, "generateImage", func(ctx context.Context) bool {
		return slices.Contains(strings.Fields(os.Getenv("IMAGE_USERS")), oauth.Props[github.User](ctx).Login)
	})
	login := github.LoginWith(os.Getenv("GITHUB_CLIENT_ID"), os.Getenv("GITHUB_CLIENT_SECRET"), nil,
		&github.Options{WebURL: os.Getenv("GITHUB_WEB_URL"), APIURL: os.Getenv("GITHUB_API_URL")}) // empty is github.com
	app := &causeway.App{SignIn: &oauth.Provider{Issuer: os.Getenv("ISSUER"), Login: login}} // empty is this machine
	app.Mount("/mcp", causeway.Server(s))
	app.Main()
}
