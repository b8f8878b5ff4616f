package oauth

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// TestTheSDKsClientSignsIn lets the client of the SDK find the way by itself: from the
// challenge over both metadata documents and a registration to a call of a tool.
func TestTheSDKsClientSignsIn(t *testing.T) {
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Extra.TokenInfo.UserID}}}, nil, nil
	})
	w := newWorld(t, nil)
	w.s.gate.next = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	b := w.browser()
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "SDK", RedirectURIs: []string{testRedirect}, GrantTypes: []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		}},
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			_, q := b.allows(args.URL, "alice").location()
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: w.url("/mcp"), OAuthHandler: handler}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Content[0].(*mcp.TextContent).Text; got != "test:alice" {
		t.Errorf("the tool was called by %q", got)
	}
}

// TestAPlainOAuthClientSignsInAndRefreshes uses golang.org/x/oauth2, which knows nothing
// of resources.
func TestAPlainOAuthClientSignsInAndRefreshes(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Resources = p.Resources[:1]
		p.Clients = []Client{{ID: "plain", Secret: "sixteen characters", RedirectURIs: []string{testRedirect}}}
	})
	config := &oauth2.Config{
		ClientID: "plain", ClientSecret: "sixteen characters", RedirectURL: testRedirect, Scopes: []string{"read"},
		Endpoint: oauth2.Endpoint{AuthURL: w.url("/authorize"), TokenURL: w.url("/token")},
	}
	verifier := oauth2.GenerateVerifier()
	code := w.browser().mustAllow(config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), "alice")
	tok, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	next, err := config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	for _, access := range []string{tok.AccessToken, next.AccessToken} {
		if a := w.calls("/mcp", access); a.status != 200 {
			t.Errorf("got %d", a.status)
		}
	}
	if a := w.posts("/revoke", url.Values{"token": {next.RefreshToken}, "client_id": {"plain"}, "client_secret": {"sixteen characters"}}); a.status != 200 {
		t.Errorf("revoke: %d", a.status)
	}
	if a := w.calls("/mcp", next.AccessToken); a.status != 401 {
		t.Errorf("after the revocation: %d", a.status)
	}
}
