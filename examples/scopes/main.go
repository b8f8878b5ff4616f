// Scopes is a mail server that has more power than it gives away. The person lets it read
// all their mail at Google; a model that was allowed "travel" sees bookings and nothing
// else, and has to ask the person again before it may search the rest. See README.md.
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

func travelBookings(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, messages, error) {
	found, err := search(ctx, "subject:(booking OR reservation OR itinerary) newer_than:1y")
	return nil, messages{found.only(isBooking)}, err
}

func searchMail(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Query string `json:"query" jsonschema:"as in Gmail's search box"`
}) (*mcp.CallToolResult, messages, error) {
	found, err := search(ctx, in.Query)
	return nil, messages{found}, err
}

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Mail", Version: "1.0.0"}, nil)
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	causeway.AddTool(s, &mcp.Tool{Name: "travel_bookings", Description: "Lists bookings of flights, trains and hotels.", Annotations: readOnly}, travelBookings)
	causeway.AddTool(s, &mcp.Tool{Name: "search_mail", Description: "Searches all mail.", Annotations: readOnly}, searchMail)
	causeway.RequireScopes(s, "search_mail", "mail")
	app := &causeway.App{SignIn: &oauth.Provider{
		Issuer: os.Getenv("ISSUER"), // empty is this machine
		Login: &oidc.Login{
			Issuer:   cmp.Or(os.Getenv("OIDC_ISSUER"), oidc.Google),
			ClientID: os.Getenv("GOOGLE_CLIENT_ID"), ClientSecret: os.Getenv("GOOGLE_CLIENT_SECRET"),
			Scopes:     []string{"profile", "email", "https://www.googleapis.com/auth/gmail.readonly"}, // broad: all mail
			AuthParams: map[string]string{"access_type": "offline", "prompt": "consent"},               // so that Google renews it
		},
		Resources: []oauth.Resource{{
			Path: "/mcp", Name: "your mail", Require: []string{"travel"},
			Scopes: []oauth.Scope{
				{Name: "travel", Words: "read your bookings of flights, trains and hotels, and no other mail"},
				{Name: "mail", Words: "search and read all your mail", Includes: []string{"travel"}},
			},
		}},
	}}
	app.Mount("/mcp", causeway.Server(s))
	app.Main()
}
